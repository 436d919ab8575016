"""Real NVP: affine couplings under masks, batch norm between them, and half of the channels leaving at each level.

A mask b keeps a part of the numbers, every second pixel (a checkerboard) or half of the channels, and what is kept
says how the others are scaled and shifted,

    z = b x + (1 - b) exp(s(b x)) (x + t(b x)),    log |det| = sum (1 - b) s.

A level is couplings under checkerboards, a squeeze, couplings under halves of the channels, then half of the channels
leave as they are; the coarsest is checkerboards alone. N(0, I) is the prior of all D numbers.

Batch norm standardises each channel. In training by mean and variance of the batch, through which gradients pass and
which the log-determinant counts, so that pictures of a batch depend on each other; in use by their running averages:
an affine map of each picture alone.

Reference: Dinh, Sohl-Dickstein and Bengio 2017, *Density estimation using Real NVP*, arXiv 1605.08803. Its networks
have batch and weight normalisation inside, these have none; scales are bounded softly, as a Glow's here are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from transflow.generative.bijections import Cascade, ConvNet, Squeeze, soft_bound, started_at_zero
from transflow.plain_values import make_plain

NetKind = Literal["residual", "plain"]
MaskKind = Literal["checkerboard", "channels"]


@dataclass(frozen=True)
class RealNVPConfig:
    """The architecture of a Real NVP.

    Attributes:
        shape: of a picture, (C, H, W); height and width are multiples of ``2 ** (levels - 1)``.
        width: hidden channels of the coupling networks, of each level, finest first; its length is that of levels.
        steps: couplings under each kind of mask at a level; one more under checkerboards at the coarsest.
        depth: residual blocks of a network; of no account to plain ones.
        net: ``"residual"``, or ``"plain"`` for 3x3, 1x1 and 3x3 convolutions.
        batch_norm: whether there is batch norm after each coupling but the last.
    """

    shape: tuple[int, int, int] = (3, 32, 32)
    width: tuple[int, ...] = (64, 96, 128)
    steps: int = 3
    depth: int = 2
    net: NetKind = "residual"
    batch_norm: bool = True

    def __post_init__(self) -> None:
        make_plain(self)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"Expected a shape (C, H, W); got {self.shape}.")
        if not self.width or min(self.width) < 1 or min(self.steps, self.depth) < 1:
            raise ValueError(
                "Expected a width of 1 or more for each level, and steps and depth of 1 or more; "
                f"got {self.width}, {self.steps} and {self.depth}."
            )
        multiple = 2 ** (len(self.width) - 1)
        if self.shape[1] % multiple or self.shape[2] % multiple:
            raise ValueError(f"Expected height and width that are multiples of {multiple}; got {self.shape}.")
        if self.net not in get_args(NetKind):
            raise ValueError(f"Expected net {' or '.join(get_args(NetKind))}; got {self.net}.")

    @property
    def fewest_weights(self) -> int:
        """A number of weights that its model has at least: those of the networks' hidden convolutions."""
        each = 18 * self.depth if self.net == "residual" else 1
        counts = [2 * self.steps] * (len(self.width) - 1) + [self.steps + 1]
        return sum(count * each * width * width for count, width in zip(counts, self.width, strict=True))


