"""A flow from a file as a source: uint8 pictures in, standard-normal latents out, densities of pictures in [0, 1]^D.

log p(u) = log N(z; 0, I) + log |det dz/dx| + log |det dx/du|
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from transflow.devices import full_float32
from transflow.gaussians.gaussian import Gaussian
from transflow.pictures.pixels import PixelFormat


@dataclass(frozen=True, eq=False)
class CheckpointSource:
    """A flow of fixed weights and its pixel format, behind the contract.

    Attributes:
        flow: ``flow(x) -> (z, log_det)``, (B, C, H, W) -> (B, D), (B,), and ``flow.inverse(z) -> x``.
        shape: of a picture, (C, H, W).
        pixels: how the flow sees pixels.
        fingerprint: identity (see `store.identity`).
        level_sizes: how many of the D latents each level holds, finest first; None without levels.
        exactness: largest error of decode(encode(x)) as measured, black to white being 1; None where it was not.
        card: what is known of the model.
        lacks: what the model has not, and why.
    """

    flow: nn.Module
    shape: tuple[int, int, int]
    pixels: PixelFormat
    fingerprint: str
    level_sizes: tuple[int, ...] | None = None
    exactness: float | None = None
    card: dict[str, Any] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """D, the length of a latent."""
        return math.prod(self.shape)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._like.device

    @property
    def precision(self) -> str:
        """The dtype of weights and latents, such as "float32"."""
        return str(self._like.dtype).removeprefix("torch.")

    @property
    def prior(self) -> Gaussian:
        """N(0, I) over the D latents, exactly."""
        return Gaussian.standard(self.dim, self.device)

    def encode(self, pictures: Tensor) -> Tensor:
        """Return latents, (B, D), of uint8 pictures (B, C, H, W), at their bins' centres."""
        return self.encode_and_log_prob(pictures)[0]

    @torch.no_grad()
    def encode_and_log_prob(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `encode` gives and the log density of pictures in [0, 1]^D, (B,), double, in nats."""
        fits = isinstance(pictures, Tensor) and pictures.ndim == 4 and pictures.shape[1:] == self.shape
        if not fits or pictures.dtype != torch.uint8:
            raise ValueError(
                f"Expected pictures of shape (B, {', '.join(map(str, self.shape))}), uint8; got {_kind(pictures)}."
            )
        if not len(pictures):  # one stand-in goes through, so that the results have the right shapes
            z, log_prob = self.encode_and_log_prob(pictures.new_zeros(1, *self.shape))
            return z[:0], log_prob[:0]
        x = self.pixels.centre(pictures.to(self.device)).to(self._like)
        with full_float32(self.device):
            z, log_det = self.flow(x)
        return z, self.prior.log_prob(z) + log_det.double() + self.pixels.log_det(x)

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures, floats in [0, 1], (B, C, H, W), of latents (B, D)."""
        return self.decode_unclamped(latents).clamp(0, 1)

    @torch.no_grad()
    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Return pictures with black at 0 and white at 1; broken samples go beyond."""
        if not isinstance(latents, Tensor) or latents.ndim != 2 or latents.shape[1] != self.dim:
            raise ValueError(f"Expected latents of shape (B, {self.dim}); got {_kind(latents)}.")
        if not torch.isfinite(latents).all():
            raise ValueError("Expected finite latents; got NaN or infinity.")
        if not len(latents):
            return self.decode_unclamped(latents.new_zeros(1, self.dim))[:0]
        with full_float32(self.device):
            return self.pixels.unit_unclamped(self.flow.inverse(latents.to(self._like)))  # type: ignore[operator]

    @property
    def _like(self) -> Tensor:
        return next(chain(self.flow.parameters(), self.flow.buffers()))


def _kind(value: Any) -> str:
    return f"{tuple(value.shape)}, {str(value.dtype)[6:]}" if isinstance(value, Tensor) else type(value).__name__
