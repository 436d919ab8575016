"""An encoder and a decoder between which a Gaussian stands, so that the latents of training pictures are N(0, I).

The codes e = enc(x) of an autoencoder have no prior of their own. Those of the training pictures have a mean m and a
covariance Sigma, measured when training ends and kept with the weights, and the latent is

    z = Sigma^(-1/2) (e - m),    x = dec(m + Sigma^(1/2) z),

with the symmetric root, which turns no axis further than it must. So the first two moments are those of N(0, I) exactly
on the pictures that it was fitted to; the shape of their distribution is what training made it. A direction that no
picture uses keeps a millionth of the largest variance.

Reference: Ghosh et al. 2020, *From variational to deterministic autoencoders*, arXiv 1903.12436, who fit a density to
the codes likewise.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from transflow.generative.codec import CodecConfig, CodecModule, Decoder, Encoder

UNUSED = 1e-6  # the least variance of a direction, relative to the largest


class Standardised(nn.Module):
    """The Gaussian of codes, N(m, Sigma), as a map from codes to latents and back.

    >>> gaussian = Standardised(2)
    >>> gaussian.fit(torch.tensor([[0.0, 1.0], [4.0, 1.5], [2.0, 5.0]]))
    >>> torch.cov(gaussian(torch.tensor([[0.0, 1.0], [4.0, 1.5], [2.0, 5.0]])).T).round(decimals=4).abs()
    tensor([[1., 0.],
            [0., 1.]])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("root", torch.eye(dim))  # Sigma^(1/2)
        self.mean: Tensor
        self.root: Tensor

    @torch.no_grad()
    def fit(self, codes: Tensor) -> None:
        """Take the mean and the covariance of codes (n, D), n of 2 or more; of fewer, the mean alone.

        Codes that are not finite, of a run that has diverged, change nothing.
        """
        if not codes.isfinite().all():
            return
        exact = codes.double()
        self.mean.copy_(exact.mean(0))
        if len(codes) < 2:
            return
        values, directions = torch.linalg.eigh(torch.cov(exact.T))
        if not values[-1] > 0:
            return
        deviations = values.clamp(min=UNUSED * values[-1].item()).sqrt()
        self.root.copy_((directions * deviations) @ directions.T)

    def forward(self, codes: Tensor) -> Tensor:
        """Return latents (B, D) of codes (B, D)."""
        return torch.linalg.solve(self.root, (codes - self.mean).T).T.contiguous()  # the root is symmetric

    def inverse(self, z: Tensor) -> Tensor:
        """Return codes (B, D) of latents (B, D)."""
        return self.mean + z @ self.root


class StandardisedAutoencoder(CodecModule):
    """Encoder and decoder with the Gaussian of codes between them; a family of it adds a loss."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, config.latent)
        self.decoder = Decoder(config)
        self.codes = Standardised(config.latent)

    def latents(self, x: Tensor) -> Tensor:
        """Return latents (B, D) of pictures (B, C, H, W) in (-1/2, 1/2)."""
        return self.codes(self.encoder(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures (B, C, H, W) of latents (B, D)."""
        return self.decoder(self.codes.inverse(z))


def fit(autoencoder: StandardisedAutoencoder, batches: Iterable[Tensor]) -> None:
    """Measure the Gaussian of the codes of training pictures, given as batches (B, C, H, W)."""
    autoencoder.codes.fit(torch.cat([autoencoder.encoder(x) for x in batches]))
