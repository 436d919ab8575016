"""A generator without an encoder, such as a GAN's: a picture's latent is searched for (see `latent_search`).

A picture that the generator cannot make has no latent, only a nearest one: `invert(pictures).errors` says how near, and
there is no density.

A style generator takes w = f(z), whose distribution is far from Gaussian. f ends in LeakyReLU(0.2); undoing that,
v = LeakyReLU(5)(w) is nearly N(m, L L^T), so eps = L^-1 (v - m) is the latent. m and L are measured on draws of z.

Reference: Wulff and Torralba 2020, *Improving inversion and generation diversity in StyleGAN using a Gaussianized
latent space*, arXiv 2009.06529.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from transflow.adapters import measure, modules
from transflow.adapters.calls import CallingSource, still_functions
from transflow.adapters.flow import HIDDEN, of_shape
from transflow.adapters.whiten import Base, Dense, Diagonal
from transflow.devices import full_float32
from transflow.generative.latent_search import Inversion, Report, Search, invert, targets
from transflow.pictures.pixels import PixelFormat

SIGNED = PixelFormat(bits=8, low=-1.0, high=1.0, ends=True)  # a tanh at the end, as most have
SLOPE = 0.2  # of the LeakyReLU at the end of a style generator's mapping
STYLES, STYLE_BATCH = 10_000, 500  # draws that the Gaussian of styles is measured on, and how many at a time
JITTER = 1e-6  # added to the variances of styles, relative to their mean


@dataclass(frozen=True)
class Decoder:
    """A generator from flat latents.

    Attributes:
        generator: z (B, *latent) -> x, of B C H W numbers.
        latent: the shape of z.
        shape: (C, H, W).
        styled: whether the latents are v = LeakyReLU(5)(w) of styles w.
    """

    generator: Callable[[Tensor], Tensor]
    latent: tuple[int, ...]
    shape: tuple[int, int, int]
    styled: bool

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Raise: the latent of x is searched for, in a space that has a prior."""
        raise NotImplementedError

    def inverse(self, z: Tensor) -> Tensor:
        """Return x (B, C, H, W) of z (B, D)."""
        if self.styled:
            z = F.leaky_relu(z, SLOPE)
        x: Any = self.generator(z.reshape(-1, *self.latent))
        if not isinstance(x, Tensor):
            raise ValueError(f"Expected a generator that gives a tensor; got {type(x).__name__}.")
        if tuple(x.shape) != (len(z), *self.shape) and tuple(x.shape) != (len(z), math.prod(self.shape)):
            raise ValueError(
                f"Expected a generator of pictures of shape {(len(z), *self.shape)}; got {tuple(x.shape)}. "
                "Give the shape=(channels, height, width) of the model."
            )
        return x.reshape(-1, *self.shape)


