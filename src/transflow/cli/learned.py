"""What commands say of how a posterior draws, and the posterior drawn from as the options say."""

from __future__ import annotations

import argparse

from transflow.conditioning.posterior import Posterior
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.mixture import Mixture
from transflow.gaussians.parents import Parents


def described(posterior: Posterior) -> str:
    """Return how a posterior draws, in words."""
    drawn = posterior.drawn
    if not posterior.evidence.count:
        return "as the model itself"
    if isinstance(drawn, Gaussian):
        return f"noise {posterior.noise}"
    if isinstance(drawn, Parents):
        some = "1 parent" if drawn.weights.count == 1 else f"{drawn.weights.count} parents"
        return f"{some} a picture, novelty {drawn.novelty:.2f}"
    if isinstance(drawn, Mixture):
        return f"mixture of variations, novelty {drawn.novelty:.2f}"
    return f"learned covariance ({posterior.learn})"


def as_asked(posterior: Posterior, options: argparse.Namespace) -> Posterior:
    """Return the posterior, drawn from as --learn, --novelty and --long say, where they are given."""
    if options.learn is None and options.novelty is None and not options.long:
        return posterior
    way = options.learn
    if way is None and posterior.learn.keeps_latents:
        way = posterior.learn.spec if options.novelty is None else posterior.learn.way
    novelty = posterior.learn.novelty if options.learn is None and options.novelty is None else options.novelty
    return posterior.with_learn(way, novelty, long=options.long or posterior.learn.long)
