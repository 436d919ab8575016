"""Details given the average they belong to: the conditional flow of one level of a pyramid.

An average shows where the edges are and how sharp and grainy the photograph is. So a network sees it once,
and every step sees the features that it made,

    log p(details | average) = log N(z; 0, I) + log |det dz / d details|,    z = f(details; average).

All is convolutions, so crops train it. Pictures far from the training data must neither blow up nor be squashed to
where float32 finds no way back: whatever a network sees is bounded, so are all scales, and large details are
taken down at once, each by its own size.

Reference: Yu, Derpanis and Brubaker 2020, *Wavelet Flow*, arXiv 2010.13821.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.bijections import ChannelAffine, soft_bound, started_at_zero, unsqueeze
from transflow.plain_values import make_plain


@dataclass(frozen=True)
class DetailConfig:
    """The architecture of one level's conditional flow.

    Attributes:
        channels: picture channels C; details have 3C.
        steps: steps of (channel affine, coupling).
        width: hidden channels of the coupling networks.
        seen: features of the average that every step sees.
        coarser: channels of the average's features at half and at a quarter of its size.
    """

    channels: int = 3
    steps: int = 20
    width: int = 64
    seen: int = 64
    coarser: tuple[int, int] = (96, 128)

    def __post_init__(self) -> None:
        make_plain(self)
        numbers = (self.channels, self.steps, self.width, self.seen, *self.coarser)
        if len(self.coarser) != 2 or min(numbers) < 1:
            raise ValueError(f"Expected channels, steps and widths of 1 or more, and two coarser widths; got {self}.")

    @property
    def fewest_weights(self) -> int:
        """A number of weights that its flow has at least: those of the couplings and of the first features."""
        coupling = self.width * (self.width + self.seen + 27 * self.channels // 2)
        return self.steps * coupling + 27 * self.seen * self.channels


class Residual(nn.Module):
    """``x + second(relu(first(relu(x))))``, 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = started_at_zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return features of x's shape."""
        return x + self.second(F.relu(self.first(F.relu(x))))


class Context(nn.Module):
    """What the flow sees of an average: features of three resolutions, (B, C, S, S) to (B, seen, S, S).

    How sharp or grainy a photograph is shows in a wider view than one pixel's, so two coarser grids are added.
    """

    REACH = 1.0  # averages of pictures are within 1/2

    def __init__(self, config: DetailConfig) -> None:
        super().__init__()
        middle, coarse = config.coarser
        self.stem = nn.Conv2d(config.channels, config.seen, 3, padding=1)
        self.fine = Residual(config.seen)
        self.down_middle = nn.Conv2d(config.seen, middle, 3, stride=2, padding=1)
        self.middle = Residual(middle)
        self.down_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = Residual(coarse)
        self.up_middle = nn.Conv2d(coarse, 4 * middle, 1)
        self.up_fine = nn.Conv2d(middle, 4 * config.seen, 1)
        self.last = Residual(config.seen)

    def forward(self, average: Tensor) -> Tensor:
        """Return features of 0 or more."""
        fine = self.fine(self.stem(4 * average.clamp(-self.REACH, self.REACH)))
        middle = self.middle(self.down_middle(F.relu(fine)))
        coarse = self.coarse(self.down_coarse(F.relu(middle)))
        middle = middle + _finer(self.up_middle(F.relu(coarse)), middle)
        fine = fine + _finer(self.up_fine(F.relu(middle)), fine)
        return F.relu(self.last(fine))


def _finer(x: Tensor, like: Tensor) -> Tensor:
    """Move channels into 2 x 2 pixels, and cut what an odd height or width has too many."""
    return unsqueeze(x)[..., : like.shape[-2], : like.shape[-1]]


