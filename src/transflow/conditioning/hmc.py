"""Hamiltonian Monte Carlo of many chains at once: samples of exp(-E), from any start.

A trajectory draws a momentum p ~ N(0, I), goes L leapfrog steps of length h through

    du/dt = p,   dp/dt = -dE/du,   u = xi / widths,

and is accepted with probability min(1, exp(H - H')), H = E + |p|^2 / 2, which leaves exp(-E) as it is. L = 1 is
Langevin's method with a Metropolis step. In the first half of the trajectories each chain fits its own h, from D^(-1/4)
on, to an acceptance of `ACCEPTANCE`; in the second h stays, up to a random factor of a trajectory.

References: Neal 2011, *MCMC using Hamiltonian dynamics*, arXiv 1206.1901; Roberts and Tweedie 1996, *Exponential
convergence of Langevin distributions and their discrete approximations*.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.conditioning.energy import Energy

LEAPFROGS = 10
ACCEPTANCE = 0.7
RATE = 0.7  # of the fit of log h, a trajectory
JITTER = 0.2


@dataclass(frozen=True, eq=False)
class Chains:
    """Where chains ended.

    Attributes:
        points: (n, size).
        accepted: share of the trajectories of each that were accepted, of those in which h stayed, (n,).
        lengths: h of each, (n,).
    """

    points: Tensor
    accepted: Tensor
    lengths: Tensor


def run_chains(
    energy: Energy,
    xi: Tensor,
    widths: Tensor,
    trajectories: int,
    generator: torch.Generator,
    *,
    leapfrogs: int = LEAPFROGS,
    each: Callable[[Tensor, Tensor], None] | None = None,
) -> Chains:
    """Return where chains from points (n, size) end.

    Args:
        energy: E of each chain.
        xi: where they start.
        widths: (size,), units in which E is about as steep everywhere.
        trajectories: of each chain; half of them, rounded up, fit h.
        generator: of momenta and acceptance.
        leapfrogs: L.
        each: called with the points and energies after each trajectory.
    """
    rows = torch.arange(len(xi), device=xi.device)
    u = xi / widths
    log_h = torch.full((len(xi),), -math.log(xi.shape[1]) / 4, dtype=torch.float64, device=xi.device)
    value, slope = _scaled(energy, u, rows, widths)
    fitting = -(-trajectories // 2)
    counted = trajectories - fitting or trajectories  # a single one fits, and counts
    taken = torch.zeros_like(log_h)
    for k in range(trajectories):
        p = torch.randn(u.shape, generator=generator, dtype=torch.float32, device="cpu").to(u)
        evenly = torch.rand(len(u), generator=generator, dtype=torch.float32, device="cpu")
        factor = 1 + JITTER * (2 * evenly.to(log_h) - 1)
        h = (log_h.exp() * factor).to(u)[:, None]
        before = value + p.double().square().sum(1) / 2
        there, there_value, there_slope = u, value, slope
        for _ in range(leapfrogs):
            p = p - h / 2 * there_slope
            there = there + h * p
            there_value, there_slope = _scaled(energy, there, rows, widths)
            p = p - h / 2 * there_slope
        change = before - there_value - p.double().square().sum(1) / 2
        chance = change.nan_to_num(-torch.inf).clamp(max=0).exp()
        yes = torch.rand(len(u), generator=generator, dtype=torch.float64, device="cpu").to(chance) < chance
        u = torch.where(yes[:, None], there, u)
        value, slope = torch.where(yes, there_value, value), torch.where(yes[:, None], there_slope, slope)
        if k < fitting:
            log_h = log_h + RATE * (chance - ACCEPTANCE)
        if k >= trajectories - counted:
            taken += yes / counted
        if each is not None:
            each(u * widths, value)
    return Chains(u * widths, taken, log_h.exp())


def _scaled(energy: Energy, u: Tensor, rows: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
    value, gradient = energy(u * widths, rows)
    return value, gradient * widths
