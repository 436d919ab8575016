"""Glow: a multi-scale normalizing flow whose whole latent is one standard-normal vector.

Each level squeezes pixels into channels, applies K steps (channel affine, coupling), and lets
half of the channels leave. The half that leaves has a learned Gaussian prior given the half
that stays, ``z_b ~ N(mean(z_a), std(z_a)^2)``; written in ``eps = (z_b - mean) / std`` that is
an affine coupling followed by a cut. So a split *is* a coupling here, the top prior is an
elementwise affine map, and N(0, I) is the exact prior of all D = C H W numbers.

Reference: Kingma and Dhariwal 2018, *Glow: Generative Flow with Invertible 1x1 Convolutions*,
arXiv 1807.03039.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.bijections import (
    BoundedCoupling,
    Cascade,
    ChannelAffine,
    Coupling,
    CouplingKind,
    PermutationKind,
    soft_bound,
    squeeze,
    unsqueeze,
)
from transflow.plain_values import make_plain


@dataclass(frozen=True)
class GlowConfig:
    """The architecture of a Glow.

    Attributes:
        channels: picture channels C.
        size: picture height in pixels, and its width but for ``picture_width``; a multiple of ``2 ** levels``.
        steps: steps K of each level, finest level first; its length is the number of levels L.
        width: hidden channels of the coupling networks, of each level.
        coupling: ``"affine"`` or ``"additive"``.
        permutation: 1x1 convolution kept as ``"lu"`` or ``"plain"``.
        picture_width: in pixels, of pictures that are not square; likewise.
    """

    channels: int = 3
    size: int = 32
    steps: tuple[int, ...] = (10, 10, 10)
    width: tuple[int, ...] = (128, 128, 128)
    coupling: CouplingKind = "affine"
    permutation: PermutationKind = "lu"
    picture_width: int | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        levels = len(self.steps)
        if levels < 1 or len(self.width) != levels:
            raise ValueError(f"Expected one width per level of steps; got steps={self.steps}, width={self.width}.")
        for pixels in self.shape[1:]:
            if pixels % 2**levels or pixels < 2**levels:
                raise ValueError(f"Expected a size that {levels} squeezes can halve; got {pixels}.")
        if self.channels < 1 or min(self.steps) < 0 or min(self.width) < 1:
            raise ValueError(
                f"Expected 1 channel and width or more, and steps of 0 or more; got {self.channels}, {self.width} and "
                f"{self.steps}."
            )
        for name, ways in (("coupling", get_args(CouplingKind)), ("permutation", get_args(PermutationKind))):
            if getattr(self, name) not in ways:
                raise ValueError(f"Expected {name} {' or '.join(ways)}; got {getattr(self, name)}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.channels, self.size, self.size if self.picture_width is None else self.picture_width

    @property
    def fewest_weights(self) -> int:
        """A number of weights that its model has at least: squares of channels and widths, and what the prior has."""
        channels = [4 * self.channels * 2**i for i in range(len(self.steps))]
        steps = sum(k * (c * c + w * w) for k, c, w in zip(self.steps, channels, self.width, strict=True))
        return steps + sum(w * w for w in self.width[:-1]) + math.prod(self.shape) // 2 ** (len(self.steps) - 1)


class TopPrior(nn.Module):
    """Standardise the coarsest latent: ``eps = (z + shift) * exp(log_scale)``, one pair per element."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return eps and the log-determinant, (B,), in nats."""
        s = soft_bound(self.log_scale)
        return (z + self.shift) * s.exp(), s.sum().expand(len(z))

    def inverse(self, eps: Tensor) -> Tensor:
        """Return z."""
        return eps * (-soft_bound(self.log_scale)).exp() - self.shift


