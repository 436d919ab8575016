"""Paths from one Gaussian to another.

`interpolate` takes the Bures-Wasserstein path (see `bures`), on which a sample goes the shortest way from one to the
other, lengthened such that samples on the way are as long as their neighbours:

    N((1-t) mu_a + t mu_b,  c_t Sigma_t),   c_t = ((1-t) tr Sigma_a + t tr Sigma_b) / tr Sigma_t.

Between multiples of I it is the path through the parameters (the paper's Figure 3), (1-t) Sigma_a + t Sigma_b.
Without c_t, samples between evidence that varies in unrelated directions are shorter by sqrt(2) halfway. `follow` gives
samples of the path, each with the same draws all the way. `straight_lines` connects two sets of samples by straight
lines (the paper's Figure 4), which leave the sphere near which latents lie: halfway, independent samples are shorter by
sqrt(2). `samples_between` takes samples of any two distributions, such as of parents, along the way: their deviations
from means on the way have the covariance (1-t) Sigma_a + t Sigma_b.

Reference: Gambardella, Baydin and Torr 2019, section 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transflow.gaussians.bures import Transport, common_span
from transflow.gaussians.covariance import weighted_sum
from transflow.gaussians.draws import LatentDistribution
from transflow.gaussians.gaussian import Gaussian


def interpolate(a: Gaussian, b: Gaussian, steps: int) -> list[Gaussian]:
    """Return the Gaussians at t = 0 .. 1 in equal steps of the path from a to b.

    Covariances of large D that no small span holds (see `bures`) go through the parameters.

    Args:
        a: the first of the list.
        b: the last of the list.
        steps: number of Gaussians, both ends included, 2 or more.

    >>> a, b = Gaussian.of(torch.zeros(2), 1.0), Gaussian.of(torch.ones(2), 3.0)
    >>> middle = interpolate(a, b, 3)[1]
    >>> middle.mean.tolist(), round(middle.covariance.trace().item(), 6)
    ([0.5, 0.5], 4.0)
    """
    if a.dim != b.dim:
        raise ValueError(f"Expected two Gaussians of the same D; got {a.dim} and {b.dim}.")
    shares = _shares(steps)
    if _through_parameters(a, b):
        return [
            Gaussian(torch.lerp(a.mean, b.mean, t), weighted_sum(a.covariance, b.covariance, 1 - t, t)) for t in shares
        ]
    way = Transport.between(a, b)
    stops = [way.at(t) for t in shares]
    return [Gaussian(g.mean, g.covariance.scaled(c)) for g, c in zip(stops, _lengthening(stops, shares), strict=True)]


def follow(
    a: Gaussian, b: Gaussian, steps: int, n: int, temperature: float = 1.0, *, seed: int | None = None
) -> Tensor:
    """Return n samples of each of `interpolate`'s Gaussians, (steps, n, D), each with the same draws all the way.

    Args:
        a: the first Gaussian.
        b: the last.
        steps: number of stops, both ends included, 2 or more.
        n: number of samples.
        temperature: multiplies the standard deviation.
        seed: of the draws.
    """
    stops, shares = interpolate(a, b, steps), _shares(steps)
    if _through_parameters(a, b):
        seed = torch.Generator().seed() if seed is None else seed
        return torch.stack([stop.sample(n, seed=seed, temperature=temperature) for stop in stops])
    way, first = Transport.between(a, b), a.sample(n, temperature=temperature, seed=seed).double()
    lengths = _lengthening([way.at(t) for t in shares], shares)
    deviations = [c**0.5 * (way.move(first, t) - g.mean) for g, c, t in zip(stops, lengths, shares, strict=True)]
    return torch.stack([(g.mean + d).float() for g, d in zip(stops, deviations, strict=True)])


def straight_lines(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Return the points on straight lines from latents a to latents b, both (n, D): (steps, n, D)."""
    if a.shape != b.shape:
        raise ValueError(f"Expected two sets of latents of one shape; got {tuple(a.shape)} and {tuple(b.shape)}.")
    return torch.stack([torch.lerp(a, b, t) for t in _shares(steps)])


def deviations_between(a: Tensor, b: Tensor, mean_a: Tensor, mean_b: Tensor, steps: int) -> Tensor:
    """Return ``(1-t) mean_a + t mean_b + sqrt(1-t) (a - mean_a) + sqrt(t) (b - mean_b)`` for t = 0 .. 1 in equal steps.

    Of independent a and b of any distributions, the covariance at t is ``(1-t) Sigma_a + t Sigma_b``.

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
        direct: on straight lines.
    """
    first, last = a.sample(n, None, temperature, seed=seed), b.sample(n, None, temperature, seed=seed + 1)
    if direct:
        return straight_lines(first, last, steps)
    return deviations_between(first, last, a.mean, b.mean, steps)


def _through_parameters(a: Gaussian, b: Gaussian) -> bool:
    return common_span(a.covariance, b.covariance) is None


def _lengthening(stops: list[Gaussian], shares: list[float]) -> list[float]:
    """c_t of each stop, by which its covariance's trace is between those of the ends."""
    traces = [stop.covariance.trace().item() for stop in stops]
    return [((1 - t) * traces[0] + t * traces[-1]) / trace for t, trace in zip(shares, traces, strict=True)]


def _shares(steps: int) -> list[float]:
    if steps < 2:
        raise ValueError(f"Expected 2 or more steps, both ends included; got {steps}.")
    return [i / (steps - 1) for i in range(steps)]
