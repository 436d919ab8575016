"""Samples followed on the way from one new model to another, as latents.

Samples of learned Gaussians are followed through the Gaussians between (see `gaussians.interpolation`); where single
pictures are drawn from, and on straight lines, from a sample of one end to a sample of the other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.conditioning.tempered import tempered
from transflow.gaussians import interpolation
from transflow.gaussians.draws import LatentDistribution
from transflow.gaussians.gaussian import Gaussian


def latents_between(
    model: BaseModel,
    a: LatentDistribution,
    b: LatentDistribution,
    steps: int,
    n: int,
    seed: int,
    *,
    temperature: float = 1.0,
    direct: bool = False,
    novelty: float = 1.0,
) -> Tensor:
    """Return latents on the way, (steps, n, D), at the temperatures of the model's levels.

    Args:
        model: of both ends.
        a: where the way begins.
        b: where it ends.
        steps: how many stops, both ends included.
        n: how many samples are followed; each keeps its random draws all the way.
        seed: of the draws.
        temperature: multiplies deviations from the means.
        direct: on straight lines between samples.
        novelty: of the samples (see `tempered`).
    """
    if direct or not (isinstance(a, Gaussian) and isinstance(b, Gaussian)):
        latents = interpolation.samples_between(a, b, steps, n, seed, temperature, direct)
    else:
        latents = interpolation.follow(a, b, steps, n, temperature, seed=seed)
    means = interpolation.straight_lines(a.mean[None], b.mean[None], steps)
    return torch.stack([tempered(model, z, mean[0], novelty) for z, mean in zip(latents, means, strict=True)])
