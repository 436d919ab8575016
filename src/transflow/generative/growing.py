"""Networks that grow with the pictures that they make: from the coarsest to the finest, each new size faded in.

Pictures of size s, counted from the coarsest as 0, are made of the features of that size by a convolution of its own.
While size s comes in, by a share a from 0 to 1, they are

    a P_s(h_s) + (1 - a) enlarged(P_{s-1}(h_{s-1})),

and a critic takes them in likewise. Enlarging repeats a pixel; halving averages what was repeated, so that it undoes
it, for odd sizes too. Features are enlarged bilinearly: repeated ones leave a grid in pictures. How far a network has
grown depends on the share p of the budget that is spent,

    s + (what of a size is in) = S + log2(p / G),  each size coming in during the second half of its time,

so each size has as much of the budget as all coarser ones together, and all S are in when the share G is spent.

Weights are drawn from N(0, 1) and scaled in use (an equalised learning rate): a step moves all of them alike.

Reference: Karras, Aila, Laine and Lehtinen 2018, *Progressive growing of GANs*, arXiv 1710.10196.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.adversary import SLOPE

GROWING = 1 / 8  # G, the share of the budget after which all sizes are in
GRAIN = 1024  # by how many parts a size comes in


class Scaled(nn.Conv2d):
    """A convolution whose weights, N(0, 1) at first, are scaled in use so that it keeps the size of features."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float = math.sqrt(2)) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.scale = gain / math.sqrt(inputs * kernel * kernel)
        nn.init.normal_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return what it makes of features (B, inputs, H, W)."""
        return self._conv_forward(x, self.weight * self.scale, self.bias)


def active(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Return such a convolution with LeakyReLU."""
    return nn.Sequential(Scaled(inputs, outputs, kernel), nn.LeakyReLU(SLOPE))


def enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return pictures (B, C, H, W) of twice the height and width, or one less, each pixel repeated."""
    return F.interpolate(x, size=size, mode="nearest")


def smooth(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return features (B, C, H, W) of twice the height and width, or one less, linear in between."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def halved(x: Tensor) -> Tensor:
    """Return pictures (B, C, H, W) averaged down to half the height and width, rounded up; undoes `enlarged`."""
    return F.avg_pool2d(x, 2, ceil_mode=True)


def grown_at(progress: float, sizes: int) -> int:
    """Return how far a network has grown, in parts of `GRAIN` a size, when a share of the budget is spent.

    Args:
        progress: the share p, 0 to 1.
        sizes: S, how often the coarsest size is doubled.
    """
    through = sizes + math.log2(max(progress, 1e-9) / GROWING)
    whole = math.floor(through)
    found = whole + max(0.0, 2 * (through - whole) - 1)
    return round(GRAIN * min(max(found, 0.0), sizes))


def stage_of(grown: Tensor, sizes: int) -> tuple[int, float]:
    """Return the finest size that is in, and by which share, above 0 and to 1, of how far a network has grown."""
    parts = min(max(int(grown.item()), 0), sizes * GRAIN)
    finest = -(-parts // GRAIN)
    return finest, 1 - (finest * GRAIN - parts) / GRAIN


def faded(coarser: Tensor, finer: Tensor, share: float) -> Tensor:
    """Return pictures between those of a size enlarged, and those of the next."""
    size = (finer.shape[2], finer.shape[3])
    return torch.lerp(enlarged(coarser, size), finer, share)
