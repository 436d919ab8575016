"""Other people's multi-scale flows as one list of layers, whose whole latent is one standard-normal vector.

A layer is a bijection, or a `Cut`, at which half of the channels leave. A learned prior of what leaves,
``z_b ~ N(mean(z_a), std(z_a)^2)``, written in ``eps = (z_b - mean) / std``, is a coupling followed by a cut, so nothing
that leaves is drawn anew on the way back, and N(0, I) is the exact prior of all D numbers.

No foreign Glow is a `transflow.Glow`: that one clamps what its networks see and bounds its log-scales, where these have
``log sigmoid(s + 2)`` of unbounded input. So they are layers of their own, of fixed weights.

Reference: Kingma and Dhariwal 2018, *Glow*, arXiv 1807.03039.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.bijections import BaseCoupling, squeeze, unsqueeze
from transflow.pictures.preprocess import Shape

ScaleMap = Literal["sigmoid", "sigmoid_inv", "exp"]

LOG_SCALES: dict[ScaleMap, Callable[[Tensor], Tensor]] = {  # of the encoding direction
    "sigmoid": lambda raw: F.logsigmoid(raw + 2),
    "sigmoid_inv": lambda raw: -F.logsigmoid(raw + 2),
    "exp": lambda raw: -raw,
}


class Squeeze(nn.Module):
    """Move 2 x 2 blocks of pixels into channels, in the order ``4 c + 2 dy + dx``."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(B, 4C, H/2, W/2)`` of ``(B, C, H, W)``, and a log-determinant of 0, (B,)."""
        return squeeze(x), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        return unsqueeze(z)


class Cut(nn.Module):
    """The second half of the channels leaves; the first goes on."""


class Affine(nn.Module):
    """One affine map of the channels, ``z = A x + b``: actnorm and 1x1 convolution together.

    Args:
        matrix: A, (C, C), double.
        bias: b, (C,), double.
    """

    matrix: Tensor
    bias: Tensor
    inverted: Tensor
    log_det: Tensor

    def __init__(self, matrix: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix[:, :, None, None])
        self.register_buffer("bias", bias)
        self.register_buffer("inverted", torch.linalg.inv(matrix)[:, :, None, None])
        self.register_buffer("log_det", torch.linalg.slogdet(matrix)[1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        return F.conv2d(x, self.matrix, self.bias), (self.log_det * (x.shape[-1] * x.shape[-2])).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        return F.conv2d(z - self.bias[:, None, None], self.inverted)


class Convolution(nn.Module):
    """A convolution that keeps the size; beyond the border stands a number, 0 but in one repository.

    Args:
        weight: (outputs, inputs, k, k), k odd.
        bias: (outputs,).
        border: the number beyond the border.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, border: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.border = border

    def forward(self, x: Tensor) -> Tensor:
        """Return what the convolution gives, (B, outputs, H, W)."""
        pad = self.weight.shape[-1] // 2
        if not self.border:
            return F.conv2d(x, self.weight, self.bias, padding=pad)
        return F.conv2d(F.pad(x, (pad,) * 4, value=self.border), self.weight, self.bias)


class Coupling(BaseCoupling):
    """Change the second half of the channels by a function of the first: ``z_b = exp(s) (x_b + t)``.

    ``(t, raw) = net(x_a)``, halves of the net's channels; ``s`` is a function of raw, or 0 where the net gives t alone.
    A learned prior is the map "exp" with ``t = -mean`` and ``raw = log std``.

    Args:
        net: from ceil(C / 2) channels to 2 floor(C / 2), or floor(C / 2) for an additive coupling.
        channels: C.
        scale_map: which function.
    """

    def __init__(self, net: nn.Module, channels: int, scale_map: ScaleMap | None) -> None:
        super().__init__((channels - channels // 2, channels // 2))
        self.net = net
        self.scale_map = scale_map

    def scale_and_shift(self, x_a: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and t for the second half, each of its shape."""
        found = self.net(x_a)
        if self.scale_map is None:
            return torch.zeros_like(found), found
        t, raw = found.chunk(2, 1)
        return LOG_SCALES[self.scale_map](raw), t


class Standardise(nn.Module):
    """A learned prior without condition: ``eps = (z - mean) exp(-log_std)``.

    Args:
        mean: (C, H, W), or one that broadcasts to it.
        log_std: likewise.
    """

    mean: Tensor
    log_std: Tensor

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("log_std", log_std)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return eps and the log-determinant, (B,), in nats."""
        return (z - self.mean) * (-self.log_std).exp(), -self.log_std.expand_as(z).sum((1, 2, 3))

    def inverse(self, eps: Tensor) -> Tensor:
        """Return z."""
        return eps * self.log_std.exp() + self.mean


class LayeredFlow(nn.Module):
    """Floats ``x``, (B, C, H, W), to a flat standard-normal latent, (B, D), finest first.

    Args:
        layers: bijections and cuts in the order of encoding.
        shape: of x, (C, H, W).

    >>> flow = LayeredFlow([Squeeze(), Cut()], (1, 2, 2))
    >>> flow(torch.arange(4.0).view(1, 1, 2, 2))[0].tolist(), flow.level_sizes
    ([[2.0, 3.0, 0.0, 1.0]], (2, 2))
    """

    def __init__(self, layers: Sequence[nn.Module], shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.ModuleList(layers)
        self.shapes: list[Shape] = []  # of what leaves at each cut, and at the end
        c, h, w = shape
        for layer in layers:
            if isinstance(layer, Squeeze):
                c, h, w = 4 * c, h // 2, w // 2
            elif isinstance(layer, Cut):
                self.shapes.append((c // 2, h, w))
                c -= c // 2
        self.shapes.append((c, h, w))

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """How many of the D latents each level holds, finest first."""
        return tuple(math.prod(shape) for shape in self.shapes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents, (B, D), and ``log |det dz/dx|``, (B,), in nats."""
        log_det = x.new_zeros(len(x))
        parts = []
        for layer in self.layers:
            if isinstance(layer, Cut):
                c = x.shape[1]
                x, leaving = x.split([c - c // 2, c // 2], 1)
                parts.append(leaving.flatten(1))
            else:
                x, change = layer(x)
                log_det = log_det + change
        return torch.cat([*parts, x.flatten(1)], 1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return x, (B, C, H, W), of latents (B, D)."""
        parts = [p.unflatten(1, s) for p, s in zip(z.split(self.level_sizes, 1), self.shapes, strict=True)]
        x = parts.pop()
        for layer in reversed(self.layers):
            x = torch.cat([x, parts.pop()], 1) if isinstance(layer, Cut) else layer.inverse(x)  # type: ignore[operator]
        return x
