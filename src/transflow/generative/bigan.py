"""A bidirectional GAN: a generator and an encoder that an adversary cannot tell apart by pairs of picture and latent.

The adversary D sees pairs, (x, E(x)) of a picture and (G(z), z) of a draw z ~ N(0, I), and is trained by

    softplus(-D(x, E(x))) + softplus(D(G(z), z)) + g/2 |grad_x D(x, E(x))|^2,

generator and encoder by the same with the signs of D turned, and without the penalty. Where no D can tell the pairs
apart, E inverts G. A trained one comes near to that and no further: what E and G keep of a picture is what it shows,
not its pixels. The penalty, and how D sees what a batch varies, are those of `adversary`. An encoder that gives one
latent to all could run away from D for ever, by moving it; so the numbers of a batch are standardised one by one, and
in use by mean and variance of those of the training pictures.

Reference: Donahue, Krahenbuhl and Darrell 2017, *Adversarial feature learning*, arXiv 1605.09782; Dumoulin et al. 2017,
*Adversarially learned inference*, arXiv 1606.00704.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.adversary import JUDGE, SLOPE, AdversaryConfig, deviation, tell_apart
from transflow.generative.codec import CodecModule, Decoder, Encoder


@dataclass(frozen=True)
class BiGanConfig(AdversaryConfig):
    """The architecture of a bidirectional GAN, and what its adversary is held by."""


class BiGan(CodecModule):
    """Generator and encoder; the adversary is no part of the model.

    >>> model = BiGan(BiGanConfig((1, 8, 8), latent=2, widths=(8, 8)))
    >>> z = model.latents(torch.zeros(3, 1, 8, 8))
    >>> z.shape, model.inverse(z).shape
    (torch.Size([3, 2]), torch.Size([3, 1, 8, 8]))
    """

    def __init__(self, config: BiGanConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, config.latent)
        self.standard = nn.BatchNorm1d(config.latent, affine=False)
        self.generator = Decoder(config)

    def latents(self, x: Tensor) -> Tensor:
        """Return latents (B, D) of pictures (B, C, H, W) in (-1/2, 1/2); in training, of variance 1 over the batch."""
        found: Tensor = self.standard(self.encoder(x))
        return found

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures (B, C, H, W) of latents (B, D), within (-1/2, 1/2)."""
        return 0.5 * self.generator(z).tanh()


class Adversary(nn.Module):
    """D: pairs of pictures (B, C, H, W) and latents (B, D) to a number each, large for those of a given picture."""

    def __init__(self, config: BiGanConfig) -> None:
        super().__init__()
        self.config = config
        widths = pairwise((config.shape[0], *config.widths))
        self.levels = nn.Sequential(*(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.LeakyReLU(SLOPE)) for a, b in widths))
        high, wide = config.sizes[-1]
        self.picture = nn.Linear(config.widths[-1] * high * wide, JUDGE)
        self.latent = nn.Linear(config.latent, JUDGE)
        self.joined = nn.Sequential(nn.Linear(2 * JUDGE + 2, JUDGE), nn.LeakyReLU(SLOPE), nn.Linear(JUDGE, 1))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return D, (B,), which depends on how much features of pictures and of latents vary in the batch."""
        both = [F.leaky_relu(part, SLOPE) for part in (self.picture(self.levels(x).flatten(1)), self.latent(z))]
        found: Tensor = self.joined(torch.cat([*both, *map(deviation, both)], 1))
        return found.squeeze(1)


@torch.no_grad()
def fit(bigan: BiGan, batches: Iterable[Tensor]) -> None:
    """Measure mean and variance of the encoder's numbers, of training pictures given as batches (B, C, H, W)."""
    found = torch.cat([bigan.encoder(x) for x in batches]).double()
    mean, variance = bigan.standard.running_mean, bigan.standard.running_var
    assert mean is not None
    assert variance is not None
    mean.copy_(found.mean(0))
    variance.copy_(found.var(0, unbiased=False))


def adversary_loss(adversary: Adversary, bigan: BiGan, x: Tensor, z: Tensor) -> Tensor:
    """Return what the adversary makes small, of each pair of pairs, (B,); arguments as `codec.prepare` returns them."""
    with torch.no_grad():
        encoded, made = bigan.latents(x), bigan.inverse(z)
    return tell_apart(lambda x: adversary(x, encoded), x, adversary(made, z), adversary.config.penalty)


def model_loss(adversary: Adversary, bigan: BiGan, x: Tensor, z: Tensor) -> Tensor:
    """Return what generator and encoder make small, (B,); arguments as `codec.prepare` returns them."""
    return F.softplus(adversary(x, bigan.latents(x))) + F.softplus(-adversary(bigan.inverse(z), z))


def loss(bigan: BiGan, x: Tensor, z: Tensor) -> Tensor:
    """Return how near held-out pictures come, their mean square errors, (B,): nothing that it is trained by."""
    return (bigan.inverse(bigan.latents(x)) - x).square().mean((1, 2, 3))
