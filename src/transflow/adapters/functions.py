"""Two functions as a model: encode(x) and decode(z) of any framework, in torch or through numpy arrays.

    pictures, uint8 --pixels--> x --encode--> z, or a list of z --flatten, standardise--> eps ~ N(0, I)

A Gaussian base N(m, diag s^2) of the latents, learned or one a level, is taken out: eps = (z - m) / s. The density,
where a function gives it, is the user's own of x, brought to the unit range: log p(u) = log p(x) + log |det dx/du|.
Encoding adds no dequantisation noise. A base that depends on coarser levels is standardised in the functions: encode
returns (z - m) / s, and decode undoes it.

Modules and their bound methods are copied, in eval mode; what other functions use is used as it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from transflow.adapters import measure, modules
from transflow.adapters.calls import CallingSource, Functions, still_functions
from transflow.adapters.flow import HIDDEN, UNIT, of_shape
from transflow.adapters.whiten import Base, Diagonal, Levels, base_of
from transflow.pictures.pixels import PixelFormat


@dataclass(frozen=True, eq=False)
class FunctionSource(CallingSource):
    """Two functions as a source; it pickles if they do."""

    bijection: Functions

    @property
    def called(self) -> dict[str, Any]:
        """What is called, by its role."""
        return {"encode": self.bijection.encode, "decode": self.bijection.decode, "log_prob": self.bijection.density}


@dataclass(frozen=True, eq=False)
class FunctionDensitySource(FunctionSource):
    """Two functions and a third, the density of pictures."""

    @torch.no_grad()
    def encode_and_log_prob(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `encode` does, and the log density (B,) of the pictures in the unit range, nats, double."""
        x, eps, _ = self._encode(pictures)
        if not len(x):
            return eps.to(self.like), eps.new_empty(0, dtype=torch.float64)
        return eps.to(self.like), self.bijection.log_prob(x) + self.pixels.log_det(x)


def adapt(
    encode: Callable[[Any], Any],
    decode: Callable[[Any], Any],
    shape: tuple[int, int, int],
    *,
    log_prob: Callable[[Any], Any] | None = None,
    base: Any = None,
    pixels: PixelFormat = UNIT,
    arrays: bool = False,
    module: Any = None,
    inexact: bool = False,
) -> FunctionSource:
    """Return two functions as a source.

    Args:
        encode: floats x (B, C, H, W) -> latents (B, ...), or a list or tuple of them, in which case they are flattened
            in their order and `decode` is given them in the same form.
        decode: latents -> floats, (B, C, H, W) or of as many numbers in that order.
        shape: (C, H, W).
        log_prob: x -> log density of x, (B,), in nats, all constants included.
        base: of the latents, if not N(0, I): (mean, standard deviation), each a number or a tensor that broadcasts to
            a latent; a Gaussian or uniform `torch.distributions` distribution; a list of such, one a part.
        pixels: how pictures become x; by default 8 bits in [0, 1].
        arrays: whether the functions take numpy arrays, as JAX's do, instead of tensors; what they give may be either.
        module: what the functions are made of, for the fingerprint, dtype and device: a module, or a tuple of modules,
            tensors and plain values such as a class. Not needed where the functions are modules or methods of one.
        inexact: whether round trips above the bounds of `measure` are accepted.

    Raises:
        ValueError: results of other forms or sizes, a base that is none of those, a module in training mode, a round
            trip above the bounds.
    """
    shape = of_shape(shape)
    for function in (encode, decode, *([log_prob] if log_prob else [])):
        if not callable(function):
            raise ValueError(f"Expected functions encode and decode; got {type(function).__name__}.")
    (encode, decode, log_prob), module, like = still_functions((encode, decode, log_prob), module)
    found = Functions(encode, decode, log_prob, shape, (), Tensor, arrays, like)
    with torch.no_grad():
        found = found.measured(pixels.centre(torch.zeros(1, *shape, dtype=torch.uint8, device="cpu")).to(like))
    standard = _base(base, found.parts, like.device)
    lacks = {"features": HIDDEN}
    if log_prob is None:
        lacks["score"] = "no log_prob= was given with its functions"
    if (sizes := _finest_first(found.parts)) is None:
        lacks["levels"] = "its latents are not a list of levels, finest first"
    identity = None
    if module is None:
        lacks["fingerprint"] = "no module= was given with its functions"
    else:
        numbers = _numbers(standard) if base is not None else {}
        identity = modules.fingerprint("functions", module, {"pixels": pixels, "shape": shape}, **numbers)
    source = (FunctionSource if log_prob is None else FunctionDensitySource)(
        bijection=found,
        base=standard,
        shape=shape,
        pixels=pixels,
        like=like,
        fingerprint=identity,
        card={"family": "functions", "notes": [standard.note] if standard.note else []},
        lacks=lacks,
        level_sizes=sizes,
    )
    return measure.checked(source, inexact)


def _base(given: Any, parts: Sequence[tuple[int, ...]], device: torch.device) -> Base:
    """The base over the flattened parts, of the forms that `adapt` takes."""
    if given is None:
        return Diagonal.standard(sum(map(math.prod, parts)), device)
    if _is_one(given):
        given = [given]
    if not isinstance(given, (list, tuple)) or len(given) != len(parts):
        got = f"{len(given)} for {len(parts)} latents" if isinstance(given, (list, tuple)) else type(given).__name__
        raise ValueError(
            f"Expected as base (mean, standard deviation), a distribution, or a list of such, one a latent; got {got}."
        )
    bases = [_one(part, shape, device) for part, shape in zip(given, parts, strict=True)]
    return bases[0] if len(bases) == 1 else Levels(tuple(bases))


def _is_one(given: Any) -> bool:
    """Whether a base is for one latent: a distribution, or a pair of numbers, tensors or arrays."""
    if isinstance(given, (list, tuple)):
        return len(given) == 2 and not any(isinstance(p, (list, tuple, Distribution)) for p in given)
    return isinstance(given, Distribution)


def _one(given: Any, shape: tuple[int, ...], device: torch.device) -> Base:
    """The base of one latent of a shape."""
    if isinstance(given, Distribution):
        base = base_of(given)
        if base.dim != math.prod(shape):
            raise ValueError(f"Expected a base over a latent of shape {shape}; got one over {base.dim} numbers.")
        return base
    try:
        mean, scale = (torch.as_tensor(part, dtype=torch.float64, device=device).detach() for part in given)
        mean, scale = (part[0] if part.ndim > len(shape) and len(part) == 1 else part for part in (mean, scale))
        mean, scale = mean.expand(shape), scale.expand(shape)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"Expected as base a mean and a standard deviation that broadcast to a latent of shape {shape}; got others "
            f"({str(error).splitlines()[0]})."
        ) from None
    if not ((scale > 0) & scale.isfinite() & mean.isfinite()).all():
        raise ValueError("Expected a base of finite means and positive standard deviations; got others.")
    return Diagonal.of(mean, scale.log())


def _numbers(base: Base) -> dict[str, Tensor]:
    """The tensors of a base by name."""
    bases = base.bases if isinstance(base, Levels) else (base,)
    return {f"base.{i}.{name}": tensor for i, one in enumerate(bases) for name, tensor in vars(one).items()}


def _finest_first(parts: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The sizes of latents that are maps (c, h, w) of falling resolution; None for others."""
    areas = [math.prod(part[1:]) for part in parts]
    falling = all(a > b for a, b in itertools.pairwise(areas))
    return tuple(map(math.prod, parts)) if len(parts) > 1 and falling and {len(p) for p in parts} == {3} else None
