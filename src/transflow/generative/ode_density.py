"""The density of what an ODE sampler decodes: that of its own steps, not of the continuous flow that they approximate.

A sampler is a composition of K bijections, so at the picture that it makes of noise z, x_0 = z, x_{k+1} = F_k(x_k),

    log p = log N(z; 0, I) - sum_k log|det F_k'(x_k)|.

`exact` takes the Jacobians by autograd, for some hundreds of dimensions. Beyond that, with F' = a (I + M),

    log|det F'| = D log a + sum_{j=1..J} (-1)^(j+1) tr(M^j) / j + ...,   tr(M^j) = E e' M^j e,

by Hutchinson's estimator: e of independent signs, fresh for each step (with the same e for all, the errors add up).
J = 1 is the trace formula of continuous flows, which is another number (by nats, for tens of steps). The series
converges where M's spectral radius is below 1: on grids that are fine near the pictures it was 0.1 to 0.6, on equal
steps it comes near 1 in the last.

Reference: Hutchinson 1990, *A stochastic estimator of the trace of the influence matrix*; Chen, Behrmann, Duvenaud and
Jacobsen 2019, *Residual flows for invertible generative modeling*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.generative.ode import Sampler, Step

EXACT = 256  # dimensions up to which Jacobians are computed
ROWS = 64  # of a Jacobian at a time


@dataclass(frozen=True, eq=False)
class Density:
    """Log densities of a sampler's pictures, in nats, (B,) each, double.

    Attributes:
        log_prob: with respect to the sampler's own floats.
        error: the standard error of `log_prob`; 0 where it is exact.
        truncation: size of the series' last term, of the order of what is left out; 0 where it is exact.
    """

    log_prob: Tensor
    error: Tensor
    truncation: Tensor


def exact(sampler: Sampler, noise: Tensor) -> Density:
    """Return the exact density at ``decode(noise)``, from D x D Jacobians: in the noise's dtype, double for choice.

    A network's value for a picture must not depend on the others of its batch.

    Args:
        sampler: whose network computes in the dtype of the noise.
        noise: (B, ...), of D numbers each.

    Raises:
        ValueError: a step turns orientation over (negative determinant), so that the sampler is no bijection there.
    """
    found = []
    for i in range(len(noise)):
        x, total = noise[i], _log_normal(noise[i])
        for k, step in enumerate(sampler.steps):
            sign, size = torch.linalg.slogdet(_jacobian(step, x).double())
            if not sign > 0:
                raise ValueError(
                    f"Expected steps that keep orientation, to state a density; got step {k + 1} of "
                    f"{len(sampler.steps)} with a determinant of sign {sign.item():.0f} at picture {i}. Use a time "
                    "grid that is finer near the pictures (a larger power), or more steps."
                )
            with torch.no_grad():
                x, total = step(x[None])[0], total - size
        found.append(total)
    values = torch.stack(found) if found else noise.new_zeros(0, dtype=torch.float64)
    return Density(values, torch.zeros_like(values), torch.zeros_like(values))


def estimate(sampler: Sampler, noise: Tensor, *, probes: int = 8, order: int = 4, seed: int = 0) -> Density:
    """Return Hutchinson's estimate of the density at ``decode(noise)``; the same seed gives the same numbers.

    Args:
        sampler: whose network computes in the dtype of the noise.
        noise: (B, ...).
        probes: how many, 2 or more; the standard error is that of their spread.
        order: J, terms of the series, each of one backward pass for a probe and step. 1 is the trace formula.
        seed: of the signs, which are the same for every picture, so that none depends on its batch.
    """
    if probes < 2 or order < 1:
        raise ValueError(f"Expected 2 probes and 1 term or more; got {probes} probes, {order} terms.")
    values, errors, truncations = [], [], []
    for picture in noise:
        generator, x = torch.Generator().manual_seed(seed), picture
        total, terms = _log_normal(picture), torch.zeros(probes, order, dtype=torch.float64, device=noise.device)
        for step in sampler.steps:
            signs = torch.randint(2, (probes, *x.shape), generator=generator, device="cpu").to(x) * 2 - 1
            terms = terms + _traces(step, x, signs, order)
            total = total - x.numel() * math.log(step.a)
            with torch.no_grad():
                x = step(x[None])[0]
        each = total - terms.sum(1)
        values.append(each.mean())
        errors.append(each.std() / math.sqrt(probes))
        truncations.append(terms[:, -1].mean().abs())
    empty = noise.new_zeros(0, dtype=torch.float64)
    return Density(*(torch.stack(part) if part else empty for part in (values, errors, truncations)))


def _traces(step: Step, x: Tensor, signs: Tensor, order: int) -> Tensor:
    """Return (-1)^(j+1) e' M^j e / j for each row of signs (n, ...) and j = 1..order, shape (n, order), double."""
    with torch.inference_mode(False), torch.enable_grad():
        points = x.detach().expand_as(signs).clone().requires_grad_()
        mean, w, terms = step.mean(points), signs, []
        for j in range(1, order + 1):
            (w,) = torch.autograd.grad(mean, points, w * (step.b / step.a), retain_graph=j < order)
            terms.append((-1) ** (j + 1) / j * (w * signs).flatten(1).double().sum(1))
    return torch.stack(terms, 1)


def _jacobian(step: Step, x: Tensor) -> Tensor:
    """Return dF/dx at x, shape (D, D): copies of x in a batch, each the way back of one row."""
    dim, rows = x.numel(), []
    with torch.inference_mode(False), torch.enable_grad():
        for part in torch.arange(dim, device=x.device).split(ROWS):
            points = x.detach().expand(len(part), *x.shape).clone().requires_grad_()
            values = step(points).flatten(1).gather(1, part[:, None])
            rows.append(torch.autograd.grad(values.sum(), points)[0].flatten(1))
    return torch.cat(rows)


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * z.double().square().sum() - z.numel() / 2 * math.log(2 * math.pi)
