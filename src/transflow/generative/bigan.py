"""A bidirectional GAN: a generator and an encoder that an adversary cannot tell apart by pairs of picture and latent.

The adversary D sees pairs, (x, E(x)) of a picture and (G(z), z) of a draw z ~ N(0, I), and is trained by

    softplus(-D(x, E(x))) + softplus(D(G(z), z)) + g/2 |grad_x D(x, E(x))|^2,

generator and encoder by the same with the signs of D turned, and without the penalty. Where no D can tell the pairs
apart, E inverts G. A trained one comes near to that and no further: what E and G keep of a picture is what it shows,
not its pixels. The penalty keeps D from growing steep about pictures. D is told how much a batch varies, so a generator
that makes one picture only is found out. An encoder that gives one latent to all could run away from D for ever, by
moving it; so the numbers of a batch are standardised one by one, and in use by mean and variance of those of the
training pictures.

Reference: Donahue, Krahenbuhl and Darrell 2017, *Adversarial feature learning*, arXiv 1605.09782; Dumoulin et al. 2017,
*Adversarially learned inference*, arXiv 1606.00704. The penalty is Mescheder, Geiger and Nowozin's 2018, arXiv
1801.04406 (R1); the deviation of a batch is Karras et al.'s 2018, arXiv 1710.10196.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.codec import CodecConfig, CodecModule, Decoder, Encoder

SLOPE = 0.2  # of the adversary's LeakyReLU
JUDGE = 256  # hidden numbers of the adversary


@dataclass(frozen=True)
class BiGanConfig(CodecConfig):
    """The architecture of a bidirectional GAN, and what its adversary is held by.

    Attributes:
        penalty: g, the weight of the adversary's gradient at pictures, whose range is 1.
    """

    penalty: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"Expected a weight of the penalty of 0 or more; got {self.penalty}.")


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
        varies = [(part.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(len(x), 1) for part in both]
        found: Tensor = self.joined(torch.cat([*both, *varies], 1))
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


def prepare(bigan: BiGan, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the pictures and as many draws z ~ N(0, I), (B, D)."""
    return x, torch.randn(len(x), bigan.config.latent, generator=generator, device=x.device, dtype=torch.float32)


def adversary_loss(adversary: Adversary, bigan: BiGan, x: Tensor, z: Tensor) -> Tensor:
    """Return what the adversary makes small, of each pair of pairs, (B,); arguments as `prepare` returns them."""
    with torch.no_grad():
        encoded, made = bigan.latents(x), bigan.inverse(z)
    x = x.detach().requires_grad_()
    given = adversary(x, encoded)
    (slope,) = torch.autograd.grad(given.sum(), x, create_graph=True)
    penalty = slope.square().sum((1, 2, 3))
    return F.softplus(-given) + F.softplus(adversary(made, z)) + adversary.config.penalty / 2 * penalty


def model_loss(adversary: Adversary, bigan: BiGan, x: Tensor, z: Tensor) -> Tensor:
    """Return what generator and encoder make small, (B,); arguments as `prepare` returns them."""
    return F.softplus(adversary(x, bigan.latents(x))) + F.softplus(-adversary(bigan.inverse(z), z))


def loss(bigan: BiGan, x: Tensor, z: Tensor) -> Tensor:
    """Return how near held-out pictures come, their mean square errors, (B,): nothing that it is trained by."""
    return (bigan.inverse(bigan.latents(x)) - x).square().mean((1, 2, 3))
