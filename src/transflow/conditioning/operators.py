"""What is known of a picture, y = A(x): some of its pixels, its grey, its small copy, or any function of it.

    Known       the pixels of a mask
    Grey        luma, 0.299 R + 0.587 G + 0.114 B (ITU-R 601)
    Smaller     averages of f x f pixels

An operator takes pictures (B, C, H, W), floats in which black is 0 and white 1, some beyond, to floats (B, ...) in the
same units, each picture for itself and with gradients. Any function that does so may be given in place of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.pictures.decode import read

Operator: TypeAlias = Callable[[Tensor], Tensor]
SIDES = ("left", "right", "top", "bottom")


@dataclass(frozen=True, eq=False)
class Known:
    """The pixels of a mask.

    Attributes:
        mask: (H, W), bool, true where a pixel is known, in all its channels.
    """

    mask: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the known numbers (B, C, K) of pictures (B, C, H, W)."""
        return x[..., self.mask.to(x.device)]

    @classmethod
    def without_half(cls, side: str, height: int, width: int) -> Known:
        """Return the mask of pictures of which one half is not known: the "left", "right", "top" or "bottom" one."""
        if side not in SIDES:
            raise ValueError(f"Expected one of {', '.join(SIDES)}; got {side}.")
        down, across = torch.arange(height, device="cpu")[:, None], torch.arange(width, device="cpu")[None]
        hidden = {
            "left": across < width // 2,
            "right": across >= width - width // 2,
            "top": down < height // 2,
            "bottom": down >= height - height // 2,
        }[side]
        return cls(~hidden.expand(height, width))


