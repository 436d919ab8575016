"""A flow over floats, of any family, as a model of pictures: pixels in, flat standard-normal latents out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor

from transflow.devices import full_float32
from transflow.gaussians.gaussian import Gaussian
from transflow.generative.families import FAMILIES, name_of
from transflow.generative.latent_search import Inversion, Report, targets
from transflow.pictures.pixels import PixelFormat
from transflow.pictures.preprocess import BATCH
from transflow.plain_values import one_line
from transflow.protocols import has
from transflow.store import identity


@dataclass(frozen=True, eq=False)
class PictureModel:
    """A trained flow and its pixel format.

    Attributes:
        flow: floats to latents and back; a module of a family (see `families`).
        pixels: the pixel format.
        card: what is known of the model: name, data, licence, figures.
        networks: dtype of the coupling networks in use; None is the flow's own. Latents, and all else,
            are of the flow's.
    """

    flow: Any
    pixels: PixelFormat = field(default_factory=PixelFormat)
    card: dict[str, Any] = field(default_factory=dict)
    networks: torch.dtype | None = None

    def __post_init__(self) -> None:
        if not has(self.flow, "features"):  # a capability that the family has not
            self.__dict__.update(features=None, encode_and_features=None)
        if not FAMILIES[self.family].density:
            self.__dict__.update(encode_and_log_prob=None)
        if not has(self.flow, "variance"):
            self.__dict__.update(encode_variance=None)
        if FAMILIES[self.family].encoder:
            self.__dict__.update(invert=None)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return one_line(self, self.family, shape, f"{self.bits} bits", self.precision, str(self.device))

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what was made of them is made again in a copy."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the fields of a copy."""
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def family(self) -> str:
        """The architecture's name, as model files have it."""
        return name_of(self.flow.config)

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
        return Gaussian.standard(self.dim, self.device)

    @property
    def device(self) -> torch.device:
        """Where it computes, and where its latents are."""
        return self._like.device

    @property
    def precision(self) -> str:
        """The dtype that latents are as exact as, such as "float32"."""
        return str(self.networks or self._like.dtype).removeprefix("torch.")

    @property
    def exactness(self) -> float | None:
        """The largest error of a round trip when it was trained; None where the card does not have it."""
        return self.card.get("round_trip")

    @property
    def temperature(self) -> float | None:
        """Length of latents, over sqrt(D), at which its pictures look best; None where the card does not have it."""
        return self.card.get("temperature")

    @property
    def level_temperatures(self) -> tuple[float, ...] | None:
        """By how much samples are shortened at each level, finest first; None where the card does not have it."""
        found = self.card.get("level_temperatures")
        return None if found is None else tuple(found)

    @property
    def lacks(self) -> dict[str, str]:
        """Why it has not some capability, in words."""
        if FAMILIES[self.family].density:
            return {}
        small = f"{self.dim} numbers stand for a picture of {prod(self.shape)}"
        return {"score": small, "exactness": f"{small}, and how near they come was not measured"}

    @cached_property
    def fingerprint(self) -> str:
        """Identity of architecture, pixel format and weights, in any precision (see `store.identity`)."""
        configuration = {"config": self.flow.config, "pixels": self.pixels}
        return identity.fingerprint(self.family, configuration, self.flow.state_dict())

    @cached_property
    def former_fingerprints(self) -> tuple[str, ...]:
        """What earlier versions wrote for this model into the files that it made."""
        if self.family != "glow":
            return ()
        return (identity.fingerprint_0_1(self.flow.config, self.bits, self.flow.state_dict()),)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents (B, D) and log-determinants (B,), nats, of the flow's floats, with gradients."""
        z, log_det = self.flow(x.to(self._like))
        return z, log_det

    def encode(self, pictures: Tensor) -> Tensor:
        """Return latents, shape (B, D), of uint8 pictures (B, C, H, W), any number in bounded memory."""
        if not has(self.flow, "latents"):
            return self._encode(pictures)[0]
        (z,) = self._batched(pictures, lambda pixels: (self._fused.latents(self._centred(pixels)),))
        return z

    def invert(self, pictures: Tensor, report: Report | None = None) -> Inversion:
        """Return what `encode` does, and how far from each its latent's picture is, of a family without an encoder.

        Args:
            pictures: (B, C, H, W), uint8, or floats in units in which black is 0 and white 1.
            report: called with how many pictures are done, and of how many.

        Raises:
            ValueError: other pictures.
        """
        x = self.pixels.floats(targets(pictures, self.pixels, self.shape).to(self._like))
        with full_float32(self.device):
            found: Inversion = self.flow.invert(x, report)
        return found

    def encode_variance(self, pictures: Tensor) -> Tensor:
        """Return how unsure the encoder is, variances (B, D) of the latents of uint8 pictures (B, C, H, W)."""
        (found,) = self._batched(pictures, lambda x: (self._fused.variance(self._centred(x)),))
        return found

    def features(self, pictures: Tensor) -> Tensor:
        """Return what the flow's finest level sees in pictures (see `Glow.features`), shape (B, F)."""
        (found,) = self._batched(pictures, lambda x: (self._fused.features(self._centred(x)),))
        return found

    def encode_and_features(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `encode` and `features` give, of one pass."""
        z, _, found = self._batched(pictures, lambda x: self._fused.forward_and_features(self._centred(x)))
        return z, found

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures, floats in [0, 1], shape (B, C, H, W), of latents (B, D)."""
        return self.decode_unclamped(latents).clamp(0, 1)

    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Return what `decode` returns, not cut to [0, 1]: a broken sample goes beyond.

        For latents with gradients through the flow itself, in its own precision: the fused form has none.
        """
        if torch.is_grad_enabled() and latents.requires_grad:
            with full_float32(self.device):
                return self.pixels.unit_unclamped(self.flow.inverse(latents.to(self._like)))
        (pictures,) = self._batched(latents, lambda z: (self.pixels.unit_unclamped(self._fused.inverse(z)),))
        return pictures

    def encode_and_log_prob(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents (B, D) and log densities at the bin centres (B,), nats, of one pass."""
        latents, log_det = self._encode(pictures)
        return latents, self.prior.log_prob(latents) + log_det.double()

    def _encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        def forward(pixels: Tensor) -> tuple[Tensor, Tensor]:
            x = self._centred(pixels)
            scale = self.pixels.log_det(x).to(x)
            z, log_det = self._fused(x)
            return z, log_det + scale

        z, log_det = self._batched(pictures, forward)
        return z, log_det

    def _centred(self, pixels: Tensor) -> Tensor:
        return self.pixels.centre(pixels).to(self._like)

    @cached_property
    def _fused(self) -> Any:
        fuse = FAMILIES[self.family].fuse
        return self.flow if fuse is None else fuse(self.flow, self.networks)

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
