"""Gaussian inference: evidence, noise, covariances by structure, and what closed forms make of them."""
