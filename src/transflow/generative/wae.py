"""A Wasserstein autoencoder: pictures come back, and their codes, taken together, are like draws of N(0, I).

    E |dec(enc(x)) - x|^2 / P  +  w MMD^2(enc(x), N(0, I)),
    MMD^2 = mean_{i != j} k(e_i, e_j)  +  mean_{i != j} k(p_i, p_j)  -  2 mean_{i, j} k(e_i, p_j),   p ~ N(0, I),

the unbiased estimate of the maximum mean discrepancy, zero on average where both are distributed alike. The kernel is
the inverse multiquadric at seven scales,

    k(a, b) = sum_s 2 D s / (2 D s + |a - b|^2),   s = 0.1, 0.2, 0.5, 1, 2, 5, 10,

whose tails are heavy enough to pull back codes far away. What is left of a mean and a covariance at the end of training
is taken out by a Gaussian (see `standardised`).

Reference: Tolstikhin et al. 2018, *Wasserstein auto-encoders*, arXiv 1711.01558 (WAE-MMD, its kernel and its scales).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.generative.codec import CodecConfig
from transflow.generative.standardised import StandardisedAutoencoder

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class WaeConfig(CodecConfig):
    """The architecture of a Wasserstein autoencoder, and what its codes are held by.

    Attributes:
        matching: w, the weight of MMD^2 beside the mean square error of pixels, whose range is 1.
    """

    matching: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.matching < math.inf:
            raise ValueError(f"Expected a weight of matching above 0; got {self.matching}.")


class Wae(StandardisedAutoencoder):
    """A Wasserstein autoencoder.

    >>> model = Wae(WaeConfig((1, 8, 8), latent=2, widths=(8, 8)))
    >>> z = model.latents(torch.zeros(3, 1, 8, 8))
    >>> z.shape, model.inverse(z).shape
    (torch.Size([3, 2]), torch.Size([3, 1, 8, 8]))
    """

    config: WaeConfig


def loss(wae: Wae, x: Tensor, drawn: Tensor) -> Tensor:
    """Return each picture's error and part of the discrepancy, (B,); arguments as `codec.prepare` returns them."""
    codes = wae.encoder(x)
    error = (wae.decoder(codes) - x).square().mean((1, 2, 3))
    return error + wae.config.matching * discrepancy(codes, drawn.to(codes))


def discrepancy(codes: Tensor, drawn: Tensor) -> Tensor:
    """Return n numbers whose mean is MMD^2 of two sets of as many points, (n, D) each; zeros of one point."""
    count = len(codes)
    if count < 2:
        return codes.new_zeros(count) * codes.sum(1)
    own = sum((k.sum(1) - k.diagonal()) / (count - 1) for k in (kernel(codes, codes), kernel(drawn, drawn)))
    return own - 2 * kernel(codes, drawn).mean(1)


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return the inverse multiquadric of each pair, (n, m), of points (n, D) and (m, D)."""
    squares = (
        (a[:, None] - b).square().sum(2)
    )  # no product of matrices, which would be one of half precision in training
    scales = [2 * a.shape[1] * scale for scale in SCALES]
    return torch.stack([scale / (scale + squares) for scale in scales]).sum(0)
