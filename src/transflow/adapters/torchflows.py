"""torchflows: any `torchflows.flows.Flow`.

`flow.bijection.forward(x)` maps x to z, which keeps the shape of a picture; the base is over the flat event. Known
traps, handled here:

- an invertible 1x1 convolution (`AffineGlow` and other Glows) leaves the factor H W out of its log-determinant, and so
  do the library's log_prob, loss and bits per dimension: it is put right here, and the card says so;
- FFJORD, RNODE and DDNF estimate their log-determinant by one random probe: no density;
- residual flows normalise their weights at random at every call, and their inverse errs by 0.1: refused;
- `invert()` swaps methods on an instance, so the bijection is asked anew at each call;
- `ActNorm` overwrites its scale at the first batch in train() mode, after loading too: the user's module stays as it
  is, a copy in eval() is used.

Reference: https://github.com/davidnabergoj/torchflows
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from transflow.adapters import measure
from transflow.adapters.flow import (
    HIDDEN,
    NO_DENSITY,
    UNIT,
    UNMEASURED,
    DensitySource,
    FlowSource,
    event,
    of_shape,
    slow,
)
from transflow.adapters.modules import find, fingerprint, is_a, place, still
from transflow.adapters.whiten import Base, Dense, Diagonal, base_of
from transflow.own_random import OwnRandom
from transflow.pictures.pixels import PixelFormat

EXTRA = "torchflows"
CONVOLUTION = "torchflows.Invertible1x1ConvolutionTransformer"
CORRECTED = "the library's own log_prob leaves the factor H W out of its 1x1 convolutions; the density here has it"


@dataclass(frozen=True)
class Events:
    """The bijection of a flow at one context.

    Attributes:
        flow: the module.
        context: (1, ...), or None.
        probing: whether its log-determinant is estimated at random; it draws the same numbers at each call.
    """

    flow: Any
    context: Tensor | None
    probing: bool

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return z and log |det dz/dx|."""
        z, log_det = self._run("forward", x)
        return z.flatten(1), None if self.probing else log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return x of z."""
        return self._run("inverse", z)[0]

    def _run(self, way: str, values: Tensor) -> tuple[Tensor, Tensor]:
        values = values.reshape(-1, *self.flow.event_shape).clone()
        options = {} if self.context is None else {"context": self.context.expand(len(values), *self.context.shape[1:])}
        method = getattr(self.flow.bijection, way)
        if not self.probing:
            moved, log_det = method(values, **options)[:2]
            return moved, log_det
        with OwnRandom(0), torch.inference_mode(False), torch.enable_grad():  # its probes are drawn on the processor
            moved, log_det = method(values.clone(), **options)[:2]
        return moved.detach(), log_det.detach()


def adapt(
    flow: Any,
    shape: tuple[int, int, int],
    *,
    pixels: PixelFormat = UNIT,
    context: Tensor | None = None,
    inexact: bool = False,
) -> FlowSource:
    """Return a flow of torchflows as a source.

    Args:
        flow: a `torchflows.flows.Flow` over pictures (C, H, W) or vectors of C H W numbers.
        shape: (C, H, W).
        pixels: the floats that the flow was trained on; by default 8 bits in [0, 1].
        context: of a conditional flow, without a batch; one latent space each, so it is held.
        inexact: whether round trips above the bounds of `measure` are accepted.

    Raises:
        ValueError: a mixture of flows, a residual flow, a base that is neither Gaussian nor uniform, a missing context,
            another size, a round trip above the bounds.
    """
    shape = of_shape(shape)
    _refuse(flow)
    event(shape, tuple(flow.event_shape), "torchflows")
    copied = still(flow)
    like = place(copied.bijection) if any(True for _ in copied.bijection.parameters()) else place(copied)
    wanted = copied.bijection.context_shape
    if (wanted is None) != (context is None):
        got = "none" if context is None else f"one of {tuple(context.shape)}"
        way = "Give context=." if context is None else "Leave context= out."
        raise ValueError(f"Expected {f'a context of {tuple(wanted)}' if wanted else 'no context'}; got {got}. {way}")
    held = None if context is None else context.detach().to(like).reshape(1, *wanted)
    base = _base(copied.base)
    probing = bool(find(copied, "torchflows.HutchinsonTimeDerivative"))
    identity = fingerprint("torchflows", copied, {"pixels": pixels, "shape": shape}, context=held)
    convolutions = find(copied, CONVOLUTION)
    for _, layer in convolutions:
        layer.forward, layer.inverse = partial(put_right, layer, "forward"), partial(put_right, layer, "inverse")
    notes = [note for note in (base.note, CORRECTED if convolutions else "") if note]
    lacks = {"features": HIDDEN}
    if probing:
        lacks["score"] = NO_DENSITY
    masked = [layer for _, layer in find(copied, "torchflows.MaskedAutoregressiveBijection")]
    if text := slow(base.dim * len(masked), "decoding", "A coupling flow decodes in one pass a layer."):
        lacks["exactness"] = UNMEASURED
        notes.append(text)
    source = (FlowSource if probing else DensitySource)(
        bijection=Events(copied, held, probing),
        base=base,
        shape=shape,
        pixels=pixels,
        like=like,
        fingerprint=identity,
        card={"family": "torchflows", "class": type(flow.bijection).__name__, "notes": notes},
        lacks=lacks,
    )
    return measure.checked(source, inexact, decodes=not text)


def put_right(layer: Any, way: str, values: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a 1x1 convolution's method does, with the log-determinant times H W: it acts at every pixel."""
    moved, log_det = getattr(type(layer), way)(layer, values, parameters)
    return moved, log_det * math.prod(layer.image_dimensions)


def _base(base: Any) -> Base:
    if is_a(base, "torchflows.DiagonalGaussian"):
        return Diagonal.of(base.loc, base.log_scale)
    if is_a(base, "torchflows.DenseGaussian"):
        return Dense(base.loc.detach().double().flatten(), base.cholesky.detach().double())
    return base_of(base)


def _refuse(flow: nn.Module) -> None:
    """Raise where a flow cannot be used."""
    if is_a(flow, "torchflows.FlowMixture"):
        raise ValueError("Expected one flow; got a FlowMixture, which is no single bijection. Wrap one of its flows.")
    for path, layer in find(flow, "torchflows.IterativeResidualBijection"):
        raise ValueError(
            f"Expected a flow that inverts; got a {type(layer).__name__} at {path}, whose encoder is random at every "
            "call and whose inverse errs by 0.1. Train a coupling flow."
        )
    for path, layer in find(flow, "torchflows.ClassicResidualBijection"):
        raise ValueError(
            f"Expected a flow whose layers go both ways; got a {type(layer).__name__} at {path}. Train a coupling flow."
        )
