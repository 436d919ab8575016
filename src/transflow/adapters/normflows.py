"""normflows: `MultiscaleFlow` (Glow), `NormalizingFlow`, `ConditionalNormalizingFlow`, `ClassCondFlow`.

Each layer's `inverse` goes from x to z. A multi-scale flow has a list of latents, deepest level first, each with a
learned base of its own; here they are flat, finest level first. Known traps, handled here:

- a fresh `ActNorm` takes its scale from whatever batch comes first, in eval() and in decoding too: refused;
- `transforms.Shift` changes its argument in place: it is given a copy;
- the log-determinant of `NormalizingFlow` is summed in float32: it is summed in double here;
- `log_prob` wants y by position; a class is held from the start here, and so is a context;
- `Residual` estimates its log-determinant at random, in eval() too: no density;
- `BatchNorm`, `Planar` and `Radial` have no inverse, Monte Carlo layers are random: refused;
- a temperature left in a base changes its density: refused.

Reference: https://github.com/VincentStimper/normalizing-flows
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transflow.adapters import measure
from transflow.adapters.flow import HIDDEN, NO_DENSITY, UNIT, DensitySource, FlowSource, event, of_shape, quiet
from transflow.adapters.modules import find, fingerprint, is_a, place, still
from transflow.adapters.whiten import Base, Box, Diagonal, Levels, flatten, refusal, split
from transflow.pictures.pixels import PixelFormat

EXTRA = "normflows"
RANDOM = ("normflows.MetropolisHastings", "normflows.HamiltonianMonteCarlo")
ONE_WAY = ("normflows.BatchNorm", "normflows.Planar", "normflows.Radial")
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Layers:
    """The layers of a flow with one latent.

    Attributes:
        flow: the module.
        event: the shape it takes, (C, H, W) or (D,).
        context: (k,), or None.
    """

    flow: Any
    event: tuple[int, ...]
    context: Tensor | None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return z and log |det dz/dx|."""
        z, total = x.reshape(-1, *self.event).clone(), x.new_zeros(len(x), dtype=torch.float64)
        for layer in reversed(self.flow.flows):
            z, log_det = _layer(layer, z, True, self.context)
            total = total + log_det
        return z.flatten(1), total

    def inverse(self, z: Tensor) -> Tensor:
        """Return x of z."""
        x = z.reshape(-1, *self.event).clone()
        for layer in self.flow.flows:
            x, _ = _layer(layer, x, False, self.context)
        return x


