"""The contract: what a generative model must have to be repurposed, and what it may have.

Bringing your own model
-----------------------
1. Write an object with `encode`, `decode` and `prior` (`Invertible`): uint8 pictures to flat latents (B, D), latents
   to pictures in [0, 1], and the `Gaussian` that the latents have under the model. Pictures come as uint8 tensors of
   the model's own shape: reading, cropping and resizing is done for you.
2. Make the latent complete and standard: keep *all* D numbers, flatten lists of levels, divide by what a learned base
   multiplies with, so that the prior is N(0, I). Draw nothing at random, keep no state between calls, and give each
   picture the latent that it has alone (batch normalisation in training mode does not).
3. Add what the model can do beside: the small protocols below, one a capability. A member that is left out, or None,
   is a capability that the model has not; `lacks` may say why, in words that the error then shows.
4. Wrap it: ``transflow.Model(source)``, or let `transflow.wrap` do all of this for a flow of another library, two
   functions, a velocity network, a diffusers pipeline, an autoencoder or a generator.
5. Run ``transflow check -m my_module:my_model pictures/``: it measures the round trip, the latents and the density.

`base_model.BaseModel` is the one place that asks a source what it has: everybody else calls `can` and `require`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from transflow.gaussians.gaussian import Gaussian
from transflow.pictures.pixels import PixelFormat
from transflow.pictures.preprocess import Shape

MUST = ("encode", "decode", "prior")


class Invertible(Protocol):
    """What a model must have: pictures to flat latents and back, and a prior over them."""

    @property
    def prior(self) -> Gaussian:
        """The distribution of latents, over D numbers; N(0, I) for most."""

    def encode(self, pictures: Tensor) -> Tensor:
        """Return latents, floats (B, D), of uint8 pictures (B, C, H, W)."""

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures, floats in [0, 1], (B, C, H, W), of latents (B, D) of any floats; samples are float32."""


class HasShape(Protocol):
    """Says its pictures' shape; without it, the shape is that of the decoded mean of the prior."""

    @property
    def shape(self) -> Shape:
        """Channels, height and width, in pixels."""


class HasDensity(Protocol):
    """Says how likely pictures are."""

    def encode_and_log_prob(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents (B, D) and log densities (B,), nats, of uint8 pictures (B, C, H, W).

        The density is over pictures in units in which black is 0 and white 1, at what `encode` sees of them, summed
        over all numbers.
        """


class HasFeatures(Protocol):
    """Has hidden activations that tell pictures apart."""

    def features(self, pictures: Tensor) -> Tensor:
        """Return features (B, F) of uint8 pictures (B, C, H, W)."""


class HasFeaturesInOnePass(Protocol):
    """Gives latents and features of one pass."""

    def encode_and_features(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents (B, D) and features (B, F) of uint8 pictures (B, C, H, W)."""


class HasLevels(Protocol):
    """Has a latent of several levels of resolution."""

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """How many of the D numbers each level holds, finest level first."""


class HasPixels(Protocol):
    """Says how it sees pixels; without it, as 8 bits, ``v / 255``."""

    @property
    def pixels(self) -> PixelFormat:
        """Bits and range of the floats that stand for pixels."""


class HasPlace(Protocol):
    """Says where and how exactly it computes; without it, where its prior is."""

    @property
    def device(self) -> torch.device:
        """Where latents are."""

    @property
    def precision(self) -> str:
        """The dtype that latents are as exact as, in words: "float32"."""


class HasIdentity(Protocol):
    """Can be known again: what it makes opens with no other model."""

    @property
    def fingerprint(self) -> str:
        """Hash of family, configuration and weights (see `store.identity`), 64 hexadecimal digits."""


class HasFormerIdentities(Protocol):
    """Had other fingerprints in earlier versions."""

    @property
    def former_fingerprints(self) -> tuple[str, ...]:
        """What earlier versions wrote for the same model."""


class HasCard(Protocol):
    """Comes with what is known of it."""

    @property
    def card(self) -> Mapping[str, Any]:
        """Family, data, licence, figures, notes: plain values by name."""


class HasExactness(Protocol):
    """Knows how far its round trip is off."""

    @property
    def exactness(self) -> float:
        """The largest error of decode(encode(x)) that was measured, the range of a pixel being 1."""


class HasTemperature(Protocol):
    """Knows how long latents should be."""

    @property
    def temperature(self) -> float:
        """``|z| / sqrt(D)`` at which its pictures look best: tau of the noise "typical"."""


class HasLevelTemperatures(Protocol):
    """Knows by how much samples' deviations at each level should be shortened."""

    @property
    def level_temperatures(self) -> tuple[float, ...]:
        """Factors at which its pictures look best, for each of `level_sizes`, finest level first."""


class HasUnclamped(Protocol):
    """Shows values beyond the range of pixels, by which a broken sample is known."""

    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Return what `decode` returns, but not cut to [0, 1]."""


class HasEvaluations(Protocol):
    """Calls its network many times: a sampler of steps."""

    def evaluations(self, pictures: Tensor) -> tuple[float, float]:
        """Return the mean number of calls of the network a picture, to encode uint8 pictures and to decode."""


class HasVariance(Protocol):
    """Is not sure of a picture's latent: an autoencoder."""

    def encode_variance(self, pictures: Tensor) -> Tensor:
        """Return the variance (B, D) of the latents of uint8 pictures (B, C, H, W), in the units of `encode`."""


@dataclass(frozen=True)
class Capability:
    """Something that a model may have.

    Attributes:
        members: what a source with it has.
        noun: what an error calls it.
    """

    members: tuple[str, ...]
    noun: str


CAPABILITIES = {
    "shape": Capability(("shape",), "a shape"),
    "score": Capability(("encode_and_log_prob",), "a density"),
    "features": Capability(("features",), "features"),
    "features in one pass": Capability(("encode_and_features",), "features of one pass"),
    "levels": Capability(("level_sizes",), "levels"),
    "pixels": Capability(("pixels",), "a pixel format"),
    "device": Capability(("device",), "a device"),
    "precision": Capability(("precision",), "a precision"),
    "fingerprint": Capability(("fingerprint",), "a fingerprint"),
    "former fingerprints": Capability(("former_fingerprints",), "fingerprints of earlier versions"),
    "card": Capability(("card",), "a card"),
    "exactness": Capability(("exactness",), "a measured exactness"),
    "temperature": Capability(("temperature",), "a best temperature"),
    "level temperatures": Capability(("level_temperatures",), "temperatures of its levels"),
    "unclamped": Capability(("decode_unclamped",), "values beyond the range"),
    "evaluations": Capability(("evaluations",), "a count of its network's evaluations"),
    "variance": Capability(("encode_variance",), "a variance of each latent"),
}


def has(source: Any, member: str) -> bool:
    """Return whether a source has a member, and it is not None; properties are not computed."""
    try:
        return inspect.getattr_static(source, member) is not None
    except AttributeError:  # a wrapper that hands on what it has not, such as a module its parts
        return hasattr(type(source), "__getattr__") and getattr(source, member, None) is not None
