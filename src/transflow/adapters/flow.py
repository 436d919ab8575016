"""A library's bijection, its base and a pixel format, as a source.

    pictures, uint8 --pixels--> x --bijection--> z --standardise--> eps ~ N(0, I)

and, with u the picture in the unit range,

    log p(u) = log N(eps; 0, I) + log |det dz/dx| + log |det deps/dz| + log |det dx/du|.

What differs between libraries is the bijection, a small frozen dataclass that holds the user's copied module.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from transflow.adapters.whiten import Base
from transflow.checks import check_finite, check_latents
from transflow.devices import full_float32
from transflow.gaussians.gaussian import Gaussian
from transflow.pictures.pixels import PixelFormat

UNIT = PixelFormat(bits=8, low=0.0, high=1.0)
HIDDEN = "the adapter does not know which of its hidden activations are features"
UNMEASURED = "it is too slow to be measured when wrapped"
NO_DENSITY = "its log-determinant is estimated at random"
PIXELS_HINT = "Check the pixels= it was trained on."
SLOW = 1000  # passes of a network from which a direction is not tried at wrap time
DEPRECATED = ("torch.lu is deprecated", "torch.triangular_solve is deprecated", "Using a non-tuple sequence for multi")
Shape = tuple[int, int, int]


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what torch says of the age of a library's own code, which its user cannot mend."""
    with warnings.catch_warnings():
        for message in DEPRECATED:
            warnings.filterwarnings("ignore", message=message)
        yield


class Bijection(Protocol):
    """A library's map between floats and its own latents, one flat latent a picture; without state."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return z (B, D) of x (B, C, H, W), and log |det dz/dx| (B,) in nats where it is known exactly."""

    def inverse(self, z: Tensor) -> Tensor:
        """Return x, of B C H W numbers, of z (B, D)."""


@dataclass(frozen=True, eq=False)
class FlowSource:
    """A flow of another library that encodes and decodes, without a density.

    Attributes:
        bijection: the library's map.
        base: the distribution of its latents.
        shape: (C, H, W).
        pixels: how pictures become floats.
        like: an empty tensor of the dtype and on the device that the bijection takes.
        fingerprint: of the flow, its pixel format and its context; None where it has no weights to take it of.
        card: family, class, and notes that a user must know.
        lacks: what it cannot do, and why.
        level_sizes: how many latents each level holds, finest first, where they are ordered so.
        exactness: largest error of decode(encode(x)) in units of the pixel range; None where not measured.
    """

    bijection: Bijection = field(repr=False)
    base: Base = field(repr=False)
    shape: Shape
    pixels: PixelFormat
    like: Tensor = field(repr=False)
    fingerprint: str | None
    card: dict[str, Any]
    lacks: Mapping[str, str] = field(default_factory=lambda: {"score": NO_DENSITY, "features": HIDDEN})
    level_sizes: tuple[int, ...] | None = None
    exactness: float | None = None

    @property
    def device(self) -> torch.device:
        """Where the flow is."""
        return self.like.device

    @property
    def precision(self) -> str:
        """The dtype that the flow computes in, such as "float32"."""
        return str(self.like.dtype).removeprefix("torch.")

    @property
    def prior(self) -> Gaussian:
        """N(0, I) over the D latents."""
        return Gaussian.standard(self.base.dim, self.device)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return eps (B, D) of floats x (B, C, H, W), and log |det deps/dx| (B,) where it is known; both double."""
        with quiet():
            z, log_det = self.bijection.forward(x.to(self.like))
        eps, standardised = self.base.standardise(z)
        return eps, None if log_det is None else log_det.double() + standardised

    def inverse(self, eps: Tensor) -> Tensor:
        """Return the floats x (B, C, H, W) of eps (B, D)."""
        z = self.base.restore(eps.to(self.device)).to(self.like)
        with quiet():
            return self.bijection.inverse(z).reshape(-1, *self.shape)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Return standard-normal latents (B, D) of uint8 pictures (B, C, H, W).

        Raises:
            ValueError: other pictures, or a latent that is not finite; the picture is named.
        """
        return self._encode(pictures)[1].to(self.like)

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures in [0, 1], (B, C, H, W), of latents (B, D); with gradients for those of them.

        Raises:
            ValueError: other latents, or a picture that is not finite; the latent is named.
        """
        return self.decode_unclamped(latents).clamp(0, 1)

    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Return what `decode` does, before it is cut to [0, 1]."""
        check_latents(latents, self.base.dim)
        if not len(latents):
            return self.like.new_empty(0, *self.shape)
        with full_float32(self.device), torch.set_grad_enabled(torch.is_grad_enabled() and latents.requires_grad):
            pictures = self.pixels.unit_unclamped(self.inverse(latents))
        return check_finite(pictures, "pictures", "latent {} of the batch", PIXELS_HINT)

    def _encode(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Floats, latents in double, and log-determinants."""
        if not isinstance(pictures, Tensor) or pictures.dtype != torch.uint8 or pictures.shape[1:] != self.shape:
            got = (
                f"{pictures.dtype} {tuple(pictures.shape)}" if isinstance(pictures, Tensor) else type(pictures).__name__
            )
            raise ValueError(f"Expected uint8 pictures of shape (B, {', '.join(map(str, self.shape))}); got {got}.")
        x = self.pixels.centre(pictures.to(self.device)).to(self.like)
        if not len(x):
            return x, self.like.new_empty(0, self.base.dim), self.like.new_empty(0)
        with full_float32(self.device):
            eps, log_det = self.forward(x)
        return x, check_finite(eps, "latents", "picture {} of the batch", PIXELS_HINT), log_det


@dataclass(frozen=True, eq=False)
class DensitySource(FlowSource):
    """A flow of another library whose density is known."""

    lacks: Mapping[str, str] = field(default_factory=lambda: {"features": HIDDEN})

    @torch.no_grad()
    def encode_and_log_prob(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `encode` does, and the log density (B,) of the pictures in the unit range, nats, double."""
        x, eps, log_det = self._encode(pictures)
        assert log_det is not None
        if not len(x):
            return eps, log_det.double()
        return eps.to(self.like), self.prior.log_prob(eps) + log_det + self.pixels.log_det(x)


def event(shape: Shape, own: tuple[int, ...], library: str) -> tuple[int, ...]:
    """Return the shape in which a flow takes pictures: its own, where that is (C, H, W) or the flat (D,).

    Raises:
        ValueError: it is another.
    """
    if tuple(own) in (tuple(shape), (math.prod(shape),)):
        return tuple(own)
    raise ValueError(
        f"Expected a {library} flow over {tuple(shape)} or ({math.prod(shape)},); got one over {tuple(own)}. "
        "Give the shape=(channels, height, width) it was trained on."
    )


def of_shape(shape: Any) -> Shape:
    """Return the shape of pictures, three whole numbers of 1 or more.

    Raises:
        ValueError: it is none.
    """
    if isinstance(shape, (tuple, list)) and len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape):
        return (shape[0], shape[1], shape[2])
    raise ValueError(f"Expected a shape of (channels, height, width); got {shape}.")


def slow(passes: int, direction: str, cure: str) -> str | None:
    """Return a note, and warn, where a flow goes one way number by number and takes 1,000 passes or more.

    Args:
        passes: of a network, for one picture.
        direction: "decoding" or "encoding".
        cure: what to use instead, a sentence.
    """
    if passes < SLOW:
        return None
    text = f"One {direction} takes about {passes} passes of its networks, so its exactness was not measured. {cure}"
    warnings.warn(text, stacklevel=3)
    return text