@dataclass(frozen=True)
class Scales:
    """The levels of a multi-scale flow; their latents flat, finest level first."""

    flow: Any

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return z and log |det dz/dx|."""
        x, total, latents = x.clone(), x.new_zeros(len(x), dtype=torch.float64), []
        if self.flow.transform is not None:
            x, log_det = self.flow.transform.inverse(x)
            total = total + log_det
        for level in reversed(range(len(self.flow.q0))):
            for layer in reversed(self.flow.flows[level]):
                x, log_det = _layer(layer, x, True)
                total = total + log_det
            if level:
                (x, z), log_det = self.flow.merges[level - 1].inverse(x)
                latents.append(z)
                total = total + log_det
        return flatten([*latents, x]), total

    def inverse(self, z: Tensor) -> Tensor:
        """Return x of z."""
        parts = split(z, [base.shape for base in reversed(self.flow.q0)])[::-1]  # deepest first
        x = parts[0].clone()
        for level, part in enumerate(parts):
            if level:
                x, _ = self.flow.merges[level - 1]([x, part])
            for layer in self.flow.flows[level]:
                x, _ = _layer(layer, x, False)
        return x if self.flow.transform is None else self.flow.transform(x)[0]


def adapt(
    flow: Any,
    shape: tuple[int, int, int],
    *,
    pixels: PixelFormat = UNIT,
    context: Tensor | None = None,
    y: int | None = None,
    inexact: bool = False,
) -> FlowSource:
    """Return a flow of normflows as a source.

    Args:
        flow: the module.
        shape: (C, H, W).
        pixels: the floats that the flow was trained on; by default 8 bits in [0, 1].
        context: of a conditional flow, (k,); one latent space each, so it is held.
        y: the class of a class-conditional flow, likewise.
        inexact: whether round trips above the bounds of `measure` are accepted.

    Raises:
        ValueError: a fresh, random or one-way layer, a base that is neither Gaussian nor uniform, a missing class or
            context, another size, a round trip above the bounds.
    """
    shape = of_shape(shape)
    many = is_a(flow, "normflows.MultiscaleFlow")
    _refuse(flow)
    copied = still(flow)
    like = place(copied)
    if context is not None:
        context = context.detach().to(like).flatten()
    conditional = is_a(flow, "normflows.ConditionalNormalizingFlow")
    if conditional != (context is not None):
        way = "Give context=" if conditional else "Leave context= out"
        raise ValueError(f"Expected a context for a ConditionalNormalizingFlow, and for no other flow. {way}.")
    levels = list(reversed(copied.q0)) if many else [copied.q0]
    with torch.no_grad():
        bases = [_base(q, y, context, like) for q in levels]
    base = bases[0] if len(bases) == 1 else Levels(tuple(bases))
    if many:
        event(shape, (base.dim,), "normflows")
    bijection = Scales(copied) if many else Layers(copied, event(shape, tuple(copied.q0.shape), "normflows"), context)
    _try(bijection, like.new_full((1, *shape), (pixels.low + pixels.high) / 2))
    exact = not find(copied, "normflows.Residual")
    options = {"pixels": pixels, "shape": shape, "y": y}
    source = (DensitySource if exact else FlowSource)(
        bijection=bijection,
        base=base,
        shape=shape,
        pixels=pixels,
        like=like,
        fingerprint=fingerprint("normflows", copied, options, context=context),
        card={"family": "normflows", "class": type(flow).__name__, "notes": [base.note] if base.note else []},
        lacks={"features": HIDDEN} if exact else {"features": HIDDEN, "score": NO_DENSITY},
        level_sizes=tuple(part.dim for part in bases) if many else None,
    )
    return measure.checked(source, inexact)


def _layer(layer: Any, x: Tensor, encode: bool, context: Tensor | None = None) -> Pair:
    """One layer, from x to z or back, and its log-determinant; zero for a residual block, which would draw one."""
    if is_a(layer, "normflows.Residual"):
        block = layer.iresblock
        moved = block(x) if layer.reverse == encode else block.inverse(x)
        return moved, x.new_zeros(len(x))
    options = {} if context is None else {"context": context.expand(len(x), -1)}
    return layer.inverse(x, **options) if encode else layer(x, **options)


def _base(q: Any, y: int | None, context: Tensor | None, like: Tensor) -> Base:
    """The base of one level, at one class or context."""
    if not is_a(q, "normflows.BaseDistribution"):
        raise refusal(q)
    if getattr(q, "temperature", None) is not None:
        raise ValueError(
            f"Expected bases without a temperature; got one of {q.temperature}. Call flow.reset_temperature()."
        )
    classes = getattr(q, "num_classes", None)
    if classes is not None and (y is None or not 0 <= y < classes):
        raise ValueError(f"Expected y=, a class of 0 to {classes - 1}, for a class-conditional flow; got {y}.")
    if is_a(q, "normflows.GlowBase"):
        factor = q.logscale_factor
        mean, log_scale = q.loc * (factor * q.loc_logs).exp(), q.log_scale * (factor * q.log_scale_logs).exp()
        if classes is not None:
            mean, log_scale = mean + q.loc_cc[y].view_as(mean), log_scale + q.log_scale_cc[y].view_as(mean)
    elif is_a(q, "normflows.ClassCondDiagGaussian"):
        mean, log_scale = q.loc[..., y], q.log_scale[..., y]
    elif is_a(q, "normflows.ConditionalDiagGaussian"):
        assert context is not None
        mean, log_scale = q.context_encoder(context[None])[0].chunk(2, -1)
    elif is_a(q, "normflows.DiagGaussian"):
        mean, log_scale = q.loc, q.log_scale
    elif is_a(q, "normflows.AffineGaussian"):
        number = torch.tensor([y or 0], dtype=torch.long, device="cpu")
        label = () if classes is None else (nn.functional.one_hot(number, classes).to(like),)
        mean = q.transform(like.new_zeros(1, *q.shape), *label)[0]
        log_scale = (q.transform(like.new_ones(1, *q.shape), *label)[0] - mean).log()
    elif is_a(q, "normflows.Uniform"):
        low, high = (edge.to(like).double().expand(q.shape).flatten() for edge in (q.low, q.high))
        return Box(low, high)
    else:
        raise refusal(q)
    return Diagonal.of(mean.expand(1, *q.shape), log_scale.expand(1, *q.shape))


def _refuse(flow: nn.Module) -> None:
    """Raise where a layer cannot be used."""
    for path, _ in (pair for pair in find(flow, "normflows.ActNorm") if not pair[1].data_dep_init_done > 0):
        raise ValueError(
            f"Expected a trained flow; got a fresh ActNorm at {path}, which would take its scale from the first batch. "
            "Load its weights, or run it on training data once."
        )
    for path, layer in find(flow, *RANDOM):
        raise ValueError(f"Expected a flow that draws nothing at random; got a {type(layer).__name__} at {path}.")


def _try(bijection: Layers | Scales, x: Tensor) -> None:
    """Raise where a layer has one direction only, in the library's words."""
    try:
        with torch.no_grad(), quiet():
            z, _ = bijection.forward(x)
            bijection.inverse(z)
    except NotImplementedError as error:
        layers = {type(layer).__name__ for _, layer in find(bijection.flow, *ONE_WAY)}
        raise ValueError(
            f"Expected a flow whose layers go both ways; got {', '.join(sorted(layers)) or 'one'} without an inverse "
            f"({error}). Train it with other layers."
        ) from None
