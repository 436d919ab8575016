"""Random draws: numbers of samples and temperatures that are checked, and generators of a seed.

Draws are made on the generator's device, by default the processor, and moved to where they are used: the same seed
gives the same samples on every device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from transflow.plain_values import real, seed_number, whole


@dataclass(frozen=True, eq=False)
class Drawn:
    """Samples, and what they are made of.

    Attributes:
        latents: shape (n, D), single precision.
        parents: numbers of the kept pictures of each, shape (n, k).
        weights: their weights, shape (n, k), double; square sum 1.
    """

    latents: Tensor
    parents: Tensor
    weights: Tensor


class LatentDistribution(Protocol):
    """What latents can be drawn from."""

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, *, seed: int | None = None
    ) -> Tensor:
        """Return n latents, shape (n, D), single precision."""

    def log_prob(self, latents: Tensor) -> Tensor:
        """Return the log density of latents (n, D) in nats, shape (n,); `ValueError` where there is none."""

    def squared_radius(self) -> float:
        """Return the expected ``|z|^2 / D`` of a sample."""

    @property
    def mean(self) -> Tensor:
        """Shape (D,), double."""


def drawing(
    n: int, temperature: float = 1.0, generator: torch.Generator | None = None, seed: int | None = None
) -> tuple[int, float, torch.Generator]:
    """Return n and temperature as Python's own numbers, and the generator that samples are drawn with.

    Args:
        n: number of samples.
        temperature: factor on their deviations from the mean.
        generator: a stream of random numbers to draw from.
        seed: of a new generator, where none is given; without it, a new one.

    Raises:
        ValueError: n or temperature is negative.
    """
    n, temperature = whole(n, "the number of samples"), real(temperature, "a temperature")
    if temperature < 0:
        raise ValueError(f"Expected a temperature of 0 or more; got {temperature}.")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ValueError(f"Expected a torch.Generator; got {generator!r}. Give a seed by its name: seed={generator!r}.")
    if generator is None:
        generator = torch.Generator()
        generator.manual_seed(seed_number(seed)) if seed is not None else generator.seed()
    return n, temperature, generator


def normal(generator: torch.Generator, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Return standard-normal numbers of a shape, double, drawn on the generator's device."""
    drawn = torch.randn(*shape, dtype=torch.float64, device=generator.device, generator=generator)
    return drawn.to(device)


def orders(generator: torch.Generator, n: int, m: int, device: torch.device | str = "cpu") -> Tensor:
    """Return n random orders of 0 .. m - 1, shape (n, m)."""
    return torch.rand(n, m, dtype=torch.float64, device=generator.device, generator=generator).argsort(1).to(device)
