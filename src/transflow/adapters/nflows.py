"""nflows: any `nflows.Flow`, the form in which sbi and others keep theirs.

`flow._transform` maps x to noise, `flow._distribution` is the base, `flow._embedding_net` reads a context. Known traps,
handled here:

- a spline without tails takes [0, 1] only and raises `InputOutsideDomain` without a word: the picture is named;
- in float32 a rational-quadratic spline may fail to be inverted with a bare `AssertionError`: that latent is tried
  again in double, alone, so that its neighbours do not change;
- an `ActNorm` or `BatchNorm` that no training has filled is refused;
- `Sigmoid` clamps at 1e-6: latents beyond 13.8 do not come back, which the card says;
- a masked autoregressive flow leaves a missing context out in silence: it is asked for;
- a cache of linear layers is switched off, as it may be stale.

A multi-scale flow's latents are flat, finest level first.

Reference: https://github.com/bayesiains/nflows
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transflow.adapters import measure
from transflow.adapters.flow import HIDDEN, UNIT, UNMEASURED, DensitySource, FlowSource, of_shape, quiet, slow
from transflow.adapters.modules import find, fingerprint, is_a, place, still
from transflow.adapters.whiten import Base, Diagonal, base_of, refusal
from transflow.pictures.pixels import PixelFormat

EXTRA = "nflows"
CLAMPED = "a Sigmoid of it clamps at 1e-6: latents beyond 13.8 standard deviations do not come back"
FAILURES = (ValueError, RuntimeError, TypeError, AttributeError, IndexError, AssertionError)
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Transform:
    """The transform of a flow at one context.

    Attributes:
        flow: the module.
        event: the shape it takes, (C, H, W) or (D,).
        latent: the shape that its base takes.
        context: the embedded context, (1, k), or None.
    """

    flow: Any
    event: tuple[int, ...]
    latent: tuple[int, ...]
    context: Tensor | None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return z and log |det dz/dx|."""
        z, log_det = self._guarded(self._encode, x.reshape(-1, *self.event), "picture")
        return z.flatten(1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return x of z."""
        return self._guarded(self._decode, z.reshape(-1, *self.latent), "latent")[0]

    def _encode(self, flow: Any, x: Tensor) -> Pair:
        return flow._transform(x, context=self._context(x))

    def _decode(self, flow: Any, z: Tensor) -> Pair:
        return flow._transform.inverse(z, context=self._context(z))

    def _context(self, like: Tensor) -> Tensor | None:
        return None if self.context is None else self.context.to(like).expand(len(like), *self.context.shape[1:])

    def _guarded(self, run: Callable[[Any, Tensor], Pair], values: Tensor, what: str) -> Pair:
        """Run on all, or one by one where that fails, each in double where it fails alone."""
        try:
            return run(self.flow, values)
        except Exception as error:
            if not _known(error):
                raise
        done = [self._alone(run, values[i : i + 1], what, i) for i in range(len(values))]
        return torch.cat([moved for moved, _ in done]), torch.cat([log_det for _, log_det in done])

    def _alone(self, run: Callable[[Any, Tensor], Pair], value: Tensor, what: str, index: int) -> Pair:
        try:
            return run(self.flow, value)
        except Exception as error:
            if not _known(error):
                raise
        try:
            moved, log_det = run(copy.deepcopy(self.flow).double(), value.double())
        except Exception as error:
            if not _known(error):
                raise
            raise _named(error, value, what, index) from None
        return moved.to(value), log_det.to(value)


def adapt(
    flow: Any,
    shape: tuple[int, int, int],
    *,
    pixels: PixelFormat = UNIT,
    context: Tensor | None = None,
    inexact: bool = False,
) -> FlowSource:
    """Return a flow of nflows as a source.

    Args:
        flow: an `nflows.Flow` over pictures (C, H, W) or vectors of C H W numbers.
        shape: (C, H, W).
        pixels: the floats that the flow was trained on; by default 8 bits in [0, 1].
        context: of a conditional flow, without a batch; one latent space each, so it is held.
        inexact: whether round trips above the bounds of `measure` are accepted.

    Raises:
        ValueError: an untrained layer, a base that is neither Gaussian nor uniform, another size, a missing context,
            pixels outside the domain of a spline, a round trip above the bounds.
    """
    shape = of_shape(shape)
    _refuse(flow)
    if context is None and any(path.endswith("context_layer") for path, _ in flow.named_modules()):
        raise ValueError("Expected the context of a conditional nflows flow, which would go on without; give context=.")
    copied = still(flow)
    for _, layer in find(copied, "nflows.Linear"):
        layer.use_cache(False)
    like = place(copied)
    with torch.no_grad(), quiet():
        embedded = None if context is None else copied._embedding_net(context.detach().to(like)[None])
        base = _base(copied._distribution, embedded)
        if base.dim != math.prod(shape):
            raise ValueError(
                f"Expected an nflows flow over {math.prod(shape)} numbers for pictures of {shape}; "
                f"got one over {base.dim}."
            )
        bijection = _fitting(copied, shape, embedded, like.new_full((1, *shape), (pixels.low + pixels.high) / 2))
    notes = [base.note] if base.note else []
    if find(copied, "nflows.Sigmoid"):
        notes.append(CLAMPED)
    lacks = {"features": HIDDEN}
    passes = base.dim * len(find(copied, "nflows.AutoregressiveTransform"))
    if text := slow(passes, "decoding", "A coupling flow decodes in one pass a layer."):
        lacks["exactness"] = UNMEASURED
        notes.append(text)
    options = {"pixels": pixels, "shape": shape, "event": bijection.event}
    source = DensitySource(
        bijection=bijection,
        base=base,
        shape=shape,
        pixels=pixels,
        like=like,
        fingerprint=fingerprint("nflows", copied, options, context=embedded),
        card={"family": "nflows", "class": type(flow).__name__, "notes": notes},
        lacks=lacks,
        level_sizes=_levels(copied._transform),
    )
    return measure.checked(source, inexact, decodes=not text)


def _base(distribution: Any, context: Tensor | None) -> Base:
    """The base at one embedded context."""
    if is_a(distribution, "nflows.StandardNormal"):
        return Diagonal.standard(math.prod(distribution._shape), distribution._log_z.device)
    if is_a(distribution, "nflows.DiagonalNormal"):
        return Diagonal.of(distribution.mean_, distribution.log_std_)
    if is_a(distribution, "nflows.ConditionalDiagonalNormal"):
        if context is None:
            raise ValueError("Expected the context of a conditional nflows flow; got none. Give context=.")
        return Diagonal.of(*(part[0] for part in distribution._compute_params(context)))
    if is_a(distribution, "torch.Distribution"):
        return base_of(distribution)
    raise refusal(distribution)


def _fitting(flow: Any, shape: tuple[int, int, int], context: Tensor | None, x: Tensor) -> Transform:
    """The transform over vectors, or over pictures where it takes no vectors."""
    reason = ""
    for event in ((math.prod(shape),), shape):
        latent = tuple(getattr(flow._distribution, "_shape", None) or flow._distribution.event_shape)
        bijection = Transform(flow, event, latent, context)
        try:
            z, _ = bijection.forward(x)
        except FAILURES as error:
            if "domain" in str(error):
                raise
            reason = reason or str(error).split("\n")[0]
            continue
        if z.shape == (1, math.prod(shape)):
            return bijection
    way = "Give context= where it is conditional." if context is None else "Give another context= or shape."
    raise ValueError(f"Expected an nflows flow that takes pictures of {shape}, flat or not; got {reason!r}. {way}")


def _levels(transform: Any) -> tuple[int, ...] | None:
    """How many latents each level of a multi-scale transform has, finest first."""
    if is_a(transform, "nflows.CompositeTransform") and len(transform._transforms):
        return _levels(transform._transforms[-1])
    if is_a(transform, "nflows.MultiscaleCompositeTransform"):
        return tuple(math.prod(shape) for shape in transform._output_shapes)
    return None


def _refuse(flow: Any) -> None:
    """Raise where a layer has never been trained."""
    fresh = [path for path, layer in find(flow, "nflows.ActNorm") if not layer.initialized]
    fresh += [path for path, layer in find(flow, "nflows.BatchNorm") if not layer.running_var.any()]
    if fresh:
        raise ValueError(
            f"Expected a trained flow; got a normalisation at {fresh[0]} that has seen no batch. "
            "Load its weights, or train it in train() mode."
        )


def _known(error: Exception) -> bool:
    """Whether nflows raises it for single values: a negative discriminant, or a value outside a domain."""
    return isinstance(error, AssertionError) or type(error).__name__ == "InputOutsideDomain"


def _named(error: Exception, value: Tensor, what: str, index: int) -> ValueError:
    span = f"{what} {index} of the batch, {value.min().item():.3g} to {value.max().item():.3g},"
    if isinstance(error, AssertionError):
        return ValueError(f"Expected a spline that can be inverted; got none for {span} in double either.")
    return ValueError(
        f"Expected values inside the domain of an nflows layer, [0, 1] for a spline without tails; got {span} outside. "
        "Give pixels= in the range it was trained on."
    )
