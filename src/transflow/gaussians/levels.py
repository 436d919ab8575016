"""The levels of a latent, from fine to coarse, and deviations that are cut by them.

A latent of several levels of resolution is a row of parts, finest first; one without levels that is as large as its
picture is cut into bands of spatial frequency, of one octave each, which are orthogonal too. Samples break at the
coarsest level first, so each level's deviation from the evidence's mean is cut to a length that evidence has there:

    d_l  ->  d_l min(1, limit_l / |d_l|),   limit_l the median of |d_l| of the evidence.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

AT_ONCE = 32  # deviations whose Fourier transform is held
COARSEST = 2.0  # cycles in a picture up to which a frequency belongs to the coarsest band


class Levels(ABC):
    """An orthogonal decomposition of latents into L levels, finest first."""

    @property
    @abstractmethod
    def count(self) -> int:
        """L."""

    @abstractmethod
    def norms(self, deviations: Tensor) -> Tensor:
        """Return the length of each level of deviations (n, D), shape (n, L)."""

    @abstractmethod
    def scaled(self, deviations: Tensor, factors: Tensor) -> Tensor:
        """Return deviations (n, D) with each level times its factor, (n, L) or (L,)."""

    def spliced(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the coarsest level of one set of deviations and the finer ones of another, both (n, D)."""
        return fine - self.coarsest(fine) + self.coarsest(coarse)

    def coarsest(self, deviations: Tensor) -> Tensor:
        """Return deviations (n, D) with their coarsest level alone."""
        last = torch.zeros(self.count, dtype=deviations.dtype, device=deviations.device)
        last[-1] = 1
        return self.scaled(deviations, last)


@dataclass(frozen=True)
class LevelSizes(Levels):
    """Levels that follow each other in the latent.

    Attributes:
        sizes: how many numbers each has, finest first.

    >>> LevelSizes((2, 1)).norms(torch.tensor([[3.0, 4.0, 2.0]]))
    tensor([[5., 2.]])
    """

    sizes: tuple[int, ...]

    @property
    def count(self) -> int:
        """L."""
        return len(self.sizes)

    def norms(self, deviations: Tensor) -> Tensor:
        """Return the length of each level of deviations (n, D), shape (n, L)."""
        return torch.stack([part.norm(dim=1) for part in deviations.split(self.sizes, 1)], 1)

    def scaled(self, deviations: Tensor, factors: Tensor) -> Tensor:
        """Return deviations (n, D) with each level times its factor, (n, L) or (L,)."""
        sizes = torch.tensor(self.sizes, device=factors.device, dtype=torch.long)
        return deviations * factors.repeat_interleave(sizes, -1, output_size=sum(self.sizes))


@dataclass(frozen=True)
class FrequencyBands(Levels):
    """Octaves of spatial frequency of a latent that is laid out as a picture.

    Attributes:
        shape: channels, height and width.
    """

    shape: tuple[int, int, int]

    @property
    def count(self) -> int:
        """L: the finest band is of a quarter of a cycle a pixel and more, the coarsest of up to two a picture."""
        return max(1, 1 + math.floor(math.log2(min(self.shape[1:]) / (2 * COARSEST))))

    @cached_property
    def bands(self) -> Tensor:
        """The band of each frequency of a two-dimensional Fourier transform, shape (H, W)."""
        rows, columns = (torch.fft.fftfreq(size, dtype=torch.float64, device="cpu") for size in self.shape[1:])
        radius = (rows[:, None].square() + columns.square()).sqrt().clamp(min=1e-9)
        return (-2 - radius.log2()).ceil().clamp(0, self.count - 1).long()

    def norms(self, deviations: Tensor) -> Tensor:
        """Return the length of each level of deviations (n, D), shape (n, L)."""
        power = self._spectrum(deviations).abs().square().sum(1).flatten(1)
        index = self.bands.to(power.device).flatten().expand(len(power), -1)
        return power.new_zeros(len(power), self.count).scatter_add(1, index, power).sqrt()

    def scaled(self, deviations: Tensor, factors: Tensor) -> Tensor:
        """Return deviations (n, D) with each level times its factor, (n, L) or (L,)."""
        by_frequency = factors.expand(len(deviations), -1)[:, self.bands.to(factors.device)][:, None]
        spectrum = self._spectrum(deviations) * by_frequency
        return torch.fft.ifft2(spectrum, norm="ortho").real.flatten(1).to(deviations)

    def _spectrum(self, deviations: Tensor) -> Tensor:
        return torch.fft.fft2(deviations.unflatten(1, self.shape), norm="ortho")


def levels_of(sizes: Sequence[int], shape: Sequence[int] = ()) -> Levels:
    """Return the levels of a model's latents.

    Args:
        sizes: how many numbers each level holds, finest first; D alone for a model without levels.
        shape: channels, height and width of its pictures, by whose frequencies a latent without levels is cut.

    >>> levels_of((48,), (3, 4, 4)), levels_of((3072,), (3, 32, 32)).count, levels_of((40, 8)).count
    (LevelSizes(sizes=(48,)), 4, 2)
    """
    if len(sizes) == 1 and len(shape) == 3 and math.prod(shape) == sizes[0] and min(shape[1:]) >= 4 * COARSEST:
        return FrequencyBands((shape[0], shape[1], shape[2]))
    return LevelSizes(tuple(sizes))


@dataclass(frozen=True, eq=False)
class Cut:
    """Deviations no longer at any level than the evidence's median deviation there.

    Attributes:
        levels: the decomposition.
        limits: the longest that each level may be, shape (L,), double.
    """

    levels: Levels
    limits: Tensor

    @classmethod
    def of(cls, levels: Levels, deviations: Tensor) -> Cut:
        """Return the cut at the medians of the evidence's deviations, (m, D)."""
        norms = torch.cat([levels.norms(part) for part in deviations.split(AT_ONCE)])
        return cls(levels, norms.median(0).values)

    def __call__(self, deviations: Tensor) -> Tensor:
        """Return deviations (n, D), cut."""
        return self.levels.scaled(
            deviations, (self.limits / self.levels.norms(deviations).clamp(min=1e-300)).clamp(max=1)
        )


@dataclass(frozen=True)
class Bend:
    """How far the cut by level bends a distribution.

    Attributes:
        mean: how far it moves the mean, as a share of the length of a deviation.
        variance: what it leaves of each level's variance, finest first.
        cut: the share of samples that it shortens.
    """

    mean: float
    variance: tuple[float, ...]
    cut: float

    @classmethod
    def of(cls, cut: Cut, deviations: Iterable[Tensor]) -> Bend:
        """Return how far a cut bends batches of deviations, each (n, D)."""
        before = after = moved = torch.zeros((), dtype=torch.float64, device="cpu")
        length = shorter = count = 0.0
        for whole in deviations:
            shortened = cut(whole)
            norms, left = cut.levels.norms(whole), cut.levels.norms(shortened)
            moved = moved + (shortened - whole).sum(0)
            before, after = before + norms.square().sum(0), after + left.square().sum(0)
            length, count = length + whole.norm(dim=1).sum().item(), count + len(whole)
            shorter += (left < norms * (1 - 1e-9)).any(1).sum().item()
        variance = tuple((after / before.clamp(min=1e-300)).tolist())
        return cls(moved.norm().item() / max(length, 1e-300), variance, shorter / max(count, 1))
