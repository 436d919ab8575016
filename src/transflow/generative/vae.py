"""A variational autoencoder: an encoder that says how sure it is, trained by a bound on the likelihood.

With q(z | x) = N(mu(x), diag sigma^2(x)) and p(x | z) = N(dec(z), s^2 I), whose s is learned,

    -log p(x)  <=  KL(q(z | x) || N(0, I))  -  E_q log p(x | z),
    KL = 1/2 sum_d (mu_d^2 + sigma_d^2 - 1 - log sigma_d^2),

by one draw ``z = mu + sigma eps``, and divided by the P numbers of a picture. The latent of a picture is mu(x), its
variance sigma^2(x); latents of N(0, I) decode to samples. The means of pictures vary less than N(0, I), by the
variances.

Reference: Kingma and Welling 2014, *Auto-encoding variational Bayes*, arXiv 1312.6114; the learned s is Rybkin,
Daniilidis and Levine's 2021, *Simple and effective VAE training with calibrated decoders*, arXiv 2006.13202.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transflow.generative.codec import CodecConfig, CodecModule, Decoder, Encoder

LOG_VARIANCES = (-14.0, 6.0)  # least and most of sigma^2, in logarithms
LEAST, FIRST = 1 / 255, 0.25  # of s: the least, and that which training begins with; a picture's range is 1


@dataclass(frozen=True)
class VaeConfig(CodecConfig):
    """The architecture of a variational autoencoder; fields are those of `codec.CodecConfig`."""


class Vae(CodecModule):
    """A variational autoencoder: pictures of floats (B, C, H, W) to the means of latents (B, D).

    >>> model = Vae(VaeConfig((1, 8, 8), latent=2, widths=(8, 8)))
    >>> z = model.latents(torch.zeros(3, 1, 8, 8))
    >>> z.shape, model.inverse(z).shape, bool((model.variance(torch.zeros(3, 1, 8, 8)) > 0).all())
    (torch.Size([3, 2]), torch.Size([3, 1, 8, 8]), True)
    """

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, 2 * config.latent)
        self.decoder = Decoder(config)
        self.log_noise = nn.Parameter(torch.tensor(math.log(FIRST)))  # log (s - least)

    @property
    def noise(self) -> Tensor:
        """s; smooth down to its least, so that there is always a way back."""
        return LEAST + self.log_noise.exp()

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2, each (B, D), of pictures (B, C, H, W) in (-1/2, 1/2)."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCES)

    def latents(self, x: Tensor) -> Tensor:
        """Return mu, (B, D), of pictures (B, C, H, W)."""
        return self.moments(x)[0].contiguous()

    def variance(self, x: Tensor) -> Tensor:
        """Return sigma^2, (B, D), of pictures (B, C, H, W)."""
        return self.moments(x)[1].exp()

    def inverse(self, z: Tensor) -> Tensor:
        """Return the means of pictures, (B, C, H, W), of latents (B, D)."""
        return self.decoder(z)


def loss(vae: Vae, x: Tensor, eps: Tensor) -> Tensor:
    """Return each picture's bound on ``-log p(x) / P``, (B,), in nats; arguments as `codec.prepare` returns them."""
    mean, log_variance = vae.moments(x)
    decoded = vae.decoder(mean + (0.5 * log_variance).exp() * eps)
    noise = vae.noise
    error = (decoded - x).square().mean((1, 2, 3)) / (2 * noise.square()) + noise.log() + 0.5 * math.log(2 * math.pi)
    return error + divergence(mean, log_variance) / math.prod(vae.shape)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return ``KL(N(mean, diag exp(log_variance)) || N(0, I))``, (B,), in nats, of (B, D) each."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
