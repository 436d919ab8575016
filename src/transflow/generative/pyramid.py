"""A pyramid: exact details on top of a base flow, one conditional flow a level.

A picture of 2S x 2S is its S x S average of 2 x 2 pixels and three Haar details a colour, a linear map.
The average belongs to the level below; the details go through a flow at S x S that sees the average,

    log p(x) = log p(average) + log p(details | average) + log |det d(average, details) / dx|,

so each level is trained alone, on crops, and the whole is one exact flow of all D numbers.

Reference: Yu, Derpanis and Brubaker 2020, *Wavelet Flow*, arXiv 2010.13821.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.details import DetailConfig, DetailFlow
from transflow.generative.flow_plus_plus import FlowPlusPlusConfig
from transflow.protocols import has

BASES: dict[str, type[Any]] = {}  # configurations that a base may have, by family; filled by `families`


@dataclass(frozen=True)
class PyramidConfig:
    """The architecture of a pyramid.

    Attributes:
        family: the base's family.
        base: the base's configuration, of that family; or its options by name.
        levels: the configuration of each level's flow, or its options by name, coarsest first.

    Raises:
        ValueError: there can be no such base or level.
    """

    family: str = "glow"
    base: Any = None
    levels: tuple[DetailConfig, ...] = (DetailConfig(),)

    def __post_init__(self) -> None:
        if self.family not in BASES:
            raise ValueError(f"Expected a base of a family of {', '.join(BASES)}; got {self.family}.")
        kind = BASES[self.family]
        base = kind(**self.base) if isinstance(self.base, Mapping) else kind() if self.base is None else self.base
        if not isinstance(base, kind):
            raise ValueError(f"Expected {kind.__name__} as base; got {type(base).__name__}.")
        if isinstance(base, FlowPlusPlusConfig) and base.dequantiser:
            raise ValueError(
                "Expected a flow++ base without variational dequantisation, which knows the bins of whole grey levels: "
                f"averages lie between them. Train it with --dequantiser 0; got {base.dequantiser}."
            )
        levels = tuple(DetailConfig(**part) if isinstance(part, Mapping) else part for part in self.levels)
        if not levels or not all(isinstance(part, DetailConfig) for part in levels):
            got = ", ".join(type(part).__name__ for part in levels) or "none"
            raise ValueError(f"Expected one or more levels, each a DetailConfig; got {got}.")
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "levels", levels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        channels, height, width = self.base.shape
        return channels, height << len(self.levels), width << len(self.levels)

    @property
    def fewest_weights(self) -> int:
        """A number of weights that its model has at least."""
        return int(self.base.fewest_weights) + sum(level.fewest_weights for level in self.levels)

    def stopped(self, size: int) -> PyramidConfig:
        """Return the architecture without the levels above pictures of a height.

        Raises:
            ValueError: no level has pictures of this height.
        """
        heights = [self.base.shape[1] << (i + 1) for i in range(len(self.levels))]
        if size not in heights:
            raise ValueError(f"Expected a size of {', '.join(map(str, heights))}; got {size}.")
        return PyramidConfig(self.family, self.base, self.levels[: heights.index(size) + 1])


def haar_split(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return averages of 2 x 2 pixels, (B, C, S, S), and details, (B, 3C, S, S), of pictures (B, C, 2S, 2S).

    Details are across, down and diagonal, each of all colours, a quarter of a signed sum of four pixels.
    """
    a, b, c, d = F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unbind(2)
    details = torch.cat([a - b + c - d, a + b - c - d, a - b - c + d], 1) / 4
    return (a + b + c + d) / 4, details


def haar_join(average: Tensor, details: Tensor) -> Tensor:
    """Return the pictures of averages and details: undo `haar_split`."""
    across, down, diagonal = details.chunk(3, 1)
    a = average + across + down + diagonal
    b = average - across + down - diagonal
    c = average + across - down - diagonal
    d = average - across - down + diagonal
    return F.pixel_shuffle(torch.stack([a, b, c, d], 2).flatten(1, 2), 2)


