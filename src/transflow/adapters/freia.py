"""FrEIA: `SequenceINN`, `GraphINN`, or any single `InvertibleModule`.

A FrEIA net is a bijection without a base: N(0, I) is assumed, as nearly all who train them do, and the card says so.
Known traps, handled here:

- a graph with several outputs has a tuple of latents, a single block always; they are flattened in the order of the
  outputs;
- the log-determinant of a volume-preserving net is the float 0.0;
- a fresh `ActNorm` takes its scale from whatever batch comes first: refused;
- `IResNetLayer` estimates its log-determinant at random: no density;
- `AllInOneBlock` keeps its permutation and the inverse as two frozen parameters: averaging or noise over `parameters()`
  breaks the inverse, which the round trip at wrap time finds;
- its coupling blocks hold lambdas, and so do not pickle.

Reference: https://github.com/vislearn/FrEIA
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transflow.adapters import measure
from transflow.adapters.flow import HIDDEN, NO_DENSITY, UNIT, DensitySource, FlowSource, event, of_shape
from transflow.adapters.modules import find, fingerprint, is_a, place, still
from transflow.adapters.whiten import Diagonal, flatten, shapes, split
from transflow.pictures.pixels import PixelFormat

EXTRA = "FrEIA"
ASSUMED = "its base is assumed: FrEIA has none, and latents are taken to be standard normal"


@dataclass(frozen=True)
class Net:
    """A net at one condition.

    Attributes:
        net: the module.
        event: the shape it takes, (C, H, W) or (D,).
        latents: the shapes of its latents; empty before they are known.
        conditions: each (1, ...).
        exact: whether its log-determinant is.
    """

    net: Any
    event: tuple[int, ...]
    latents: tuple[tuple[int, ...], ...]
    conditions: tuple[Tensor, ...]
    exact: bool

    def raw(self, x: Tensor) -> tuple[Tensor | Sequence[Tensor], Any]:
        """Return the library's latents and log-determinant."""
        return self._run([x.reshape(-1, *self.event).clone()], False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return z and log |det dz/dx|."""
        latents, log_det = self.raw(x)
        z = flatten(latents)
        return z, torch.as_tensor(log_det, dtype=z.dtype, device=z.device).expand(len(z)) if self.exact else None

    def inverse(self, z: Tensor) -> Tensor:
        """Return x of z."""
        x, _ = self._run(split(z, self.latents), True)
        return x if isinstance(x, Tensor) else x[0]

    def _run(self, values: list[Tensor], rev: bool) -> tuple[Tensor | Sequence[Tensor], Any]:
        size = len(values[0])
        given = [condition.expand(size, *condition.shape[1:]) for condition in self.conditions]
        options: dict[str, Any] = {"c": given} if given else {}
        if is_a(self.net, "FrEIA.SequenceINN") and not self.exact:  # its sum of log-determinants takes no None
            for i in reversed(range(len(self.net))) if rev else range(len(self.net)):
                which = self.net.conditions[i]
                values = self.net[i](values, rev=rev, jac=False, **({} if which is None else {"c": [given[which]]}))[0]
            return values, None
        single = len(values) == 1 and is_a(self.net, "FrEIA.SequenceINN")
        return self.net(values[0] if single else tuple(values), rev=rev, jac=self.exact, **options)


def adapt(
    flow: Any,
    shape: tuple[int, int, int],
    *,
    pixels: PixelFormat = UNIT,
    context: Tensor | Sequence[Tensor] | None = None,
    inexact: bool = False,
) -> FlowSource:
    """Return a FrEIA net as a source, whose latents are taken to be N(0, I).

    Args:
        flow: the module, over pictures (C, H, W) or vectors of C H W numbers.
        shape: (C, H, W).
        pixels: the floats that the net was trained on; by default 8 bits in [0, 1].
        context: the condition of a conditional net, or several, each without a batch; held.
        inexact: whether round trips above the bounds of `measure` are accepted.

    Raises:
        ValueError: several inputs, a fresh layer, a mixture, a missing condition, another size, a round trip above the
            bounds.
    """
    shape = of_shape(shape)
    _refuse(flow)
    copied = still(flow)
    like = place(copied)
    given = () if context is None else (context,) if isinstance(context, Tensor) else tuple(context)
    conditions = tuple(condition.detach().to(like)[None] for condition in given)
    wanted = _conditions(copied)
    if len(conditions) != wanted:
        raise ValueError(f"Expected {wanted} conditions of a FrEIA net; got {len(conditions)}. Give context=.")
    exact = not find(copied, "FrEIA.IResNetLayer")
    first = Net(copied, event(shape, tuple(copied.dims_in[0]), "FrEIA"), (), conditions, exact)
    with torch.no_grad():
        latents, _ = first.raw(like.new_full((1, *shape), (pixels.low + pixels.high) / 2))
    bijection = Net(copied, first.event, shapes(latents), conditions, exact)
    source = (DensitySource if exact else FlowSource)(
        bijection=bijection,
        base=Diagonal.standard(math.prod(shape), like.device),
        shape=shape,
        pixels=pixels,
        like=like,
        fingerprint=fingerprint(
            "freia", copied, {"pixels": pixels, "shape": shape}, **{f"c{i}": c for i, c in enumerate(conditions)}
        ),
        card={"family": "freia", "class": type(flow).__name__, "notes": [ASSUMED]},
        lacks={"features": HIDDEN} if exact else {"features": HIDDEN, "score": NO_DENSITY},
    )
    return measure.checked(source, inexact)


def _conditions(net: Any) -> int:
    """How many conditions a net takes."""
    if is_a(net, "FrEIA.SequenceINN"):
        return 1 + max((index for index in net.conditions if index is not None), default=-1)
    return len(net.dims_c)


def _refuse(net: Any) -> None:
    """Raise where a net cannot be used."""
    fresh = [path for path, layer in find(net, "FrEIA.ActNorm") if layer.init_on_next_batch]
    if fresh:
        raise ValueError(
            f"Expected a trained net; got a fresh ActNorm at {fresh[0]}, which would take its scale from the first "
            "batch. Load its weights, or run it on training data once."
        )
    if find(net, "FrEIA.GaussianMixtureModel"):
        raise ValueError("Expected a net that draws nothing at random; got a GaussianMixtureModel in it.")
    if len(net.dims_in) != 1:
        raise ValueError(f"Expected a FrEIA net with one input; got one with {len(net.dims_in)}.")
