"""A model, whatever its source: one place that asks a source what it has, and checks what it gives.

Everything that conditions, streams, classifies or draws holds a `BaseModel` and calls its `can` and `require`; what a
source must have and may have is written in `protocols`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transflow.gaussians.gaussian import Gaussian
from transflow.pictures.pixels import PixelFormat
from transflow.pictures.preprocess import PictureLike, Shape, preprocess
from transflow.protocols import CAPABILITIES, MUST, has
from transflow.store.files import PathLike

EIGHT_BITS = PixelFormat(bits=8, low=0.0, high=1.0, ends=True)  # of a source that does not say


@dataclass(frozen=True)
class BaseModel:
    """Any source behind the contract, asked in one place what it has.

    Attributes:
        source: what does the work: any object with ``encode``, ``decode`` and ``prior``.
        name: what it is called; a posterior's file keeps it.
        file: where it was loaded from, None for a model made in memory.
    """

    source: Any
    name: str = "model"
    file: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        missing = [name for name in MUST if not has(self.source, name)]
        if missing:
            raise TypeError(
                f"Expected a model with encode, decode and prior; got {type(self.source).__name__} without "
                f"{', '.join(missing)}. transflow.wrap makes one of a flow, two functions, a velocity or a generator."
            )
        if not isinstance(self.prior, Gaussian):
            raise TypeError(
                f"Expected a model whose prior is a transflow.Gaussian over its latents; got "
                f"{type(self.prior).__name__}. transflow.wrap makes a Gaussian base standard normal."
            )

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what was computed from them is computed again in a copy."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def can(self, capability: str) -> bool:
        """Return whether the source has a capability, such as "score" or "features" (see `CAPABILITIES`).

        >>> class Doubling:
        ...     prior = Gaussian.standard(4)
        ...     encode = decode = staticmethod(lambda x: x)
        >>> BaseModel(Doubling()).can("score")
        False
        """
        return all(has(self.source, member) for member in CAPABILITIES[capability].members)

    def require(self, capability: str, purpose: str) -> None:
        """Raise `TypeError` if the source has not a capability.

        Args:
            capability: one of `CAPABILITIES`.
            purpose: what it is for, as it reads after "a model with a density": "to score pictures".
        """
        if self.can(capability):
            return
        reasons = getattr(self.source, "lacks", None) or {}
        reason = f" ({reasons[capability]})" if capability in reasons else ""
        family = self.card.get("family", type(self.source).__name__)
        noun = CAPABILITIES[capability].noun
        raise TypeError(f"Expected a model with {noun}, {purpose}; got {self.name} ({family}) without{reason}.")

    @cached_property
    def prior(self) -> Gaussian:
        """The distribution of the latents; N(0, I) for a flow."""
        return self.source.prior

    @property
    def dim(self) -> int:
        """D, the length of a latent."""
        return self.prior.dim

    @cached_property
    def shape(self) -> Shape:
        """Channels, height and width of a picture."""
        if self.can("shape"):
            channels, height, width = map(int, self.source.shape)
        else:
            _, channels, height, width = self.source.decode(self.prior.mean[None].float()).shape
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Where it computes, and where its latents are."""
        return torch.device(self.source.device) if self.can("device") else self.prior.mean.device

    @property
    def precision(self) -> str:
        """The dtype of its arithmetic, such as "float32", or "" for a model that does not say."""
        return str(self.source.precision) if self.can("precision") else ""

    @property
    def pixels(self) -> PixelFormat:
        """How it sees pixels."""
        return self.source.pixels if self.can("pixels") else EIGHT_BITS

    @property
    def bits(self) -> int:
        """Bits a pixel and channel."""
        return self.pixels.bits

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """How many of the D latents each level holds, finest first; D alone for a model without levels."""
        return tuple(self.source.level_sizes) if self.can("levels") else (self.dim,)

    @property
    def card(self) -> dict[str, Any]:
        """What is known of the model: family, data, licence, figures."""
        return dict(self.source.card) if self.can("card") else {}

    @property
    def exactness(self) -> float | None:
        """The largest error of decode(encode(x)) that was measured; None for a model that does not say."""
        return _number(self.source.exactness) if self.can("exactness") else None

    @property
    def temperature(self) -> float | None:
        """``|z| / sqrt(D)`` at which its pictures look best; None for a model that does not say."""
        return _number(self.source.temperature) if self.can("temperature") else None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of family, configuration and weights, or "" for a model that has none."""
        return str(self.source.fingerprint or "") if self.can("fingerprint") else ""

    def made(self, fingerprint: str) -> bool:
        """Return whether a file of this fingerprint was made with this model, by this version or an earlier one."""
        if fingerprint == self.fingerprint:
            return True
        return self.can("former fingerprints") and fingerprint in self.source.former_fingerprints

    def check_same_model(self, path: PathLike, header: Mapping[str, Any]) -> None:
        """Raise `ValueError` if the file of this header was made with other weights; any precision will do."""
        if not self.made(header["fingerprint"]):
            theirs, ours = (
                f"weights {f[:8]}" if f else "no fingerprint" for f in (header["fingerprint"], self.fingerprint)
            )
            raise ValueError(
                f"Expected the model that {path} was made with ({header['model']}, {theirs}); got {self.name}, {ours}."
            )

    def preprocess(self, pictures: PictureLike) -> Tensor:
        """Return pixels as uint8 pictures of the model's shape (B, C, H, W) (see `pictures.preprocess`)."""
        return preprocess(pictures, self.shape)

    def quantise(self, pixels: Tensor) -> Tensor:
        """Return uint8 pictures (B, C, H, W) as the model sees them, floats in [0, 1]: what `decode` gives back."""
        return self.pixels.unit(self.pixels.centre(pixels))

    def encode_pixels(self, pixels: Tensor, names: tuple[str, ...] = ()) -> Tensor:
        """Return latents (B, D) of uint8 pictures of the model's shape (B, C, H, W).

        Raises:
            ValueError: the model gave latents of another size, or NaN; the picture is named.
        """
        return self._latents(self.source.encode(pixels), len(pixels), names)

    def score_pixels(self, pixels: Tensor, names: tuple[str, ...] = ()) -> tuple[Tensor, Tensor]:
        """Return latents (B, D) and log densities (B,), nats, double, of uint8 pictures (B, C, H, W)."""
        self.require("score", "to say how likely pictures are")
        latents, log_prob = self.source.encode_and_log_prob(pixels)
        return self._latents(latents, len(pixels), names), log_prob.double()

    def features_of(self, pixels: Tensor) -> Tensor:
        """Return features (B, F) of uint8 pictures (B, C, H, W)."""
        self.require("features", "to see pictures by its hidden activations")
        return self.source.features(pixels)

    def encode_and_features_of(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents (B, D) and features (B, F) of uint8 pictures (B, C, H, W), of one pass where there is one."""
        if self.can("features in one pass"):
            latents, found = self.source.encode_and_features(pixels)
            return self._latents(latents, len(pixels), ()), found
        return self.encode_pixels(pixels), self.features_of(pixels)

    def variance_of(self, pixels: Tensor) -> Tensor:
        """Return the model's own variance (B, D) of the latents of uint8 pictures (B, C, H, W)."""
        self.require("variance", "to say how sure it is of a latent")
        return self.source.encode_variance(pixels)

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures, floats in [0, 1], shape (B, C, H, W), of latents (B, D).

        Raises:
            ValueError: the latents are of another size or not finite, or the model made NaN of them.
        """
        return self._pictures(self.source.decode(self._checked(latents)))

    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Return what `decode` returns, not cut to [0, 1] where the model can show more."""
        if not self.can("unclamped"):
            return self.decode(latents)
        return self._pictures(self.source.decode_unclamped(self._checked(latents)))

    def _checked(self, latents: Tensor) -> Tensor:
        if not isinstance(latents, Tensor) or latents.ndim != 2 or latents.shape[1] != self.dim:
            got = tuple(latents.shape) if isinstance(latents, Tensor) else type(latents).__name__
            raise ValueError(f"Expected latents of shape (B, {self.dim}); got {got}.")
        if not torch.isfinite(latents).all():
            raise ValueError("Expected finite latents; got NaN or infinity.")
        return latents

    def _latents(self, latents: Any, count: int, names: tuple[str, ...]) -> Tensor:
        if not isinstance(latents, Tensor) or tuple(latents.shape) != (count, self.dim):
            got = tuple(latents.shape) if isinstance(latents, Tensor) else type(latents).__name__
            raise ValueError(f"Expected {self.name} to encode to latents of shape ({count}, {self.dim}); got {got}.")
        if not torch.isfinite(latents).all():
            first = int((~torch.isfinite(latents)).any(1).nonzero()[0])
            which = names[first] if names else f"picture {first + 1} of {count}"
            raise ValueError(f"Expected finite latents from {self.name}; got NaN or infinity for {which}.")
        return latents

    def _pictures(self, pictures: Tensor) -> Tensor:
        if not torch.isfinite(pictures).all():
            first = int((~torch.isfinite(pictures)).flatten(1).any(1).nonzero()[0])
            raise ValueError(
                f"Expected finite pictures from {self.name}; got NaN or infinity in {first + 1} of {len(pictures)}."
            )
        return pictures


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