def lighten(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``y = 2 sinh(asinh(x) / 2)`` and ``log dy/dx`` of each number.

    Near zero y is x, far out ``y^2`` is ``2 |x|``, so the tails of a Laplace distribution become a normal one's.
    """
    y = x * (2 / (1 + (1 + x * x).sqrt())).sqrt()
    quarter = y * y / 4
    return y, quarter.log1p() / 2 - (2 * quarter).log1p()


def weigh(y: Tensor) -> Tensor:
    """Undo `lighten`: ``x = y sqrt(1 + y^2 / 4)``."""
    return y * (1 + y * y / 4).sqrt()


class Head(nn.Module):
    """Standardise each number given what is seen: ``z = lighten((x + t) exp(s))``, ``|s| < STEEPEST``."""

    STEEPEST = 4.0

    def __init__(self, channels: int, seen: int) -> None:
        super().__init__()
        self.net = started_at_zero(nn.Conv2d(seen, 2 * channels, 3, padding=1))

    def scale_and_shift(self, seen: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-scale s and the shift t."""
        s, t = self.net(seen).to(like.dtype).chunk(2, 1)
        return soft_bound(s, self.STEEPEST), t

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        s, t = self.scale_and_shift(seen, x)
        z, lightened = lighten((x + t) * s.exp())
        return z, (s + lightened).sum((1, 2, 3))

    def inverse(self, z: Tensor, seen: Tensor) -> Tensor:
        """Return x."""
        s, t = self.scale_and_shift(seen, z)
        return weigh(z) * (-s).exp() - t


class ConditionalCoupling(nn.Module):
    """An affine coupling that also sees features: ``z_b = exp(s) (x_b + t)``, ``(s, t) = net(asinh(x_a), seen)``.

    A large detail says that its neighbours are large: ``asinh`` keeps that, grows slowly, and is cut at ``+-REACH``,
    an ``|x_a|`` of 10. Photographs need log-scales of 1/2; many steps of more lose what float32 can keep.
    """

    REACH = 3.0
    STEEPEST = 0.75

    def __init__(self, channels: int, width: int, seen: int) -> None:
        super().__init__()
        a = channels // 2
        self.halves = (a, channels - a)
        self.first = nn.Conv2d(a, width, 3, padding=1)
        self.given = nn.Conv2d(seen, width, 1)
        self.middle = nn.Conv2d(width, width, 1)
        self.last = started_at_zero(nn.Conv2d(width, 2 * (channels - a), 3, padding=1))

    def scale_and_shift(self, x_a: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-scale s and the shift t for the second half, each of its shape."""
        hidden = F.relu(self.first(x_a.asinh().clamp(-self.REACH, self.REACH)) + self.given(seen))
        s, t = self.last(F.relu(self.middle(hidden))).to(x_a.dtype).chunk(2, 1)
        return soft_bound(s, self.STEEPEST), t

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        x_a, x_b = x.split(self.halves, 1)
        s, t = self.scale_and_shift(x_a, seen)
        return torch.cat([x_a, (x_b + t) * s.exp()], 1), s.sum((1, 2, 3))

    def inverse(self, z: Tensor, seen: Tensor) -> Tensor:
        """Return x."""
        z_a, z_b = z.split(self.halves, 1)
        s, t = self.scale_and_shift(z_a, seen)
        return torch.cat([z_a, z_b * (-s).exp() - t], 1)


class DetailFlow(nn.Module):
    """Details given the average they belong to: (B, 3C, S, S) to standard-normal latents of the same shape, for any S.

    >>> flow = DetailFlow(DetailConfig(steps=2, width=8, seen=8, coarser=(8, 8)))
    >>> details, average = torch.rand(2, 9, 4, 4) - 0.5, torch.rand(2, 3, 4, 4) - 0.5
    >>> z, log_det = flow(details, average)
    >>> z.shape, log_det.shape, flow.inverse(z, average).shape
    (torch.Size([2, 9, 4, 4]), torch.Size([2]), torch.Size([2, 9, 4, 4]))
    """

    scale: Tensor

    def __init__(self, config: DetailConfig) -> None:
        super().__init__()
        self.config = config
        details = 3 * config.channels
        self.register_buffer("scale", torch.ones(details))
        self.context = Context(config)
        self.head = Head(details, config.seen)
        self.mixes = nn.ModuleList(ChannelAffine(details) for _ in range(config.steps))
        self.couplings = nn.ModuleList(
            ConditionalCoupling(details, config.width, config.seen) for _ in range(config.steps)
        )

    def forward(self, details: Tensor, average: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents z, (B, 3C, S, S), and ``log |det dz/d details|``, (B,), in nats."""
        seen = self.context(average)
        z, log_det = self.head(details / self.scale[:, None, None], seen)
        log_det = log_det - self.scale.log().sum() * details[0, 0].numel()
        for mix, coupling in zip(self.mixes, self.couplings, strict=True):
            z, mixed = mix(z)
            z, coupled = coupling(z, seen)
            log_det = log_det + mixed + coupled
        return z, log_det

    def inverse(self, z: Tensor, average: Tensor) -> Tensor:
        """Return details, (B, 3C, S, S)."""
        seen = self.context(average)
        for mix, coupling in reversed(list(zip(self.mixes, self.couplings, strict=True))):
            z = mix.inverse(coupling.inverse(z, seen))  # type: ignore[operator]
        return self.head.inverse(z, seen) * self.scale[:, None, None]

    @torch.no_grad()
    def initialise(self, details: Tensor, average: Tensor) -> None:
        """Data-dependent start: each step's activations get mean 0 and variance 1 on this batch."""
        self.scale.copy_(details.double().square().mean((0, 2, 3)).sqrt() + 1e-6)
        seen = self.context(average)
        z = self.head(details / self.scale[:, None, None], seen)[0]
        for mix, coupling in zip(self.mixes, self.couplings, strict=True):
            assert isinstance(mix, ChannelAffine)
            mix.initialise(z)
            z = coupling(mix(z)[0], seen)[0]
