"""A flow over floats as a model of pictures: pixels in, flat standard-normal latents out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from transflow.devices import full_float32
from transflow.gaussians.gaussian import Gaussian
from transflow.generative.glow import Glow
from transflow.generative.glow_fused import fuse
from transflow.pictures.pixels import PixelFormat
from transflow.pictures.preprocess import BATCH, PictureLike, preprocess
from transflow.store import identity


@dataclass(frozen=True)
class PictureModel:
    """A trained flow and its pixel format.

    Attributes:
        flow: floats to latents and back.
        pixels: the pixel format.
        card: what is known of the model: name, data, licence, figures.
        networks: dtype of the coupling networks in use; None is the flow's own. Latents, and all else,
            are of the flow's.
    """

    flow: Glow
    pixels: PixelFormat = field(default_factory=PixelFormat)
    card: dict[str, Any] = field(default_factory=dict)
    networks: torch.dtype | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what was made of them is made again in a copy."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.flow.shape

    @property
    def bits(self) -> int:
        """Bits a pixel and channel."""
        return self.pixels.bits

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """How many of the D latents each level holds, finest first."""
        return self.flow.level_sizes

    @property
    def dim(self) -> int:
        """D, the length of a latent."""
        return sum(self.flow.level_sizes)

    @property
    def prior(self) -> Gaussian:
        """N(0, I) over the D latents, exactly."""
        return Gaussian.standard(self.dim, self._like.device)

    @property
    def precision(self) -> str:
        """The dtype that latents are as exact as, such as "float32"."""
        return str(self.networks or self._like.dtype).removeprefix("torch.")

    @cached_property
    def fingerprint(self) -> str:
        """Identity of architecture, pixel format and weights, in any precision (see `store.identity`)."""
        configuration = {"config": self.flow.config, "pixels": self.pixels}
        return identity.fingerprint("glow", configuration, self.flow.state_dict())

    @cached_property
    def former_fingerprints(self) -> tuple[str, ...]:
        """What earlier versions wrote for this model into the files that it made."""
        return (identity.fingerprint_0_1(self.flow.config, self.bits, self.flow.state_dict()),)

    def fit(self, pictures: PictureLike) -> Tensor:
        """Return pictures fitted to the model (see `images`), uint8, (B, C, H, W)."""
        channels, size, _ = self.shape
        return preprocess(pictures, channels, size)

    def quantise(self, pictures: PictureLike) -> Tensor:
        """Return pictures as the model sees them, floats in [0, 1], (B, C, H, W): what `decode` gives back."""
        return self.pixels.unit(self.pixels.centre(self.fit(pictures)))

    def encode(self, pictures: PictureLike) -> Tensor:
        """Return latents, shape (B, D), of any number of pictures, in bounded memory.

        Args:
            pictures: a uint8 tensor (B, C, H, W); a uint8 array (B, H, W) or (B, H, W, C); a list
                of PIL pictures. Other sizes and channels are fitted to the model (see `images`).
        """
        return self._encode(pictures)[0]

    def features(self, pictures: PictureLike) -> Tensor:
        """Return what the flow's finest level sees in pictures (see `Glow.features`), shape (B, F)."""
        (seen,) = self._batched(self.fit(pictures), lambda x: (self._fixed.features(self._centred(x)),))
        return seen

    def encode_and_features(self, pictures: PictureLike) -> tuple[Tensor, Tensor]:
        """Return what `encode` and `features` give, of one pass."""
        z, _, seen = self._batched(self.fit(pictures), lambda x: self._fixed.forward_and_features(self._centred(x)))
        return z, seen

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures, floats in [0, 1], shape (B, C, H, W), of latents (B, D)."""
        if not isinstance(latents, Tensor) or latents.ndim != 2 or latents.shape[1] != self.dim:
            got = tuple(latents.shape) if isinstance(latents, Tensor) else type(latents).__name__
            raise ValueError(f"Expected latents of shape (B, {self.dim}); got {got}.")
        if not torch.isfinite(latents).all():
            raise ValueError("Expected finite latents; got NaN or infinity.")
        (pictures,) = self._batched(latents, lambda z: (self.pixels.unit(self._fixed.inverse(z)),))
        return pictures

    def log_prob(self, pictures: PictureLike) -> Tensor:
        """Return the log density at the bin centres, pixels scaled to unit range, in nats, shape (B,)."""
        return self.encode_and_log_prob(pictures)[1]

    def encode_and_log_prob(self, pictures: PictureLike) -> tuple[Tensor, Tensor]:
        """Return what `encode` and `log_prob` give, of one pass."""
        latents, log_det = self._encode(pictures)
        return latents, self.prior.log_prob(latents) + log_det.double()

    def _encode(self, pictures: PictureLike) -> tuple[Tensor, Tensor]:
        z, log_det = self._batched(self.fit(pictures), lambda x: self._fixed(self._centred(x)))
        return z, log_det

    def _centred(self, pixels: Tensor) -> Tensor:
        return self.pixels.centre(pixels).to(self._like)

    @cached_property
    def _fixed(self) -> Glow:
        return fuse(self.flow, self.networks)

    @property
    def _like(self) -> Tensor:
        return next(self.flow.parameters())

    @torch.no_grad()
    def _batched(self, values: Tensor, function: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        if not len(values):  # one stand-in goes through, so that the results have the right shapes
            return tuple(part[:0] for part in self._batched(values.new_zeros(1, *values.shape[1:]), function))
        like = self._like
        with full_float32(like.device):
            done = [
                function(part.to(like.device) if part.dtype == torch.uint8 else part.to(like))
                for part in values.split(BATCH)
            ]
        return tuple(torch.cat(parts) for parts in zip(*done, strict=True))
