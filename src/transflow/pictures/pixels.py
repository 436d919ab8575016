"""Pixels as the floats that a model sees.

An n-bit pixel of value v stands for the bin ``[v, v + 1) / 2^n`` of the unit range. Evidence is encoded at the
centre of its bin, u = (v + 1/2) / 2^n, so that encoding is deterministic; training draws u uniformly from the bin.
The model sees ``x = low + (high - low) u``, or with ``ends`` ``u = v / (2^n - 1)`` as many libraries have it, or with
``logit`` a map to all real numbers,

    x = log(p / (1 - p)),   p = a + (1 - 2a) u,   a = logit.

Densities of pictures are over u: ``log p(u) = log p(x) + log |det dx/du|``.

Reference for the logit: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP, arXiv 1605.08803), section 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.plain_values import make_plain


@dataclass(frozen=True)
class PixelFormat:
    """How 8-bit pixels become the floats that a model sees, and back.

    Attributes:
        bits: n; the upper n of 8 bits are kept.
        low: the float that stands for black; without a logit.
        high: the float that stands for white; without a logit.
        ends: black is ``low`` and white ``high`` exactly, ``u = v / (2^n - 1)``, instead of their bins' centres.
        logit: a in (0, 1/2), for a model that sees the logit of pixels; 0 for one that does not.

    >>> PixelFormat(bits=8, low=-1.0, high=1.0, ends=True).centre(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    [-1.0, 1.0]
    """

    bits: int = 5
    low: float = -0.5
    high: float = 0.5
    ends: bool = False
    logit: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)
        if not 1 <= self.bits <= 8:
            raise ValueError(f"Expected 1 to 8 bits a pixel; got {self.bits}.")
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"Expected a range of pixels from low to high; got {self.low} to {self.high}.")
        if not 0 <= self.logit < 0.5:
            raise ValueError(f"Expected a logit's margin of 0 or more, below 1/2; got {self.logit}.")
        if self.logit and self.ends:
            raise ValueError("Expected pixels at their bins' centres under a logit; got ends=True.")

    def centre(self, pixels: Tensor) -> Tensor:
        """Return the floats of uint8 pixels, of the same shape, at the centres of their bins."""
        bins = self._bins(pixels)
        return self.floats(bins / (2**self.bits - 1) if self.ends else (bins + 0.5) / 2**self.bits)

    def dequantise(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return floats drawn uniformly from the bins of uint8 pixels, of the same shape."""
        bins = self._bins(pixels)
        noise = torch.rand(bins.shape, device=bins.device, generator=generator, dtype=torch.float32)
        return self.floats((bins + noise) / 2**self.bits)

    def unit(self, x: Tensor) -> Tensor:
        """Return a model's floats as pictures in [0, 1], what is beyond cut off."""
        return self.unit_unclamped(x).clamp(0, 1)

    def unit_unclamped(self, x: Tensor) -> Tensor:
        """Return a model's floats in units in which black is 0 and white 1; broken samples go beyond."""
        if self.logit:
            return (x.sigmoid() - self.logit) / (1 - 2 * self.logit)
        return x - self.low if self.high - self.low == 1 else (x - self.low) / (self.high - self.low)

    def log_det(self, x: Tensor) -> Tensor:
        """Return ``log |det dx/du|`` at a model's floats (B, ...), (B,), double, in nats."""
        if not self.logit:
            return x.new_full((len(x),), math.prod(x.shape[1:]) * math.log(self.high - self.low), dtype=torch.float64)
        x = x.double()
        slopes = math.log(1 - 2 * self.logit) - torch.nn.functional.logsigmoid(x) - torch.nn.functional.logsigmoid(-x)
        return slopes.flatten(1).sum(1)

    def floats(self, u: Tensor) -> Tensor:
        """Return a model's floats of pictures in units in which black is 0 and white 1; undoes `unit_unclamped`."""
        if self.logit:
            p = self.logit + (1 - 2 * self.logit) * u
            return p.log() - (-p).log1p()
        width = self.high - self.low
        return (u if width == 1 else u * width) + self.low

    def _bins(self, pixels: Tensor) -> Tensor:
        return (pixels >> (8 - self.bits)).float()
