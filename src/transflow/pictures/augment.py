"""More evidence from the same pictures: small affine maps, the same ones for every picture.

A map moves a picture's points x (a square picture spans [-1, 1]^2; of others, each shift is in units of half its side)
by

    x  ->  R(angle) [[1, shear], [0, 1]] diag(e^(scale + aspect/2), e^(scale - aspect/2)) x + shift,

each of the six numbers drawn uniformly from a small range. Points from outside repeat the
border. The draws depend on the seed alone: the copies of a picture are the same whenever it
comes, so that evidence can be taken out again.

Reference: Simard, Steinkraus and Platt 2003, *Best practices for convolutional neural networks
applied to visual document analysis*.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

COPIES = 32  # of a picture, itself included
SHIFT = 0.12  # of half the picture's side, each way
ANGLE = math.radians(18)
SCALE = 0.17  # of the logarithm
SHEAR = 0.22
ASPECT = 0.14  # of the logarithm


def maps(count: int, seed: int = 0, strength: float = 1.0) -> Tensor:
    """Return affine maps, shape (count, 2, 3), double; the first is the identity. ``strength`` scales the ranges."""
    if count < 1:
        raise ValueError(f"Expected at least one copy; got {count}.")
    generator = torch.Generator().manual_seed(seed)
    draws = strength * (2 * torch.rand(count, 6, dtype=torch.float64, generator=generator, device="cpu") - 1)
    draws[0] = 0
    most = torch.tensor([SHIFT, SHIFT, ANGLE, SCALE, SHEAR, ASPECT], dtype=torch.float32, device="cpu")
    x, y, angle, scale, shear, aspect = (draws * most).T
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(x), torch.zeros_like(x)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, 1).unflatten(1, (2, 2))

    linear = matrix(cos, -sin, sin, cos) @ matrix(one, shear, zero, one)
    linear = linear @ torch.diag_embed(torch.stack([scale + aspect / 2, scale - aspect / 2], 1).exp())
    return torch.cat([linear, torch.stack([x, y], 1)[:, :, None]], 2)


def affine(pictures: Tensor, count: int = COPIES, seed: int = 0, strength: float = 1.0) -> Tensor:
    """Return copies of pictures under small affine maps.

    Args:
        pictures: uint8, shape (B, C, H, W).
        count: K, copies of each, the picture itself the first.
        seed: of the K maps.
        strength: multiplies the ranges.

    Returns:
        uint8, shape (B, K, C, H, W).

    >>> affine(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), 4).shape
    torch.Size([2, 4, 3, 8, 8])
    """
    if pictures.ndim != 4 or pictures.dtype != torch.uint8:
        raise ValueError(f"Expected uint8 pictures (B, C, H, W); got {pictures.dtype}, {tuple(pictures.shape)}.")
    copies = [pictures]
    thetas = maps(count, seed, strength).float()
    ratio = pictures.shape[3] / pictures.shape[2]  # of units: a rotation must stay one
    thetas[:, 0, 1] /= ratio
    thetas[:, 1, 0] *= ratio
    for theta in thetas[1:]:
        grid = F.affine_grid(theta.expand(len(pictures), 2, 3), list(pictures.shape), align_corners=False)
        moved = F.grid_sample(pictures.float(), grid, padding_mode="border", align_corners=False)
        copies.append(moved.round().clamp(0, 255).to(torch.uint8))
    return torch.stack(copies, 1)