@dataclass(frozen=True)
class Grey:
    """Luma of pictures of three channels: the colours are not known."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return luma (B, 1, H, W) of pictures (B, 3, H, W)."""
        if x.shape[1] != 3:
            raise ValueError(f"Expected pictures of three channels to make grey; got {x.shape[1]}.")
        return (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


@dataclass(frozen=True)
class Smaller:
    """Averages of f x f pixels: a small picture, to be enlarged.

    Attributes:
        factor: f.
    """

    factor: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return pictures (B, C, H / f, W / f)."""
        return F.avg_pool2d(x, self.factor)

    def shape(self, model: BaseModel) -> tuple[int, int, int]:
        """Return the shape of a small picture of a model's.

        Raises:
            ValueError: f does not divide the sides.
        """
        channels, height, width = model.shape
        if self.factor < 2 or height % self.factor or width % self.factor:
            raise ValueError(
                f"Expected a factor of 2 or more that divides {height} and {width}; got {self.factor} to enlarge by."
            )
        return channels, height // self.factor, width // self.factor


def least_factor(size: tuple[int, int], shape: tuple[int, int, int], factor: int = 0) -> Smaller:
    """Return the operator of a small picture, to be enlarged to a model's shape.

    Args:
        size: width and height of the picture.
        shape: (C, H, W) of the model.
        factor: f; 0 for the least that divides the sides and makes them no larger than the picture.

    Raises:
        ValueError: the picture is as large as the model's, and there is no factor.
    """
    _, height, width = shape
    if factor:
        return Smaller(factor)
    if size[0] >= width and size[1] >= height:
        raise ValueError(
            f"Expected a picture smaller than {width} x {height} to enlarge; got {size[0]} x {size[1]}. Give a factor, "
            "by which it is made smaller first."
        )
    fitting = (f for f in range(2, min(height, width) + 1) if not height % f and not width % f)
    found = next((f for f in fitting if width // f <= size[0] and height // f <= size[1]), None)
    if found is None:
        raise ValueError(
            f"Expected a picture of more pixels to enlarge to {width} x {height}; got {size[0]} x {size[1]}."
        )
    return Smaller(found)


def as_operator(known: Any, model: BaseModel) -> Operator:
    """Return what is known as an operator.

    Args:
        known: an operator; or a mask (H, W), true, or 1, where a pixel is known, as a tensor or an array.
        model: whose pictures are completed.

    Raises:
        ValueError: a mask of another size, or one of nothing, or of everything.
        TypeError: neither a mask nor a function.
    """
    if isinstance(known, (Tensor, np.ndarray)):
        known = Known(known.clone() if isinstance(known, Tensor) else torch.from_numpy(np.array(known)))
    if not isinstance(known, Known):
        if not callable(known):
            raise TypeError(f"Expected a mask (H, W), or a function of pictures; got {type(known).__name__}.")
        return known
    mask, (_, height, width) = known.mask, model.shape
    if tuple(mask.shape) != (height, width):
        raise ValueError(
            f"Expected a mask of the model's height and width, ({height}, {width}); got {tuple(mask.shape)}. "
            "pictures.masks.read_mask brings a mask as large as the picture to it."
        )
    if mask.dtype != torch.bool:
        if not ((mask == 0) | (mask == 1)).all():
            raise ValueError("Expected a mask of true and false, or 1 and 0; got other numbers.")
        mask = mask == 1
    if not mask.any():
        raise ValueError("Expected a mask with known pixels; got one with none. Draw from the model with sample.")
    if mask.all():
        raise ValueError("Expected a mask with unknown pixels; got one where all are known: nothing is to complete.")
    return Known(mask)


def observe(picture: Any, operator: Operator, model: BaseModel) -> Tensor:
    """Return what is known of one picture, y = A(x), (1, ...), float32, of 8 bits a pixel whatever the model's.

    Args:
        picture: one picture, as `Model.encode` takes them; for `Smaller`, of any size, and made small.
        operator: A.
        model: whose pictures are completed.

    Raises:
        ValueError: none or several pictures, an operator that does not fit, or gives NaN.
    """
    small = isinstance(operator, Smaller)
    shape = operator.shape(model) if isinstance(operator, Smaller) else model.shape
    pixels = read(picture, shape).pixels
    if len(pixels) != 1:
        raise ValueError(f"Expected one picture to complete; got {len(pixels)}. Complete them one by one.")
    eight = replace(model.pixels, bits=8)
    x = eight.unit(eight.centre(pixels)).float()
    return x if small else apply(operator, x)


def shown(operator: Operator, y: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return what is known as a picture (1, C, H, W) of a model's shape: unknown pixels grey, a small picture enlarged.

    Raises:
        TypeError: the operator is another function, whose numbers are no picture.
    """
    if isinstance(operator, Known):
        picture = torch.full((1, *shape), 0.5, dtype=y.dtype, device="cpu")
        picture[..., operator.mask] = y.cpu()
        return picture
    if isinstance(operator, Grey):
        return y.cpu().expand(1, *shape)
    if isinstance(operator, Smaller):
        return F.interpolate(y.cpu(), scale_factor=operator.factor)
    raise TypeError(f"Expected an operator whose numbers are a picture; got {type(operator).__name__}.")


def apply(operator: Operator, x: Tensor) -> Tensor:
    """Return A(x), (B, ...), of pictures (B, C, H, W), checked.

    Raises:
        ValueError: the operator fails on them, or gives other than finite floats, B of them.
    """
    try:
        y = operator(x)
    except (RuntimeError, IndexError) as error:
        words = " ".join(str(error).split())[:200]
        raise ValueError(
            f"Expected an operator of pictures {tuple(x.shape)}; got an error from it: {words}."
        ) from error
    if not isinstance(y, Tensor) or not y.is_floating_point() or y.shape[:1] != x.shape[:1] or not y[:1].numel():
        got = f"{tuple(y.shape)}, {str(y.dtype)[6:]}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"Expected an operator from pictures (B, C, H, W) to floats (B, ...); got {got}.")
    if not y.isfinite().all():
        raise ValueError("Expected finite numbers from the operator; got NaN or infinity.")
    return y