class ResidualNet(nn.Module):
    """3x3 convolutions in blocks that are added to what comes; the last starts at zero.

    Args:
        inputs: channels.
        width: hidden channels.
        outputs: channels.
        depth: blocks.
    """

    def __init__(self, inputs: int, width: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
            )
            for _ in range(depth)
        )
        self.last = started_at_zero(nn.Conv2d(width, outputs, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W)."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x.relu())


class MaskedCoupling(nn.Module):
    """Scale and shift what a mask hides, by a function of what it keeps (see above).

    Log-scales are bounded softly, and the network sees numbers cut at ``+-REACH``, so that pictures unlike any
    photograph do not grow from step to step.

    Args:
        channels: C.
        mask: ``"checkerboard"`` of pixels, or halves of the ``"channels"``.
        kept: 0 or 1, the half that stays as it is.
        net: from C to 2C channels.
    """

    REACH = 3.0
    BOUND = 2.0

    def __init__(self, channels: int, mask: MaskKind, kept: int, net: nn.Module) -> None:
        super().__init__()
        self.channels, self.mask, self.kept, self.net = channels, mask, kept, net

    def hidden(self, x: Tensor) -> Tensor:
        """Return where the mask hides, as booleans that broadcast to (B, C, H, W)."""
        if self.mask == "channels":
            number = torch.arange(self.channels, device=x.device)[:, None, None]
            return number // ((self.channels + 1) // 2) != self.kept
        rows, columns = (torch.arange(size, device=x.device) for size in x.shape[2:])
        return (rows[:, None] + columns) % 2 != self.kept

    def scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-scales and shifts, (B, C, H, W) each, 0 where the mask keeps."""
        hidden = self.hidden(x)
        seen = x.masked_fill(hidden, 0).clamp(-self.REACH, self.REACH)
        s, t = (part.masked_fill(~hidden, 0) for part in self.net(seen).to(x.dtype).chunk(2, 1))
        return soft_bound(s, self.BOUND), t

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        s, t = self.scale_and_shift(x)
        return (x + t) * s.exp(), s.sum((1, 2, 3))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        s, t = self.scale_and_shift(z)
        return z * (-s).exp() - t


class BatchNorm(nn.Module):
    """Standardise each channel, ``z = (x - mean) / sqrt(variance + EPS)``, by the batch in training, else by averages.

    Args:
        channels: C.
    """

    EPS = 1e-5
    MOMENTUM = 0.1

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    @torch.no_grad()
    def update(self, mean: Tensor, variance: Tensor, share: float) -> None:
        """Move the averages towards those of a batch; one that is not finite, whose step is skipped, leaves them."""
        for kept, new in ((self.mean, mean), (self.variance, variance)):
            kept.copy_(torch.where(new.isfinite().all(), torch.lerp(kept, new.to(kept.dtype), share), kept))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            self.update(mean, variance, self.MOMENTUM)
        variance = variance + self.EPS
        log_det = -0.5 * variance.log().sum() * (x.shape[2] * x.shape[3])
        return (x - mean[:, None, None]) * variance.rsqrt()[:, None, None], log_det.expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x, by the averages."""
        return z * (self.variance + self.EPS).sqrt()[:, None, None] + self.mean[:, None, None]


class RealNVP(nn.Module):
    """A picture of floats ``x``, (B, C, H, W), to a flat standard-normal latent ``z``, (B, D), finest level first.

    >>> flow = RealNVP(RealNVPConfig((3, 8, 8), width=(4, 4), steps=1, depth=1)).eval()
    >>> z, log_det = flow(torch.rand(2, 3, 8, 8) - 0.5)
    >>> z.shape, flow.level_sizes, flow.inverse(z).shape
    (torch.Size([2, 192]), (96, 96), torch.Size([2, 3, 8, 8]))
    """

    def __init__(self, config: RealNVPConfig) -> None:
        super().__init__()
        self.config = config
        self.shapes: list[tuple[int, int, int]] = []  # of what leaves at each level
        self.levels = nn.ModuleList()
        channels, height, width = config.shape
        for i, hidden in enumerate(config.width):
            top = i + 1 == len(config.width)
            layers = self._couplings(channels, "checkerboard", hidden, config.steps + top)
            if not top:
                channels, height, width = 4 * channels, height // 2, width // 2
                layers += [Squeeze(), *self._couplings(channels, "channels", hidden, config.steps)]
                channels //= 2
            elif config.batch_norm:
                layers.pop()
            self.shapes.append((channels, height, width))
            self.levels.append(Cascade(layers))

    def _couplings(self, channels: int, mask: MaskKind, width: int, count: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for i in range(count):
            net: nn.Module
            if self.config.net == "residual":
                net = ResidualNet(channels, width, 2 * channels, self.config.depth)
            else:
                net = ConvNet(channels, width, 2 * channels)
            layers.append(MaskedCoupling(channels, mask, i % 2, net))
            layers += [BatchNorm(channels)] if self.config.batch_norm else []
        return layers

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.config.shape

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """How many of the D latents each level holds, finest first."""
        return tuple(math.prod(shape) for shape in self.shapes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents ``z``, (B, D), and ``log |det dz/dx|``, (B,), in nats."""
        parts, log_det = [], x.new_zeros(len(x))
        for i, level in enumerate(self.levels):
            x, change = level(x)
            log_det = log_det + change
            if i + 1 < len(self.levels):
                x, z = x.chunk(2, 1)
                parts.append(z.flatten(1))
        return torch.cat([*parts, x.flatten(1)], 1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures ``x``, (B, C, H, W), from latents ``z``, (B, D)."""
        parts = [p.unflatten(1, s) for p, s in zip(z.split(self.level_sizes, 1), self.shapes, strict=True)]
        x = parts.pop()
        for level in reversed(self.levels):
            x = level.inverse(x)  # type: ignore[operator]
            x = torch.cat([x, parts.pop()], 1) if parts else x
        return x

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Begin with the running averages of these pictures, (B, C, H, W), in place of zeros and ones."""
        for level in self.levels:
            assert isinstance(level, Cascade)
            for layer in level:
                if isinstance(layer, BatchNorm):
                    layer.update(x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0), 1.0)
                x = layer(x)[0]
            x = x.chunk(2, 1)[0]
