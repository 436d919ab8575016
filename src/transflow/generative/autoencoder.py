"""A plain autoencoder: a picture's code is trained by one thing alone, that the picture comes back.

    E |dec(enc(x)) - x|^2 / P,   P numbers of a picture

Nothing says how codes are distributed, so a Gaussian is fitted to them afterwards (see `standardised`); between the
codes of pictures there may be holes, and samples are the less like pictures the larger the latent is.

Reference: Hinton and Salakhutdinov 2006, *Reducing the dimensionality of data with neural networks*, Science 313.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from transflow.generative.codec import CodecConfig
from transflow.generative.standardised import StandardisedAutoencoder


@dataclass(frozen=True)
class AutoencoderConfig(CodecConfig):
    """The architecture of a plain autoencoder; fields are those of `codec.CodecConfig`."""


class Autoencoder(StandardisedAutoencoder):
    """A plain autoencoder.

    >>> import torch
    >>> model = Autoencoder(AutoencoderConfig((1, 9, 12), latent=2, widths=(8, 8)))
    >>> z = model.latents(torch.zeros(3, 1, 9, 12))
    >>> z.shape, model.inverse(z).shape
    (torch.Size([3, 2]), torch.Size([3, 1, 9, 12]))
    """


def loss(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    """Return the mean square error of each picture, (B,), the range of a pixel being 1.

    Args:
        autoencoder: what is trained.
        x: pictures in (-1/2, 1/2), (B, C, H, W).
    """
    return (autoencoder.decoder(autoencoder.encoder(x)) - x).square().mean((1, 2, 3))