def haar_log_det(average: Tensor) -> float:
    """Return ``log |det|`` of `haar_join` in nats: log 16 for each number of one average (C, S, S) of a batch."""
    return average[0].numel() * math.log(16)


class BaseFlow(Protocol):
    """What a pyramid stands on: an exact flow of small pictures, such as a Glow, that is also a module."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """How many latents each level holds, finest first."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents, (B, D), and log-determinants, (B,), in nats."""

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures."""


class Pyramid(nn.Module):
    """A base flow and levels of details on top: pictures (B, C, H, W) to flat standard-normal latents (B, D).

    The latent holds the details finest first and then the base's latent. A pyramid without its finest level is
    one of pictures half as large: ``Pyramid(base, levels[:-1])``.

    >>> from transflow.generative.details import DetailConfig
    >>> from transflow.generative.glow import Glow, GlowConfig
    >>> base = Glow(GlowConfig(size=4, steps=(1,), width=(4,)))
    >>> pyramid = Pyramid(base, [DetailFlow(DetailConfig(steps=1, width=4, seen=4, coarser=(4, 4)))])
    >>> z, log_det = pyramid(torch.rand(2, 3, 8, 8) - 0.5)
    >>> z.shape, pyramid.level_sizes, pyramid.inverse(z).shape
    (torch.Size([2, 192]), (144, 48), torch.Size([2, 3, 8, 8]))

    Args:
        base: a flow of pictures of H / 2^n x W / 2^n for n levels.
        levels: flows of details, coarsest first, in the order in which pictures grow.
        config: of the whole, for one that is to be kept in a file.

    Raises:
        ValueError: a level is of another number of channels than the base.
    """

    def __init__(self, base: BaseFlow, levels: Sequence[DetailFlow], config: PyramidConfig | None = None) -> None:
        super().__init__()
        self.config = config
        for level in levels:
            if level.config.channels != base.shape[0]:
                got = f"{base.shape[0]} and {level.config.channels}"
                raise ValueError(f"Expected a base and levels of as many channels; got {got}.")
        self.base = base
        self.levels = nn.ModuleList(levels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        channels, height, width = self.base.shape
        return channels, height << len(self.levels), width << len(self.levels)

    @property
    def detail_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Shape of the details of each level, finest first."""
        channels, height, width = self.shape
        return tuple((3 * channels, height >> i, width >> i) for i in range(1, len(self.levels) + 1))

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """How many of the D latents each level holds, finest first, the base's last."""
        return (*(math.prod(shape) for shape in self.detail_shapes), *self.base.level_sizes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents ``z``, (B, D), and ``log |det dz/dx|``, (B,), in nats."""
        parts, average, log_det = self._details(x)
        z, change = self.base(average)
        return torch.cat([*parts, z], 1), log_det + change

    def latents(self, x: Tensor) -> Tensor:
        """Return latents ``z``, (B, D), alone: cheaper where the base's log-determinant is not."""
        parts, average, _ = self._details(x)
        base: Any = self.base
        z = base.latents(average) if has(base, "latents") else base(average)[0]
        return torch.cat([*parts, z], 1)

    def _details(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Latents of details, finest first, the average that is left, and the log-determinant so far."""
        log_det, parts = x.new_zeros(len(x)), []
        for level in reversed(self.levels):
            x, details = haar_split(x)
            z, change = level(details, x)
            parts.append(z.flatten(1))
            log_det = log_det + change - haar_log_det(x)
        return parts, x, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures ``x``, (B, C, H, W), from latents ``z``, (B, D)."""
        shapes = self.detail_shapes
        sizes = [math.prod(shape) for shape in shapes]
        *parts, rest = z.split([*sizes, z.shape[1] - sum(sizes)], 1)
        x = self.base.inverse(rest)
        for level, part, shape in zip(self.levels, reversed(parts), reversed(shapes), strict=True):
            x = haar_join(x, level.inverse(part.unflatten(1, shape), x))  # type: ignore[operator]
        return x
