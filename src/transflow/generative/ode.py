"""An explicit ODE sampler on a fixed time grid is an exact bijection: each of its steps is undone.

A sampler (flow matching, probability flow of a diffusion) takes noise to a picture by K steps

    x_{k+1} = F_k(x_k) = a_k x_k + b_k m_k(x_k),

m the network at time t_k (Euler and DDIM), or Heun's mean of two evaluations. Integrating backwards evaluates the
network at the wrong end of each step and errs by O(b). The inverse solves F(x) = y instead, the fixed point of

    G(x) = x + (y - F(x)) / a,

by Anderson acceleration of short memory, picture by picture, from where the steps that were undone before it
extrapolate to. Euler's last step is the denoiser E[picture | x]: where it is too long it flattens everything that
is no picture, and some pictures have no preimage. They are named. Only a grid that is finer near the pictures helps
(`time_grid`), and it is part of the model: latents of one grid belong to that grid.

Reference: Anderson 1965, *Iterative procedures for nonlinear integral equations*; Walker and Ni 2011, *Anderson
acceleration for fixed-point iterations*; Song, Meng and Ermon 2021, *Denoising diffusion implicit models*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from transflow.generative.anderson import Solver

Net = Callable[[Tensor, Tensor], Tensor]  # x (B, ...) and a 0-dimensional time to (B, ...)


def time_grid(steps: int, power: float = 1.0) -> tuple[float, ...]:
    """Return times 0 = t_0 < ... < t_steps = 1 from noise to pictures, ``t = 1 - (1 - s)^power``, s uniform.

    Args:
        steps: how many steps, 1 or more.
        power: 1 for equal steps; 1.5 to 2 makes them finer near the pictures, so that they can be undone.

    >>> time_grid(4, power=2)
    (0.0, 0.4375, 0.75, 0.9375, 1.0)
    """
    if steps < 1 or int(steps) != steps:
        raise ValueError(f"Expected 1 step or more; got {steps}.")
    if not 1 <= power <= 4:
        raise ValueError(f"Expected a power of 1 to 4; got {power}.")
    return tuple(1 - (1 - k / steps) ** power for k in range(steps + 1))


@dataclass(frozen=True)
class Step:
    """F(x) = a x + b net(x, t): a step of Euler (a = 1, b = h) or of DDIM.

    Attributes:
        net: x (B, ...) and time to (B, ...).
        t: the time at which the network is evaluated; an int is given to it as an integer.
        a: above 0.
        b: not 0.
    """

    net: Net = field(repr=False)
    t: float
    a: float
    b: float

    def __post_init__(self) -> None:
        if not (0 < self.a < math.inf and self.b and math.isfinite(self.b)):
            raise ValueError(f"Expected a step a x + b net(x, t) with a above 0 and b not 0; got {self.a}, {self.b}.")

    @property
    def evaluations(self) -> int:
        """Of the network, for each step."""
        return 1

    def mean(self, x: Tensor) -> Tensor:
        """Return m(x), shaped as x."""
        return self._at(x, self.t)

    def __call__(self, x: Tensor) -> Tensor:
        """Return F(x), shaped as x."""
        return self.a * x + self.b * self.mean(x)

    def _at(self, x: Tensor, t: float) -> Tensor:
        dtype = torch.long if isinstance(t, int) else x.dtype
        return self.net(x, torch.tensor(t, dtype=dtype, device=x.device))


@dataclass(frozen=True)
class HeunStep(Step):
    """F(x) = x + b (v_0 + v_1) / 2 with v_0 = net(x, t), v_1 = net(x + b v_0, t + b): the explicit trapezoid."""

    until: float = field(kw_only=True)

    @property
    def evaluations(self) -> int:
        """Of the network, for each step."""
        return 2

    def mean(self, x: Tensor) -> Tensor:
        """Return m(x), shaped as x."""
        first = self._at(x, self.t)
        return (first + self._at(x + self.b * first, self.until)) / 2


def euler(velocity: Net, times: Sequence[float]) -> tuple[Step, ...]:
    """Return the Euler steps of ``x' = velocity(x, t)`` over times that run from noise to pictures."""
    return tuple(Step(velocity, t, 1.0, after - t) for t, after in pairwise(times))


