"""Generative models that can be run backwards."""
