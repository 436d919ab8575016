"""Ways from one latent to another: the straight line, the arc, and the line at full length.

    straight    (1 - t) a + t b
    spherical   (sin((1-t) w) a + sin(t w) b) / sin w,   w the angle between a and b
    corrected   the straight line's directions, their lengths (1 - t) |a| + t |b|

Latents of D numbers lie near the sphere of radius sqrt(D). Halfway on a straight line between independent ones the
length is sqrt(D / 2), that of samples at a low temperature, and the picture is bland; the other two stay out there.
They differ in speed: the arc turns evenly, the corrected line fastest in the middle.

Reference: Shoemake 1985, *Animating rotation with quaternion curves*.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

NEAR = 1e-6  # radians; a and b in the same direction to this: their arc is the line


def straight(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Return the points at a share of the straight lines from latents a to latents b, both (n, D); the ends exactly.

    >>> straight(torch.zeros(1, 2), torch.ones(1, 2), 0.25).tolist()
    [[0.25, 0.25]]
    """
    return _between(a, b, share, lambda x, y: (1 - share) * x + share * y)


def spherical(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Return the points at a share of the arcs from latents a to latents b, both (n, D); the ends exactly.

    Raises:
        ValueError: two latents are opposite, so that no arc between them is the shortest.

    >>> spherical(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]), 0.5).tolist()
    [[1.4142135381698608, 1.4142135381698608]]
    """

    def arc(x: Tensor, y: Tensor) -> Tensor:
        u, v = _unit(x), _unit(y)
        angle = 2 * torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True))
        if (angle > math.pi - NEAR).any():
            raise ValueError("Expected latents with an arc between them; got opposite ones. Go straight.")
        line = (1 - share) * x + share * y
        sine = angle.sin().clamp(min=NEAR / 2)
        turned = (((1 - share) * angle).sin() * x + (share * angle).sin() * y) / sine
        return torch.where(angle < NEAR, line, turned)

    return _between(a, b, share, arc)


def corrected(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Return the points at a share of the straight lines, put out to the length between those of the ends.

    >>> corrected(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]), 0.5).tolist()
    [[1.4142135381698608, 1.4142135381698608]]
    """

    def at_length(x: Tensor, y: Tensor) -> Tensor:
        line = (1 - share) * x + share * y
        length = (1 - share) * x.norm(dim=1, keepdim=True) + share * y.norm(dim=1, keepdim=True)
        return _unit(line) * length

    return _between(a, b, share, at_length)


WAYS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "straight": straight,
    "spherical": spherical,
    "corrected": corrected,
}


def _between(a: Tensor, b: Tensor, share: float, way: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"Expected two sets of latents (n, D) of one shape; got {tuple(a.shape)}, {tuple(b.shape)}.")
    if share in (0, 1):
        return b if share else a
    return way(a.double(), b.double()).to(a)


def _unit(z: Tensor) -> Tensor:
    return z / z.norm(dim=1, keepdim=True).clamp(min=torch.finfo(z.dtype).tiny)
