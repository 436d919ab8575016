"""How exactly a model decodes what it encodes, measured when it is wrapped, on pictures that are always the same.

    exactness      max |decode(encode(x)) - x|, in units of the pixel range, x smooth, black and noise
    latent error   max |f(f^-1(eps)) - eps|, eps one draw of N(0, I): finds inverses that clip without a word, which
                   the first figure cannot see
    batch error    max |encode(x) alone - encode(x) among others|: batch norm in training mode, random estimators
    density error  |log_det - log |det J||, J by autograd, for D up to 64: a good inverse is no proof of a right
                   log-determinant

A model above a bound is refused, unless its user accepts it as inexact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from transflow.checks import check_finite
from transflow.pictures.pixels import PixelFormat

BOUND = 1e-2  # of the pixel range
LATENT_BOUND = 0.1  # standard deviations of the prior; a spline in float32 has up to 3e-3, a clipped search 0.7 to 3
PICTURES = ("smooth", "black", "noise")
LARGEST = 64  # D up to which a Jacobian is made
UNIT = PixelFormat(bits=8, low=0.0, high=1.0)

Source = TypeVar("Source")
Shape = tuple[int, int, int]


def pictures(shape: Shape) -> Tensor:
    """Return the three test pictures, uint8 (3, C, H, W): smooth waves, black, uniform noise."""
    channels, height, width = shape
    across = torch.linspace(0, 2, width, dtype=torch.float64, device="cpu")
    down = torch.linspace(0, 1.5, height, dtype=torch.float64, device="cpu")[:, None]
    phase = torch.arange(channels, dtype=torch.float64, device="cpu")[:, None, None]
    smooth = 127.5 + 100 * torch.sin(2 * across + 3 * down + 0.7 * phase)
    noise = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8, device="cpu")
    return torch.stack([smooth.round().to(torch.uint8), torch.zeros_like(noise), noise])


def exactness(
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    shape: Shape,
    pixels: PixelFormat = UNIT,
) -> float:
    """Return the largest error of decode(encode(x)) on the three test pictures, in units of the pixel range.

    Args:
        encode: uint8 (B, C, H, W) -> latents (B, D).
        decode: latents -> floats (B, C, H, W), black 0 and white 1; best not clamped.
        shape: (C, H, W).
        pixels: what `encode` sees of a picture.

    Raises:
        ValueError: a latent or a decoded picture is not finite; the picture is named.
    """
    return max(_errors(decode(_finite(encode(x := pictures(shape)), "latents")), x, pixels))


def latent_error(forward: Callable[[Tensor], Tensor], inverse: Callable[[Tensor], Tensor], dim: int) -> float:
    """Return the largest error of forward(inverse(eps)) on one fixed standard-normal latent.

    Args:
        forward: the model's floats (1, ...) -> eps (1, D); not rounded to pixels.
        inverse: eps -> floats.
        dim: D.
    """
    eps = normal(dim)
    back = forward(inverse(eps))
    return _largest(back - eps.to(back))


def batch_error(encode: Callable[[Tensor], Tensor], x: Tensor, together: Tensor) -> float:
    """Return how far the latents that pictures have together move when each is encoded alone, the largest of all."""
    return max(_largest(encode(x[i : i + 1]) - together[i : i + 1]) for i in range(len(x)))


def normal(dim: int) -> Tensor:
    """Return the fixed standard-normal latent, (1, D), double."""
    return torch.randn(1, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1), device="cpu")


def checked(source: Source, inexact: bool = False, *, decodes: bool = True) -> Source:
    """Return the source with its `exactness`, after measuring round trips and batch independence.

    Args:
        source: a dataclass with `encode`, `decode`, `shape` and `exactness`; with `pixels`, `decode_unclamped`, and
            `forward` (floats -> (eps, log_det)) and `inverse` (eps -> floats) where it has them.
        inexact: whether errors above the bounds are accepted; values that are not finite never are.
        decodes: False where decoding is too slow to be tried: only the encoder is measured.

    Raises:
        ValueError: an error is above its bound, with the error and the way out.
    """
    model: Any = source
    with torch.no_grad():
        x = pictures(model.shape)
        latents = _finite(model.encode(x), "latents")
        moved = batch_error(model.encode, x, latents)
        if not inexact and not moved <= LATENT_BOUND:
            raise ValueError(
                f"Expected a model that gives a picture the same latent each time, whatever its neighbours; got one "
                f"that moves it by {moved:.2g}. Put it in eval(), or give inexact=True."
            )
        if not decodes:
            return source
        forward, inverse = getattr(model, "forward", None), getattr(model, "inverse", None)
        decode = getattr(model, "decode_unclamped", None) or model.decode
        errors = _errors(decode(latents), x, getattr(model, "pixels", None) or UNIT)
        worst = max(range(len(x)), key=errors.__getitem__)
        if not inexact and not errors[worst] <= BOUND:
            raise ValueError(
                f"Expected a model whose decode undoes its encode to {BOUND} of the pixel range; got an error of "
                f"{errors[worst]:.2g} on the {PICTURES[worst]} test picture. Give the model in double, the pixels= "
                "it was trained on, or inexact=True."
            )
        if forward is not None and inverse is not None:
            error = latent_error(lambda floats: forward(floats)[0], inverse, latents.shape[1])
            if not inexact and not error <= LATENT_BOUND:
                raise ValueError(
                    f"Expected a model whose encode undoes its decode to {LATENT_BOUND} standard deviations; got an "
                    f"error of {error:.2g} on a standard normal latent: its inverse is clipped or not found. "
                    "Give the model in double, or inexact=True."
                )
        return replace(model, exactness=max(errors))


def density_error(source: Any, largest: int = LARGEST) -> float | None:
    """Return the largest |log_det - log |det J|| of a source's `forward` on the test pictures, in nats.

    Args:
        source: with `forward` (floats (B, C, H, W) -> (eps (B, D), log_det (B,))), `shape`, `pixels` and `device`,
            where it has them.
        largest: D up to which a Jacobian is made.

    Returns:
        None where it has no density, no `forward` or shape of its own, more numbers than that, or no gradient.
    """
    forward, shape = getattr(source, "forward", None), getattr(source, "shape", None)
    if forward is None or shape is None or getattr(source, "encode_and_log_prob", None) is None:
        return None
    if math.prod(shape) > largest:
        return None
    pixels, worst = getattr(source, "pixels", None) or UNIT, 0.0
    for x in pixels.centre(pictures(shape)).to(getattr(source, "device", None) or "cpu"):
        with torch.inference_mode(False), torch.enable_grad():
            floats = (
                x[None].double().clone().requires_grad_()
            )  # the model converts; gradients come back as exact as it is
            eps, log_det = forward(floats)
            if not eps.requires_grad:
                return None
            rows = [torch.autograd.grad(number, floats, retain_graph=True)[0].flatten() for number in eps[0]]
        sign, size = torch.linalg.slogdet(torch.stack(rows).double())
        error = abs(log_det[0].double() - size).item()
        worst = max(worst, math.inf if not sign or math.isnan(error) else error)
    return worst


def _errors(decoded: Tensor, x: Tensor, pixels: PixelFormat) -> list[float]:
    seen = pixels.unit_unclamped(pixels.centre(x)).to(decoded)
    return _finite(decoded - seen, "pictures").abs().flatten(1).amax(1).tolist()


def _largest(difference: Tensor) -> float:
    """The largest absolute value; infinite where one is NaN."""
    return math.inf if difference.isnan().any() else difference.abs().max().item()


def _finite(values: Tensor, what: str) -> Tensor:
    hint = "Check that the model is trained, and give the pixels= it was trained on."
    return check_finite(values, what, "the {} test picture", hint, PICTURES)
