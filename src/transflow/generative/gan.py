"""A GAN: a generator whose pictures an adversary cannot tell from given ones, grown from coarse pictures to fine.

The adversary D sees pictures x and G(z), z ~ N(0, I). It is trained by the loss of `adversary`, the generator by

    softplus(-D(G(z))),

which does not fade where D is sure (non-saturating). Both begin with pictures of a few pixels and grow together (see
`growing`); given pictures are averaged down and faded as G's are. In between, G's pictures are coarse ones enlarged.
How steep D is about given pictures is measured as if they were enlarged, too: a pixel that stands for n of the finest
size is n times as far, in squares, so the penalty is divided by n.

There is no encoder: the latent of a picture is searched for (see `latent_search`). A picture that G cannot make has
none, only a nearest one. So that a latent's length says something, features are not divided by their own length as
Karras et al. have it (pixel norm): G(cz) would be nearly G(z).

Held-out pictures judge samples by their energy score, of two draws a picture,

    (|x - G(z)| + |x - G(z')|) / 2  -  |G(z) - G(z')| / 2,    |.| the root mean square of a picture's numbers,

on average least where samples are distributed as pictures are.

Reference: Goodfellow et al. 2014, *Generative adversarial networks*, arXiv 1406.2661; Karras et al. 2018, *Progressive
growing of GANs*, arXiv 1710.10196; Gneiting and Raftery 2007, *Strictly proper scoring rules*, JASA 102.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.adversary import JUDGE, AdversaryConfig, deviation, tell_apart
from transflow.generative.codec import CodecModule
from transflow.generative.growing import Scaled, active, enlarged, faded, grown_at, halved, smooth, stage_of
from transflow.generative.latent_search import Inversion, Report, Search, invert

SEARCH = Search()


@dataclass(frozen=True)
class GanConfig(AdversaryConfig):
    """The architecture of a GAN, and what its adversary is held by; widths are channels of each size, finest first."""

    widths: tuple[int, ...] = (16, 32, 64)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each size, coarsest first; the coarsest has as many as the next."""
        return (self.widths[-1], *self.widths[::-1])


