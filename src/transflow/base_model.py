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

from transflow.checks import check_latents, check_pictures, for_each
from transflow.devices import OUT_OF_MEMORY
from transflow.gaussians.gaussian import Gaussian
from transflow.pictures.pixels import PixelFormat
from transflow.pictures.preprocess import PictureLike, Shape, preprocess
from transflow.plain_values import one_line, quoted
from transflow.protocols import CAPABILITIES, MUST, has
from transflow.store.files import PathLike

EIGHT_BITS = PixelFormat(bits=8, low=0.0, high=1.0, ends=True)  # of a source that does not say


@dataclass(frozen=True, eq=False)
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

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.source.shape)) if self.can("shape") else f"D = {self.dim}"
        parameters = self.card.get("parameters")
        count = [f"{parameters:,} parameters"] if isinstance(parameters, int) else []
        facts = [f"{self.name!r}", self.family, shape, *count, self.precision, str(self.device)]
        return one_line(self, *filter(None, facts))

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
        reason = f" ({why})" if (why := self.why_not(capability)) else ""
        noun = CAPABILITIES[capability].noun
        raise TypeError(f"Expected a model with {noun}, {purpose}; got {self.name} ({self.family}) without{reason}.")

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
            found, where = tuple(self.source.shape), "its shape"
        else:
            decoded = self._decoded("decode", self.prior.mean[None].float())
            found, where = tuple(decoded.shape[1:]), "one decoded latent, without the batch"
        if len(found) != 3 or min(found) < 1:
            raise ValueError(
                f"Expected {self.name} to have pictures of shape (channels, height, width); got {found} as {where}."
            )
        channels, height, width = map(int, found)
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
        sizes = tuple(self.source.level_sizes) if self.can("levels") else (self.dim,)
        if sum(sizes) != self.dim:
            raise ValueError(
                f"Expected level sizes of {self.name} that add to D = {self.dim}; got {', '.join(map(str, sizes))}."
            )
        return sizes

    @property
    def card(self) -> dict[str, Any]:
        """What is known of the model: family, data, licence, figures."""
        return dict(self.source.card) if self.can("card") else {}

    @property
    def family(self) -> str:
        """What it is, in a word: of its card, of its source, or the source's class."""
        return str(self.card.get("family", getattr(self.source, "family", type(self.source).__name__)))

    def why_not(self, capability: str) -> str:
        """Return the source's own reason why it has not a capability, in words; empty where it gives none."""
        reasons = self.source.lacks if has(self.source, "lacks") else {}
        return str(reasons.get(capability, ""))

    @property
    def exactness(self) -> float | None:
        """The largest error of decode(encode(x)) that was measured; None for a model that does not say."""
        return _number(self.source.exactness) if self.can("exactness") else None

    @property
    def temperature(self) -> float | None:
        """``|z| / sqrt(D)`` at which its pictures look best; None for a model that does not say."""
        return _number(self.source.temperature) if self.can("temperature") else None

    @property
    def level_temperatures(self) -> tuple[float, ...] | None:
        """By how much samples' deviations at each level are shortened, finest first; None where it does not say."""
        return self.source.level_temperatures if self.can("level temperatures") else None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of family, configuration and weights, or "" for a model that has none."""
        return str(self.source.fingerprint or "") if self.can("fingerprint") else ""

    def made(self, fingerprint: str) -> bool:
        """Return whether a file of this fingerprint was made with this model, by this version or an earlier one."""
        if fingerprint == self.fingerprint:
            return True
        return self.can("former fingerprints") and fingerprint in self.source.former_fingerprints

    def is_same_model(self, other: BaseModel) -> bool:
        """Return whether another model is this one: by its fingerprint, or the very source of a model without one."""
        return self.source is other.source or bool(self.fingerprint and self.fingerprint == other.fingerprint)

    def check_same_model(self, path: PathLike, header: Mapping[str, Any]) -> None:
        """Raise `ValueError` if the file of this header was made with other weights; any precision will do."""
        if not self.made(header["fingerprint"]):
            theirs, ours = (
                f"weights {quoted(f[:8])}" if f else "no fingerprint" for f in (header["fingerprint"], self.fingerprint)
            )
            made = f"{quoted(header['model'])}, {theirs}"
            raise ValueError(f"Expected the model that {path} was made with ({made}); got {self.name}, {ours}.")

    def preprocess(self, pictures: PictureLike) -> Tensor:
        """Return pixels as uint8 pictures of the model's shape (B, C, H, W) (see `pictures.preprocess`)."""
        return preprocess(pictures, self.shape)

    def quantise(self, pixels: Tensor) -> Tensor:
        """Return uint8 pictures (B, C, H, W) as the model sees them, floats in [0, 1]: what `decode` gives back."""
        return self.pixels.unit(self.pixels.centre(pixels))

    @torch.no_grad()
    def encode_pixels(self, pixels: Tensor, names: tuple[str, ...] = ()) -> Tensor:
        """Return latents (B, D) of uint8 pictures of the model's shape (B, C, H, W).

        Raises:
            ValueError: the model gave latents of another size, or NaN; the picture is named.
        """
        return self._latents(self._ask("encode", pixels), len(pixels), names)

    @torch.no_grad()
    def score_pixels(self, pixels: Tensor, names: tuple[str, ...] = ()) -> tuple[Tensor, Tensor]:
        """Return latents (B, D) and log densities (B,), nats, double, of uint8 pictures (B, C, H, W)."""
        self.require("score", "to say how likely pictures are")
        latents, log_prob = self._pair("encode_and_log_prob", pixels)
        latents = self._latents(latents, len(pixels), names)
        return latents, for_each(self.name, "log densities", log_prob, (len(pixels),), names, infinite=True).double()

    @torch.no_grad()
    def features_of(self, pixels: Tensor) -> Tensor:
        """Return features (B, F) of uint8 pictures (B, C, H, W)."""
        self.require("features", "to see pictures by its hidden activations")
        found: Tensor = self._ask("features", pixels)
        return found

    @torch.no_grad()
    def encode_and_features_of(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents (B, D) and features (B, F) of uint8 pictures (B, C, H, W), of one pass where there is one."""
        if self.can("features in one pass"):
            latents, found = self._pair("encode_and_features", pixels)
            return self._latents(latents, len(pixels), ()), found
        return self.encode_pixels(pixels), self.features_of(pixels)

    @torch.no_grad()
    def variance_of(self, pixels: Tensor) -> Tensor:
        """Return the model's own variance (B, D) of the latents of uint8 pictures (B, C, H, W)."""
        self.require("variance", "to say how sure it is of a latent")
        variance = self._ask("encode_variance", pixels)
        return for_each(self.name, "variances of latents", variance, (len(pixels), self.dim), ())

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures, floats in [0, 1], shape (B, C, H, W), of latents (B, D).

        Raises:
            ValueError: the latents are of another size or not finite, or the model made of them what are no pictures of
                its shape, or NaN.
        """
        return check_pictures(self.name, self._decoded("decode", latents), self.shape, latents)

    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Return what `decode` returns, not cut to [0, 1] where the model can show more."""
        if not self.can("unclamped"):
            return self.decode(latents)
        return check_pictures(self.name, self._decoded("decode_unclamped", latents), self.shape, latents)

    def _decoded(self, member: str, latents: Tensor) -> Tensor:
        """What the source decodes, one picture a latent; with gradients only for latents that have them."""
        check_latents(latents, self.dim)
        with torch.set_grad_enabled(torch.is_grad_enabled() and latents.requires_grad):
            found = self._ask(member, latents)
        if not isinstance(found, Tensor) or not found.is_floating_point() or found.shape[:1] != latents.shape[:1]:
            got = f"{found.dtype} of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            expected = f"{len(latents)} latents to as many pictures of floats"
            raise ValueError(f"Expected {self.name} to decode {expected}; got {got}.")
        return found

    def _ask(self, member: str, values: Tensor) -> Any:
        """What a member of the source returns; an exception inside of it becomes one line that names it."""
        try:
            return getattr(self.source, member)(values)
        except (ValueError, TypeError, OSError, ImportError, MemoryError):
            raise
        except Exception as error:
            words = " ".join(str(error).split())[:200]
            if any(part in words for part in OUT_OF_MEMORY):
                raise
            raise ValueError(
                f"Expected {self.name} to {member.replace('_', ' ')} {tuple(values.shape)}, {str(values.dtype)[6:]}; "
                f"got {type(error).__name__} from it: {words}."
            ) from error

    def _pair(self, member: str, pixels: Tensor) -> tuple[Any, Any]:
        found = self._ask(member, pixels)
        if not isinstance(found, tuple) or len(found) != 2:
            raise ValueError(f"Expected {member} of {self.name} to give two tensors; got {type(found).__name__}.")
        return found

    def _latents(self, latents: Any, count: int, names: tuple[str, ...]) -> Tensor:
        return for_each(self.name, "latents", latents, (count, self.dim), names)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