class Glow(nn.Module):
    """A picture of floats ``x``, shape (B, C, H, W), to a flat standard-normal latent ``z``, (B, D).

    The latent holds the levels finest first: D/2 numbers from the first split, D/4 from the
    second, and so on; `level_sizes` says how many.

    >>> flow = Glow(GlowConfig(size=8, steps=(1, 1), width=(4, 4)))
    >>> z, log_det = flow(torch.rand(2, 3, 8, 8) - 0.5)
    >>> z.shape, log_det.shape, flow.inverse(z).shape
    (torch.Size([2, 192]), torch.Size([2]), torch.Size([2, 3, 8, 8]))
    """

    def __init__(self, config: GlowConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = nn.ModuleList()
        self.shapes: list[tuple[int, int, int]] = []  # of what leaves at each level
        channels, height, width = config.shape
        for i, (steps, hidden) in enumerate(zip(config.steps, config.width, strict=True)):
            channels, height, width = 4 * channels, height // 2, width // 2
            layers: list[nn.Module] = []
            for _ in range(steps):
                layers.append(ChannelAffine(channels, config.permutation))
                layers.append(Coupling(channels, hidden, config.coupling))
            if i + 1 < len(config.steps):
                layers.append(Coupling(channels, hidden))
                channels //= 2
            else:
                layers.append(TopPrior((channels, height, width)))
            self.shapes.append((channels, height, width))
            self.levels.append(Cascade(layers))
        if config.steps == (0,):  # no coupling whose activations could be seen
            self.__dict__.update(features=None, forward_and_features=None)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.config.shape

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """How many of the D latents each level holds, finest first."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def _finest(self) -> Cascade:
        level = self.levels[0]
        assert isinstance(level, Cascade)
        return level

    def _cascades(self) -> Iterator[tuple[Cascade, bool]]:
        for i, level in enumerate(self.levels):
            assert isinstance(level, Cascade)
            yield level, i + 1 == len(self.levels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents ``z``, (B, D), and ``log |det dz/dx|``, (B,), in nats."""
        return self._from_finest(*self._finest(squeeze(x)))

    def _from_finest(self, x: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents and the log-determinant, given what the finest level returns."""
        parts = []
        for i, (cascade, top) in enumerate(self._cascades()):
            if i:
                x, change = cascade(squeeze(x))
                log_det = log_det + change
            if not top:
                x, z = x.chunk(2, 1)
                parts.append(z.flatten(1))
        return torch.cat([*parts, x.flatten(1)], 1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures ``x``, (B, C, H, W), from latents ``z``, (B, D)."""
        parts = [p.unflatten(1, s) for p, s in zip(z.split(self.level_sizes, 1), self.shapes, strict=True)]
        x = parts.pop()
        for cascade, top in reversed(list(self._cascades())):
            if not top:
                x = torch.cat([x, parts.pop()], 1)
            x = unsqueeze(cascade.inverse(x))
        return x

    def with_levels(self, levels: Iterable[nn.Module]) -> Glow:
        """Return a flow of the same architecture whose levels are these cascades."""
        made = Glow.__new__(Glow)
        nn.Module.__init__(made)
        made.config, made.shapes = self.config, self.shapes
        made.levels = nn.ModuleList(levels)
        return made

    def features(self, x: Tensor) -> Tensor:
        """Return pooled hidden activations of the last two couplings of the finest level, shape (B, F).

        Averages in 4 x 4 parts of the picture; the square root of each, since activations of 0 or more spread
        the more the larger they are.
        """
        found, *_ = self._to_features(x)
        return found

    def forward_and_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `forward` and `features` give, of one pass."""
        found, rest, x, log_det = self._to_features(x)
        return *self._from_finest(*self._finest.run(rest, x, log_det)), found

    def _to_features(self, x: Tensor) -> tuple[Tensor, Sequence[nn.Module], Tensor, Tensor]:
        """Return the features; and the finest level's layers that are left, their input, and the log-determinant."""
        finest = self._finest
        layers = list(finest)
        seen, done = [], 0
        x, log_det = finest.begin(squeeze(x))
        for i in [i for i, layer in enumerate(layers) if isinstance(layer, BoundedCoupling)][-2:]:
            x, log_det = finest.run(layers[done:i], x, log_det)
            seen.append(_pooled(layers[i], x))
            done = i
        return torch.cat(seen, 1), layers[done:], x, log_det

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Data-dependent start: each step's activations get mean 0 and variance 1 on this batch."""
        for cascade, _ in self._cascades():
            x = squeeze(x)
            for layer in cascade:
                if isinstance(layer, ChannelAffine):
                    layer.initialise(x)
                x = layer(x)[0]
            x = x.chunk(2, 1)[0]


def _pooled(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, BoundedCoupling)
    return F.adaptive_avg_pool2d(layer.hidden(x), 4).flatten(1).sqrt()
