"""How near a model's latents are to the independent standard normal numbers that its prior says they are.

Of latents z of photographs: moments of all numbers (0, 1, 0 and 0), the correlation of numbers next to each other (0),
and the variance by level or by spatial frequency (1 each): what a model has not learned shows as structure in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from transflow.base_model import BaseModel


@dataclass(frozen=True)
class Gaussianity:
    """How near latents are to independent standard normal numbers.

    Attributes:
        mean: of all numbers; 0.
        deviation: their standard deviation; 1.
        skewness: their third standardised moment; 0.
        kurtosis: their fourth, less 3; 0.
        neighbours: correlation of numbers next to each other; 0.
        by_frequency: variance by level, finest first, or from high to low spatial frequency; 1 each.
    """

    mean: float
    deviation: float
    skewness: float
    kurtosis: float
    neighbours: float
    by_frequency: tuple[float, ...]


def gaussianity(latents: Tensor, model: BaseModel) -> Gaussianity:
    """Return the moments of latents (B, D), the correlation of their neighbours, and their variance by frequency."""
    z = latents.double().cpu()
    mean, deviation = z.mean().item(), z.std(correction=0).item()
    standard = (z - mean) / max(deviation, 1e-12)
    maps = [part.unflatten(1, shape) for part, shape in zip(z.split(model.level_sizes, 1), _maps(model), strict=True)]
    pairs = [(part[..., :-1].flatten(), part[..., 1:].flatten()) for part in maps if part.shape[-1] > 1]
    left, right = (torch.cat(side) for side in zip(*pairs, strict=True)) if pairs else (z.flatten(), z.flatten() * 0)
    centred = (left - left.mean()) * (right - right.mean())
    spread = (left.std(correction=0) * right.std(correction=0)).clamp(min=1e-12)
    return Gaussianity(
        mean,
        deviation,
        standard.pow(3).mean().item(),
        standard.pow(4).mean().item() - 3,
        (centred.mean() / spread).item(),
        tuple(part.square().mean().item() for part in maps) if len(maps) > 1 else _bands(maps[0]),
    )


def _maps(model: BaseModel) -> list[tuple[int, ...]]:
    """The shape of each level's latents as maps, where it can be known, else as rows."""
    channels, height, width = model.shape
    if len(model.level_sizes) == 1 and model.dim == channels * height * width:
        return [(channels, height, width)]
    shapes: list[tuple[int, ...]] = []
    for size in model.level_sizes:
        height, width = max(1, height // 2), max(1, width // 2)
        pixels = height * width
        shapes.append((size // pixels, height, width) if size % pixels == 0 else (1, size))
    return shapes


def _bands(maps: Tensor) -> tuple[float, ...]:
    """Mean power of maps (B, C, H, W) in four bands of spatial frequency, high to low, the variance being 1."""
    if maps.ndim != 4 or min(maps.shape[2:]) < 4:
        return (maps.square().mean().item(),)
    power = torch.fft.fft2(maps, norm="ortho").abs().square().mean((0, 1))
    down, across = (torch.fft.fftfreq(n, dtype=torch.float64, device="cpu").abs() * 2 for n in maps.shape[2:])
    radius = torch.maximum(down[:, None], across[None])
    edges = (1.01, 0.75, 0.5, 0.25, -0.01)
    bands = [power[(radius > low) & (radius <= high)] for high, low in pairwise(edges)]
    return tuple(band.mean().item() for band in bands if len(band))