class Gan(CodecModule):
    """The generator; the adversary is no part of the model.

    Attributes:
        grown: how far it has grown, in parts of `growing.GRAIN` a size; a new one makes its coarsest pictures.

    >>> model = Gan(GanConfig((1, 8, 8), latent=2, widths=(8, 8)))
    >>> z = torch.zeros(3, 2)
    >>> model.coarse(z).shape, model.inverse(z).shape
    (torch.Size([3, 1, 2, 2]), torch.Size([3, 1, 8, 8]))
    """

    grown: Tensor

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        self.config = config
        high, wide = config.sizes[-1]
        first = config.channels[0]
        self.head = active(config.latent, first * high * wide, 1)
        self.coarsest = active(first, first, 3)
        self.levels = nn.ModuleList(
            nn.Sequential(active(width, finer, 3), active(finer, finer, 3))
            for width, finer in pairwise(config.channels)
        )
        self.pictures = nn.ModuleList(Scaled(width, config.shape[0], 1, gain=1.0) for width in config.channels)
        self.register_buffer("grown", torch.zeros((), dtype=torch.int64))

    @property
    def stage(self) -> tuple[int, float]:
        """The finest size that is in, the coarsest being 0, and by which share."""
        return stage_of(self.grown, len(self.levels))

    def coarse(self, z: Tensor) -> Tensor:
        """Return pictures of the finest size that is in, within (-1/2, 1/2), of latents (B, D)."""
        finest, share = self.stage
        x = self.coarsest(self.head(z[:, :, None, None]).reshape(len(z), -1, *self.config.sizes[-1]))
        before = x
        for level, size in zip(self.levels[:finest], self.config.sizes[-2::-1], strict=False):
            before, x = x, level(smooth(x, size))
        found: Tensor = self.pictures[finest](x)
        if share < 1:
            found = faded(self.pictures[finest - 1](before), found, share)
        return 0.5 * found.tanh()

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures (B, C, H, W) of latents (B, D), within (-1/2, 1/2)."""
        x = self.coarse(z)
        for size in reversed(self.config.sizes[: len(self.levels) - self.stage[0]]):  # as it will be when they are in
            x = enlarged(x, size)
        return x

    def shown(self, x: Tensor) -> Tensor:
        """Return pictures (B, C, H, W) as coarse, and as faded, as those that it makes by now."""
        finest, share = self.stage
        for _ in range(len(self.levels) - finest):
            x = halved(x)
        return x if share == 1 else faded(halved(x), x, share)

    def invert(self, x: Tensor, report: Report | None = None) -> Inversion:
        """Return latents of pictures (B, C, H, W) in (-1/2, 1/2) by search, and how far from each its picture is."""
        with torch.inference_mode(False), torch.enable_grad():
            return invert(self.inverse, x.clone(), self.config.latent, SEARCH, report)

    def latents(self, x: Tensor) -> Tensor:
        """Return latents (B, D) of pictures (B, C, H, W) in (-1/2, 1/2), by search."""
        return self.invert(x).latents


class Critic(nn.Module):
    """D: pictures of the finest size that is in to a number each, large for given ones."""

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        self.config = config
        high, wide = config.sizes[-1]
        self.pictures = nn.ModuleList(active(config.shape[0], width, 1) for width in config.channels)
        self.levels = nn.ModuleList(active(width, width, 3) for width in config.channels[1:])
        self.coarser = nn.ModuleList(active(finer, width, 3) for width, finer in pairwise(config.channels))
        self.coarsest = active(config.channels[0], config.channels[0], 3)
        features = config.channels[0] * high * wide + 1
        self.judge = nn.Sequential(active(features, JUDGE, 1), Scaled(JUDGE, 1, 1, gain=1.0))

    def forward(self, x: Tensor, stage: tuple[int, float]) -> Tensor:
        """Return D, (B,), which depends on how much features vary in the batch.

        Args:
            x: pictures of the finest size that is in.
            stage: as `Gan.stage`.
        """
        finest, share = stage
        found = self.pictures[finest](x)
        for i in reversed(range(finest)):
            found = halved(self.coarser[i](self.levels[i](found)))
            if i == finest - 1 and share < 1:
                found = torch.lerp(self.pictures[i](halved(x)), found, share)
        found = self.coarsest(found).flatten(1)
        judged: Tensor = self.judge(torch.cat([found, deviation(found)], 1)[:, :, None, None])
        return judged.flatten()


@torch.no_grad()
def grow(gan: Gan, progress: float) -> None:
    """Grow to where the share of the budget that is spent allows; never shrink, as in a run begun from a model."""
    gan.grown.clamp_(min=grown_at(progress, len(gan.levels)))


def prepare(gan: Gan, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pictures and twice as many draws z ~ N(0, I), (B, D) each."""
    drawn = torch.randn(2, len(x), gan.config.latent, generator=generator, device=x.device, dtype=torch.float32)
    return x, drawn[0], drawn[1]


def adversary_loss(critic: Critic, gan: Gan, x: Tensor, z: Tensor, again: Tensor) -> Tensor:
    """Return what the adversary makes small, (B,), of the first draws; arguments as `prepare` returns them."""
    stage = gan.stage
    with torch.no_grad():
        made = gan.coarse(z)
    shown = gan.shown(x)
    penalty = critic.config.penalty * shown.numel() / x.numel()
    return tell_apart(lambda x: critic(x, stage), shown, critic(made, stage), penalty)


def model_loss(critic: Critic, gan: Gan, x: Tensor, z: Tensor, again: Tensor) -> Tensor:
    """Return what the generator makes small, (B,), of the other draws; arguments as `prepare` returns them."""
    return F.softplus(-critic(gan.coarse(again), gan.stage))


def loss(gan: Gan, x: Tensor, z: Tensor, again: Tensor) -> Tensor:
    """Return the energy score of samples at held-out pictures, (B,): nothing that it is trained by."""
    one, other = gan.inverse(z), gan.inverse(again)
    apart = [_distance(a, b) for a, b in ((x, one), (x, other), (one, other))]
    return (apart[0] + apart[1] - apart[2]) / 2


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean((1, 2, 3)).sqrt()