@dataclass(frozen=True, eq=False)
class GeneratorSource(CallingSource):
    """A generator whose `encode` is a search.

    Attributes:
        search: how.
    """

    bijection: Decoder
    search: Search = field(default_factory=Search)

    @property
    def called(self) -> dict[str, Any]:
        """What is called, by its role."""
        return {"generator": self.bijection.generator}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return eps (B, D) of floats x (B, C, H, W), by search."""
        return self._search(self.pixels.unit_unclamped(x), None).latents.double(), None

    def invert(self, pictures: Tensor, report: Report | None = None) -> Inversion:
        """Return the latents of pictures, and how far from each its latent's picture is.

        Args:
            pictures: (B, C, H, W), uint8, or floats in units in which black is 0 and white 1.
            report: called with how many pictures are done, and of how many.

        Raises:
            ValueError: other pictures; a generator that gives NaN or no gradient.
        """
        return self._search(targets(pictures, self.pixels, self.shape).to(self.like), report)

    def _search(self, targets: Tensor, report: Report | None) -> Inversion:
        with torch.inference_mode(False), torch.enable_grad(), full_float32(self.device):
            return invert(self._unit, targets.clone(), self.base.dim, self.search, report)

    def _unit(self, eps: Tensor) -> Tensor:
        """The pictures of eps, in units in which black is 0 and white 1, not cut off."""
        return self.pixels.unit_unclamped(self.inverse(eps))


def adapt(
    generator: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    *,
    latent: int | tuple[int, ...],
    pixels: PixelFormat = SIGNED,
    style: Callable[[Tensor], Tensor] | None = None,
    search: Search | None = None,
    module: Any = None,
) -> GeneratorSource:
    """Return a generator as a source.

    Args:
        generator: z (B, *latent) -> x (B, C, H, W), a module or a function that torch can differentiate and that draws
            nothing at random: noise inputs fixed, a class and truncation bound.
        shape: (C, H, W).
        latent: the shape of one z ~ N(0, I), such as 100 or (100, 1, 1).
        pixels: the floats of the pictures that it makes; by default -1 is black and 1 white.
        style: z (B, *latent) -> w (B, ...), of a style generator, which `generator` then takes instead of z; it ends in
            LeakyReLU(0.2), as StyleGAN's mapping does.
        search: how latents are searched for.
        module: what functions are made of, as `functions.adapt` takes it; modules and their methods need none.

    Raises:
        ValueError: results of other forms or sizes, NaN, no gradient, noise, a generator that mixes its batch.
    """
    shape = of_shape(shape)
    sizes = (latent,) if isinstance(latent, int) else tuple(latent)
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"Expected latent as a number or a shape, such as 100 or (100, 1, 1); got {latent}.")
    for function in (generator, *([style] if style is not None else [])):
        if not callable(function):
            raise ValueError(f"Expected a generator that can be called; got {type(function).__name__}.")
    (generator, style), module, like = still_functions((generator, style), module)
    notes = ["it has no encoder: a latent is the nearest that a search found, see invert(pictures).errors"]
    base: Base = Diagonal.standard(math.prod(sizes), like.device)
    taken = sizes
    if style is not None:
        base, taken = _styles(style, sizes, like)
        notes.append(f"its styles were made standard normal: LeakyReLU(5), then the Gaussian of {STYLES} draws")
    lacks = {
        "score": "a generator has no density",
        "features": HIDDEN,
        "levels": "its latents have no levels",
        "exactness": "it depends on the picture: see invert(pictures).errors",
    }
    identity = None
    if module is None:
        lacks["fingerprint"] = "no module= was given with its function"
    else:
        options = {"pixels": pixels, "shape": shape, "latent": sizes, "styled": style is not None}
        identity = modules.fingerprint("generator", module, options)
    source = GeneratorSource(
        bijection=Decoder(generator, taken, shape, style is not None),
        base=base,
        shape=shape,
        pixels=pixels,
        like=like,
        fingerprint=identity,
        card={"family": "generator", "notes": notes},
        lacks=lacks,
        search=search or Search(),
    )
    _check(source)
    return source


@torch.no_grad()
def _styles(style: Callable[[Tensor], Tensor], latent: tuple[int, ...], like: Tensor) -> tuple[Dense, tuple[int, ...]]:
    """The Gaussian of LeakyReLU(5)(w) over draws of z, and the shape of one w."""
    generator = torch.Generator().manual_seed(0)
    styles = []
    for begin in range(0, STYLES, STYLE_BATCH):
        z = torch.randn(
            min(STYLE_BATCH, STYLES - begin), *latent, generator=generator, dtype=torch.float32, device="cpu"
        ).to(like)
        styles.append(style(z))
        if not isinstance(styles[-1], Tensor) or styles[-1].ndim < 2 or len(styles[-1]) != len(z):
            raise ValueError(f"Expected a style (B, ...) of each of {len(z)} latents; got {_form(styles[-1])}.")
    v = F.leaky_relu(torch.cat(styles).double().flatten(1), 1 / SLOPE)
    covariance = v.T.cov().reshape(v.shape[1], -1)
    if not covariance.isfinite().all():
        raise ValueError("Expected finite styles; got NaN or infinity.")
    covariance.diagonal().add_(JITTER * covariance.diagonal().mean().clamp(min=1e-30))
    return Dense(v.mean(0), torch.linalg.cholesky(covariance)), tuple(styles[0].shape[1:])


def _check(source: GeneratorSource) -> None:
    """Raise where a generator gives NaN or no gradient, draws at random, or mixes its batch."""
    z = torch.randn(
        3, source.base.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float32, device="cpu"
    ).to(source.like)
    moved = measure.batch_error(source.decode, z, source.decode(z))
    if moved > measure.BOUND:
        raise ValueError(
            f"Expected a generator that gives a latent the same picture each time, whatever its neighbours; got one "
            f"that moves it by {moved:.2g} of the pixel range. Fix its noise inputs, and put modules in eval()."
        )
    with torch.inference_mode(False), torch.enable_grad():
        eps = z.clone().requires_grad_()
        if not source.inverse(eps).requires_grad:
            raise ValueError("Expected a generator that torch can differentiate; got one that gives no gradient.")


def _form(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
