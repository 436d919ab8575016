"""Paths from one Gaussian to another.

`interpolate` goes through the parameters, mean and covariance (the paper's Figure 3): every point of
the path is itself a Gaussian, with samples as long as its neighbours'. `straight_lines` connects two
sets of samples by straight lines (the paper's Figure 4), which leave the sphere near which latents
lie: halfway, independent samples are shorter by sqrt(2). `deviations_between` gives samples of any distributions, such
as of parents, the moments of the first way.

Reference: Gambardella, Baydin and Torr 2019, section 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transflow.gaussians.covariance import weighted_sum
from transflow.gaussians.draws import LatentDistribution
from transflow.gaussians.gaussian import Gaussian


def interpolate(a: Gaussian, b: Gaussian, steps: int) -> list[Gaussian]:
    """Return ``N((1-t) mu_a + t mu_b, (1-t) Sigma_a + t Sigma_b)`` for t = 0 .. 1 in equal steps.

    Args:
        a: the first of the list.
        b: the last of the list.
        steps: number of Gaussians, both ends included, 2 or more.

    >>> a, b = Gaussian.of(torch.zeros(2), 1.0), Gaussian.of(torch.ones(2), 3.0)
    >>> interpolate(a, b, 3)[1].mean.tolist(), interpolate(a, b, 3)[1].covariance.variances().tolist()
    ([0.5, 0.5], [2.0, 2.0])
    """
    if a.dim != b.dim:
        raise ValueError(f"Expected two Gaussians of the same D; got {a.dim} and {b.dim}.")
    return [
        Gaussian(torch.lerp(a.mean, b.mean, t), weighted_sum(a.covariance, b.covariance, 1 - t, t))
        for t in _shares(steps)
    ]


def straight_lines(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Return the points on straight lines from latents a to latents b, both (n, D): (steps, n, D)."""
    if a.shape != b.shape:
        raise ValueError(f"Expected two sets of latents of one shape; got {tuple(a.shape)} and {tuple(b.shape)}.")
    return torch.stack([torch.lerp(a, b, t) for t in _shares(steps)])


def deviations_between(a: Tensor, b: Tensor, mean_a: Tensor, mean_b: Tensor, steps: int) -> Tensor:
    """Return ``(1-t) mean_a + t mean_b + sqrt(1-t) (a - mean_a) + sqrt(t) (b - mean_b)`` for t = 0 .. 1 in equal steps.

    Of independent a and b of any distributions, the mean and covariance at t are those of `interpolate`.

    Args:
        a: latents of one end, shape (n, D).
        b: independent latents of the other end, shape (n, D).
        mean_a: of the one end's distribution, shape (D,).
        mean_b: of the other's, shape (D,).
        steps: number of stops, both ends included, 2 or more.

    Returns:
        Shape (steps, n, D), single precision.
    """
    if a.shape != b.shape:
        raise ValueError(f"Expected two sets of latents of one shape; got {tuple(a.shape)} and {tuple(b.shape)}.")
    from_a, from_b = a.double() - mean_a, b.double() - mean_b
    stops = [torch.lerp(mean_a, mean_b, t) + (1 - t) ** 0.5 * from_a + t**0.5 * from_b for t in _shares(steps)]
    return torch.stack(stops).float()


def samples_between(
    a: LatentDistribution,
    b: LatentDistribution,
    steps: int,
    n: int,
    seed: int,
    temperature: float = 1.0,
    direct: bool = False,
) -> Tensor:
    """Return latents on the way from n samples of one distribution to n of another, (steps, n, D).

    Args:
        a: drawn from with the seed.
        b: drawn from with the next seed, so that both are independent.
        steps: number of stops, both ends included, 2 or more.
        n: how many samples are followed.
        seed: of the draws.
        temperature: multiplies deviations from the means.
        direct: on straight lines, instead of with the moments of `interpolate`.
    """
    first, last = a.sample(n, None, temperature, seed=seed), b.sample(n, None, temperature, seed=seed + 1)
    if direct:
        return straight_lines(first, last, steps)
    return deviations_between(first, last, a.mean, b.mean, steps)


def _shares(steps: int) -> list[float]:
    if steps < 2:
        raise ValueError(f"Expected 2 or more steps, both ends included; got {steps}.")
    return [i / (steps - 1) for i in range(steps)]
