"""zuko: `zuko.flows.NSF(features=D)` and every other `zuko.Flow`, or the distribution that it builds.

Its transform maps x to z, vectors only: a picture is x.flatten(1). Known traps, handled here:

- GF and SOSPF search their inverse in [-10, 10] and clip what lies outside without a word: a standard normal latent is
  tried at wrap time, and the error stated.
- MAF and NSF are autoregressive unless `passes=2`: decoding costs D passes of the network; from 1,000 on it is not
  tried at wrap time, with a warning.
- NCSF lives on the box [-pi, pi) with a uniform base: it runs in double, pixels outside are refused.
- CNF without `exact` estimates its log-determinant at random: no density.
- `import zuko` switches the argument checks of torch.distributions off for the whole process; nothing here imports it.

Reference: https://zuko.readthedocs.io
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transflow.adapters import measure
from transflow.adapters.flow import HIDDEN, UNIT, UNMEASURED, DensitySource, FlowSource, of_shape, slow
from transflow.adapters.modules import find, fingerprint, is_a, place, still
from transflow.adapters.whiten import Box, base_of
from transflow.pictures.pixels import PixelFormat

EXTRA = "zuko"
SEARCH, QUADRATURE = 5, 50  # how many passes one step of a bisection is worth, and of one over an integral


@dataclass(frozen=True)
class Vectors:
    """The transform of a zuko flow at one context.

    Attributes:
        flow: a `zuko.Flow`, or a `zuko.NormalizingFlow` that has its context already.
        context: (k,), or None.
        exact: whether its log-determinant is.
    """

    flow: Any
    context: Tensor | None
    exact: bool

    def built(self) -> Any:
        """The distribution."""
        return self.flow(self.context) if isinstance(self.flow, nn.Module) else self.flow

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return z and log |det dz/dx|."""
        if not self.exact:
            return self.built().transform(x.flatten(1)), None
        z, log_det = self.built().transform.call_and_ladj(x.flatten(1))
        return z, log_det.flatten(1).sum(1) if log_det.ndim > 1 else log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return x of z."""
        return self.built().transform.inv(z)


def adapt(
    flow: Any,
    shape: tuple[int, int, int],
    *,
    pixels: PixelFormat = UNIT,
    context: Tensor | None = None,
    inexact: bool = False,
) -> FlowSource:
    """Return a zuko flow as a source.

    Args:
        flow: a `zuko.Flow` over D = C H W features, or a `zuko.NormalizingFlow`.
        shape: (C, H, W).
        pixels: the floats that the flow was trained on; by default 8 bits in [0, 1].
        context: of a conditional flow, (k,); one latent space each, so it is held.
        inexact: whether round trips above the bounds of `measure` are accepted.

    Raises:
        ValueError: another size, a missing context, a base that is neither Gaussian nor uniform, a round trip above
            the bounds.
    """
    shape = of_shape(shape)
    dim = math.prod(shape)
    module = isinstance(flow, nn.Module)
    boxed = is_a(flow, "zuko.NCSF")
    copied = still(flow, double=boxed)
    like = place(copied) if module else _place(copied)
    if context is not None:
        if not module:
            raise ValueError("Expected a zuko.Flow with a context; got a distribution, which has its own already.")
        context = context.detach().to(like).flatten()
    exact = not module or all(layer.exact for _, layer in find(copied, "zuko.FFJTransform"))
    bijection = Vectors(copied, context, exact)
    with torch.no_grad():
        base = base_of(_base(bijection))
        if base.dim != dim:
            raise ValueError(
                f"Expected a zuko flow over {dim} numbers for pictures of {shape}; got one over {base.dim}."
            )
        _try(bijection, like.new_full((1, dim), (pixels.low + pixels.high) / 2))
    if boxed and isinstance(base, Box) and (pixels.logit or max(-pixels.low, pixels.high) > math.pi):
        raise ValueError(
            "Expected pixels in [-pi, pi), the box of a zuko NCSF, which wraps what lies outside; "
            f"got {'a logit' if pixels.logit else f'{pixels.low} to {pixels.high}'}."
        )
    notes = [base.note] if base.note else []
    lacks = {"features": HIDDEN}
    passes = _passes(copied) if module else 0
    if text := slow(passes, "decoding", "A zuko flow built with passes=2 (coupling) decodes in two."):
        lacks["exactness"] = UNMEASURED
        notes.append(text)
    identity = None
    if module:
        options = {"pixels": pixels, "shape": shape}
        identity = fingerprint("zuko", copied, options, context=context)
    else:
        lacks["fingerprint"] = "a distribution has no weights by name; give the zuko.Flow"
    if not exact:
        lacks["score"] = "its log-determinant is estimated at random (exact=False)"
    source = (DensitySource if exact else FlowSource)(
        bijection=bijection,
        base=base,
        shape=shape,
        pixels=pixels,
        like=like,
        fingerprint=identity,
        card={"family": "zuko", "class": type(flow).__name__, "notes": notes},
        lacks=lacks,
    )
    return measure.checked(source, inexact, decodes=not text)


def _base(bijection: Vectors) -> Any:
    """The base distribution, one latent of which is a vector."""
    try:
        base = bijection.built().base
    except (RuntimeError, TypeError, AttributeError) as error:
        raise _context(bijection, error) from None
    return base


def _try(bijection: Vectors, x: Tensor) -> None:
    try:
        bijection.forward(x)
    except RuntimeError as error:
        raise _context(bijection, error) from None


def _context(bijection: Vectors, error: Exception) -> ValueError:
    got = "none" if bijection.context is None else f"{len(bijection.context)} numbers"
    reason = str(error).splitlines()[0]
    return ValueError(f"Expected the context of a conditional zuko flow; got {got} ({reason}). Give context=.")


def _passes(flow: nn.Module) -> int:
    """How many passes of its networks a decoding is worth, about."""
    total = 0
    for _, layer in find(flow, "zuko.MaskedAutoregressiveTransform"):
        worth = 1
        if is_a(layer.univariate, "zuko.UMNN"):
            worth = QUADRATURE
        elif is_a(layer.univariate, "zuko.MNN") or is_a(flow, "zuko.SOSPF") or is_a(flow, "zuko.BPF"):
            worth = SEARCH
        total += worth * layer.passes
    return total


def _place(distribution: Any) -> Tensor:
    """An empty tensor of the dtype and device of a distribution's base."""
    base = distribution.base
    while hasattr(base, "base_dist"):
        base = base.base_dist
    values = (value for value in vars(base).values() if isinstance(value, Tensor))
    return next(values, torch.empty(0, dtype=torch.float32, device="cpu")).detach().new_empty(0)
