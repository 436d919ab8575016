"""Gaussian inference in closed form: evidence, noise, covariances by structure, prior, posterior and predictive."""
