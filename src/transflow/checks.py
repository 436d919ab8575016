"""What a model is given and gives, checked where it goes in and comes out: shapes, NaN; a bad picture is named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def check_latents(latents: Any, dim: int) -> Tensor:
    """Return latents if they are finite and (B, D), D = dim.

    Raises:
        ValueError: they are not.
    """
    if not isinstance(latents, Tensor) or latents.ndim != 2 or latents.shape[1] != dim:
        got = tuple(latents.shape) if isinstance(latents, Tensor) else type(latents).__name__
        raise ValueError(f"Expected latents of shape (B, {dim}); got {got}.")
    if not torch.isfinite(latents).all():
        raise ValueError("Expected finite latents; got NaN or infinity.")
    return latents


def check_finite(values: Tensor, what: str, which: str, hint: str, names: Sequence[str] = ()) -> Tensor:
    """Return values (B, ...) if all are finite.

    Args:
        values: what a model gave.
        what: they are, in words.
        which: one row of them is, in words, with {} for its number or name.
        hint: a sentence on the way out.
        names: of the rows, or none.

    Raises:
        ValueError: one is NaN or infinite; the first bad row is named.
    """
    bad = ~values.flatten(1).isfinite().all(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        row = which.format(names[first] if names else first)
        raise ValueError(f"Expected finite {what}; got NaN or infinity from the model for {row}. {hint}")
    return values


def for_each(
    model: str, what: str, values: Any, shape: tuple[int, ...], names: tuple[str, ...], *, infinite: bool = False
) -> Tensor:
    """Return what a model gave for each picture, if it is of the right shape and finite.

    Args:
        model: its name.
        what: what it gave, in words.
        values: that.
        shape: expected, B first.
        names: of the pictures, or none.
        infinite: whether it may be infinite; NaN never.

    Raises:
        ValueError: it is not; the first bad picture is named.
    """
    if not isinstance(values, Tensor) or tuple(values.shape) != shape:
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"Expected {model} to give {what} of shape {shape}; got {got}.")
    bad = (values.isnan() if infinite else ~values.isfinite()).reshape(len(values), math.prod(shape[1:])).any(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        which = names[first] if names else f"picture {first + 1} of {len(values)}"
        kind = ("numbers as", "NaN") if infinite else ("finite", "NaN or infinity")
        raise ValueError(f"Expected {kind[0]} {what} from {model}; got {kind[1]} for {which}.")
    return values


def check_pictures(model: str, pictures: Tensor, shape: tuple[int, int, int], latents: Tensor) -> Tensor:
    """Return the pictures (B, C, H, W) that a model decoded of latents (B, D), if they are finite and of its shape.

    Raises:
        ValueError: they are not; of latents that are far too long arithmetic leaves NaN or infinity.
    """
    if tuple(pictures.shape[1:]) != shape:
        got = tuple(pictures.shape[1:])
        raise ValueError(f"Expected {model} to decode to pictures of its shape, {shape}; got {got}.")
    if not torch.isfinite(pictures).all():
        first = int((~torch.isfinite(pictures)).flatten(1).any(1).nonzero()[0])
        length = latents[first].detach().double().square().mean().sqrt().item()
        raise ValueError(
            f"Expected finite pictures from {model}; got NaN or infinity in {first + 1} of {len(pictures)}, of a "
            f"latent whose |z| / sqrt(D) is {length:.2g}. Decode shorter latents, or draw at a lower temperature."
        )
    return pictures
