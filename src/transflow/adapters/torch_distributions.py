"""torch.distributions: a `TransformedDistribution` over pictures or vectors.

Its transforms map z to x; they are walked backwards, and log |det dz/dx| is minus the sum of theirs. It runs in double,
as tanh of float32 is not undone beyond 9. Known traps, handled here:

- transforms with `cache_size=1` give back the very tensor they were given, and hide every error: caches are off here;
- transforms that are no bijections (Abs, Softmax) are refused by name, and those that change the size (StickBreaking);
- `Normal(loc, scale)` without `Independent` has a batch where a picture is meant: its dimensions are the picture's;
- pixels exactly at the end of the support (0 and 1 under a sigmoid) have no latent: they are shrunk by half a bin,
  which the card says;
- a base that is itself transformed, such as LogNormal, is unfolded; so are inverses and compositions, as torch loses
  the inside of a copied or pickled `transform.inv`.

Reference: https://docs.pytorch.org/docs/stable/distributions.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from transflow.adapters import measure
from transflow.adapters.flow import HIDDEN, UNIT, DensitySource, FlowSource, of_shape
from transflow.adapters.modules import fingerprint, is_a, still
from transflow.adapters.whiten import Box, Dense, Diagonal, base_of
from transflow.pictures.pixels import PixelFormat

SHRUNK = "pixels at the ends of the distribution's support were shrunk by half a bin"


@dataclass(frozen=True)
class Step:
    """One transform, or its inverse.

    Attributes:
        transform: of torch.
        turned: whether the step from z to x is its inverse.
    """

    transform: Any
    turned: bool

    def to_x(self, z: Tensor) -> Tensor:
        """Return the step's x of z."""
        return self.transform.inv(z) if self.turned else self.transform(z)

    def to_z(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the step's z of x, and log |det dz/dx| (B,)."""
        z = self.transform(x) if self.turned else self.transform.inv(x)
        log_det = self.transform.log_abs_det_jacobian(*((x, z) if self.turned else (z, x)))
        summed = log_det.flatten(1).sum(1) if log_det.ndim > 1 else log_det.expand(len(x))
        return z, summed if self.turned else -summed

    @property
    def support(self) -> Any:
        """The constraint that x satisfies."""
        return self.transform.domain if self.turned else self.transform.codomain


@dataclass(frozen=True)
class Transforms:
    """Steps from z to x, undone.

    Attributes:
        steps: first to last.
        event: the shape of x that they take.
        latent: the shape of z.
    """

    steps: tuple[Step, ...]
    event: tuple[int, ...]
    latent: tuple[int, ...]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return z and log |det dz/dx|."""
        x, total = x.reshape(-1, *self.event).clone(), x.new_zeros(len(x))
        for step in reversed(self.steps):
            x, log_det = step.to_z(x)
            total = total + log_det
        return x.flatten(1), total

    def inverse(self, z: Tensor) -> Tensor:
        """Return x of z."""
        x = z.reshape(-1, *self.latent).clone()
        for step in self.steps:
            x = step.to_x(x)
        return x


def adapt(flow: Any, shape: tuple[int, int, int], *, pixels: PixelFormat = UNIT, inexact: bool = False) -> FlowSource:
    """Return a transformed distribution as a source.

    Args:
        flow: a `TransformedDistribution` whose batch and event have C H W numbers together.
        shape: (C, H, W).
        pixels: the floats that it is over; by default 8 bits in [0, 1].
        inexact: whether round trips above the bounds of `measure` are accepted.

    Raises:
        ValueError: a transform that is no bijection, a base that is neither Gaussian nor uniform, another size, pixels
            outside the support, a round trip above the bounds.
    """
    shape = of_shape(shape)
    own = tuple(flow.batch_shape) + tuple(flow.event_shape)
    if math.prod(own) != math.prod(shape):
        raise ValueError(
            f"Expected a distribution over {math.prod(shape)} numbers for pictures of {shape}; got one over {own}. "
            "Use .expand() where it is of one pixel."
        )
    distribution, steps = still(_unfolded(flow))
    for step in steps:
        _ready(step.transform)
    fitted = _inside(pixels, steps)
    identity = fingerprint("torch_distributions", (distribution, steps), {"pixels": fitted, "shape": shape})
    base = base_of(distribution)
    place = torch.empty(0, dtype=torch.float32, device="cpu")
    place = base.low if isinstance(base, Box) else base.mean if isinstance(base, (Dense, Diagonal)) else place
    latent = tuple(distribution.batch_shape) + tuple(distribution.event_shape)
    if base.dim != math.prod(shape):
        raise ValueError(
            f"Expected transforms that keep the size; got {base.dim} latents of {math.prod(shape)} numbers."
        )
    notes = [note for note in (base.note, "" if fitted is pixels else SHRUNK) if note]
    source = DensitySource(
        bijection=Transforms(steps, own, latent),
        base=base,
        shape=shape,
        pixels=fitted,
        like=place.new_empty(0),
        fingerprint=identity,
        card={"family": "torch_distributions", "class": type(flow).__name__, "notes": notes},
        lacks={"features": HIDDEN},
    )
    return measure.checked(source, inexact)


def _unfolded(distribution: Any) -> tuple[Any, tuple[Step, ...]]:
    """The innermost base and all steps, z to x, of transformed distributions in one another."""
    steps: tuple[Step, ...] = ()
    inner = distribution
    while True:
        core = inner
        while is_a(core, "torch.Independent"):
            core = core.base_dist
        if not is_a(core, "torch.TransformedDistribution"):
            return inner, steps
        steps = (*(step for transform in core.transforms for step in _steps(transform, False)), *steps)
        inner = core.base_dist


def _steps(transform: Any, turned: bool) -> Iterator[Step]:
    """The steps of a transform, compositions and inverses unfolded."""
    if is_a(transform, "torch._InverseTransform") or is_a(transform, "torch.Inverse"):  # as zuko renames it
        if transform._inv is None:
            raise ValueError(
                "Expected a whole distribution; got a transform.inv that lost its transform when torch copied or "
                "pickled it. Build the distribution anew."
            )
        yield from _steps(transform._inv, not turned)
    elif is_a(transform, "torch.ComposeTransform"):
        for part in reversed(transform.parts) if turned else transform.parts:
            yield from _steps(part, turned)
    elif is_a(transform, "torch.IndependentTransform"):  # its log-determinant is summed here anyway
        yield from _steps(transform.base_transform, turned)
    else:
        yield Step(transform, turned)


def _parts(transform: Any) -> Iterator[Any]:
    """A transform and those inside it."""
    yield transform
    for value in vars(transform).values():
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if is_a(part, "torch.Transform"):
                yield from _parts(part)


def _ready(transform: Any) -> None:
    """Switch caches off, make networks double, and refuse what is no bijection.

    Raises:
        ValueError: it is none, or it changes how many numbers there are.
    """
    for part in _parts(transform):
        if not part.bijective:
            raise ValueError(f"Expected transforms that are bijections; got {type(part).__name__}, which is none.")
        if is_a(part, "torch.StickBreakingTransform"):
            raise ValueError("Expected transforms that keep the size; got StickBreakingTransform, which adds a number.")
        part._cache_size, part._cached_x_y = 0, (None, None)
        for module in (part, *vars(part).values()):
            if isinstance(module, nn.Module):
                module.eval().requires_grad_(False).double()


def _inside(pixels: PixelFormat, steps: tuple[Step, ...]) -> PixelFormat:
    """The pixel format, its pixels off the ends of the support.

    Raises:
        ValueError: pixels beyond the support.
    """
    support: Any = steps[-1].support if steps else None
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    low, high = (getattr(support, f"{end}_bound", edge) for end, edge in (("lower", -math.inf), ("upper", math.inf)))
    low, high = (float(torch.as_tensor(edge, dtype=torch.float64, device="cpu").mean()) for edge in (low, high))
    if pixels.logit or (low < pixels.low and pixels.high < high):
        return pixels
    if pixels.low < low or high < pixels.high:
        raise ValueError(
            f"Expected pixels in the support, {low:g} to {high:g}; got {pixels.low:g} to {pixels.high:g}. "
            "Give pixels=PixelFormat(bits=8, low=..., high=...) inside it."
        )
    return replace(pixels, ends=False) if pixels.ends else pixels