def heun(velocity: Net, times: Sequence[float]) -> tuple[Step, ...]:
    """Return the Heun steps of ``x' = velocity(x, t)``, two evaluations each, over times from noise to pictures."""
    return tuple(HeunStep(velocity, t, 1.0, after - t, until=after) for t, after in pairwise(times))


METHODS = {"euler": euler, "heun": heun}


@dataclass(frozen=True, eq=False)
class Solved:
    """How well each picture of a batch was encoded.

    Attributes:
        residual: the largest ``|F(x) - y|`` of all its steps, (B,); the round trip errs by 2 to 10 times that.
        evaluations: of the network, (B,).
        failed: which step, counted from the noise and from 0, was not undone; -1 where all were, (B,).
        steps: how many the sampler has.
    """

    residual: Tensor
    evaluations: Tensor
    failed: Tensor
    steps: int

    def check(self, first: int = 0) -> None:
        """Raise `ValueError` if a picture was not encoded; it names the picture, the step and the residual.

        Args:
            first: the number of the batch's first picture among all.
        """
        bad = (self.failed >= 0).nonzero().flatten().tolist()
        if bad:
            step, residual = int(self.failed[bad[0]]) + 1, float(self.residual[bad[0]])
            others = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            raise ValueError(
                f"Expected pictures that this sampler can give; got picture {first + bad[0]}{others}, for which step "
                f"{step} of {self.steps} could not be undone (residual {residual:.0e}). Use a time grid that is finer "
                "near the pictures (a larger power), or more steps."
            )


@dataclass(frozen=True)
class Sampler:
    """Steps from noise to pictures, and their exact inverse.

    Attributes:
        steps: in the order in which they decode.
        solver: undoes a step.

    >>> sampler = Sampler(euler(lambda x, t: 0.5 * x, time_grid(4)))
    >>> noise, solved = sampler.encode(torch.ones(1, 2, dtype=torch.float64))
    >>> torch.allclose(sampler.decode(noise), torch.ones(1, 2, dtype=torch.float64), rtol=0, atol=1e-12)
    True
    """

    steps: tuple[Step, ...]
    solver: Solver = field(default_factory=Solver)

    @property
    def evaluations(self) -> int:
        """Of the network, to decode."""
        return sum(step.evaluations for step in self.steps)

    def decode(self, noise: Tensor) -> Tensor:
        """Return pictures of noise, (B, ...) both; differentiable."""
        for step in self.steps if len(noise) else ():
            noise = step(noise)
        return noise

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> tuple[Tensor, Solved]:
        """Return the noise that `decode` takes to pictures, (B, ...) both, and how well it was found.

        A picture's noise depends on no other picture of the batch, and nothing is drawn at random. A picture with a
        step that could not be undone gets NaN: see `Solved.check`.
        """
        count = len(pictures)
        noise = torch.full_like(pictures, torch.nan)
        residual = torch.zeros(count, dtype=pictures.dtype, device=pictures.device)
        evaluations = torch.zeros(count, dtype=torch.long, device=pictures.device)
        failed = torch.full_like(evaluations, -1)
        live, y, past = torch.arange(count, device=pictures.device), pictures, list[tuple[float, Tensor]]()
        for k in reversed(range(len(self.steps))):
            if not len(live):
                break
            step = self.steps[k]
            start = (y - step.b * _extrapolate(past, step.t)) / step.a if past else y
            x, size, calls = self.solver.solve(step, step.a, y, start)
            evaluations[live] += step.evaluations * calls
            residual[live] = torch.maximum(residual[live], size)
            solved = size <= self.solver.bound
            failed[live[~solved]] = k
            mean = (y - step.a * x) / step.b  # what the network gave at x, but for the residual
            past = [(t, m[solved]) for t, m in [*past[-1:], (step.t, mean)]]
            live, y = live[solved], x[solved]
        noise[live] = y
        return noise, Solved(residual, evaluations, failed, len(self.steps))


def _extrapolate(past: list[tuple[float, Tensor]], t: float) -> Tensor:
    """Return the line through the last two (time, value) at time t, or the last value."""
    (t1, last), (t0, before) = past[-1], past[0]
    return last if len(past) == 1 else last + (last - before) * ((t - t1) / (t1 - t0))
