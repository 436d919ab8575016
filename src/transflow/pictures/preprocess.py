"""Pictures as tensors: one rule that fits any picture to a model.

The rule, for a model of C channels and size S x S (`preprocess`):

1. transparency is laid over white; 16-bit and 32-bit grey keep their upper 8 bits; a GIF gives its first
   frame; EXIF rotation is applied;
2. a picture that is not square and larger than S is cropped to its central square;
3. larger pictures are resized by area averaging (Pillow's BOX, an antialiasing filter, as in the
   downsampled ImageNet of Chrabaszcz et al. 2017, arXiv 1707.08819); pictures with both sides
   at most S/2 are enlarged (bicubic) until the longer side is S;
4. what is still smaller is padded with black, centred (28x28 in 32x32: two pixels each side);
5. grey becomes RGB by repeating it, RGB becomes grey by luma (ITU-R 601).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias, Union

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

Array: TypeAlias = NDArray[np.generic]
PictureLike: TypeAlias = Union[Tensor, Array, Image.Image, Sequence[Image.Image]]
BATCH = 64  # pictures that a model is given at a time: bounds memory, changes nothing else


def to_rgb_or_grey(picture: Image.Image) -> Image.Image:
    """Return a picture of any mode as 8-bit RGB, or grey (mode L) if it is grey; upright, opaque."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
        values = np.asarray(picture, dtype=np.float64)
        if picture.mode == "F":
            values = np.nan_to_num(values)
            values = values * (255 if values.size and values.max() <= 1 else 1)
        elif picture.mode.startswith("I;16") or (values.size and values.max() > 255):
            values = np.floor(values / 2 ** max(8, int(values.max(initial=0)).bit_length() - 8))
        return Image.fromarray(values.clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        grey = picture.mode in ("LA", "La")
        picture = picture.convert("RGBA")
        backdrop = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(backdrop, picture).convert("L" if grey else "RGB")
    if picture.mode in ("1", "L"):
        return picture.convert("L")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def preprocess_one(picture: Image.Image, channels: int, size: int) -> NDArray[np.uint8]:
    """Return one picture fitted to a model by the rule above: uint8, shape (C, S, S)."""
    picture = to_rgb_or_grey(picture)
    wide, high = picture.size
    if max(wide, high) > size and wide != high:
        side = min(wide, high)
        left, top = (wide - side) // 2, (high - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    longest = max(picture.size)
    if longest > size:
        picture = picture.resize((size, size), Image.Resampling.BOX)
    elif 2 * longest <= size:
        wide, high = (max(1, round(side * size / longest)) for side in picture.size)
        picture = picture.resize((wide, high), Image.Resampling.BICUBIC)
    if picture.size != (size, size):
        backdrop = Image.new(picture.mode, (size, size))
        backdrop.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
        picture = backdrop
    pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def preprocess(pictures: PictureLike, channels: int, size: int) -> Tensor:
    """Return pictures fitted to a model by the rule above.

    Args:
        pictures: a uint8 tensor (B, C, H, W); a uint8 array (B, H, W) or (B, H, W, C); a PIL
            picture, or a sequence of them.
        channels: C of the model, 1 or 3.
        size: S of the model, in pixels.

    Returns:
        uint8 tensor of shape (B, C, S, S).

    Raises:
        TypeError, ValueError: what came is none of these; the message says what was expected.

    >>> preprocess(np.zeros((5, 28, 28), dtype=np.uint8), channels=3, size=32).shape
    torch.Size([5, 3, 32, 32])
    """
    if isinstance(pictures, Image.Image):
        pictures = [pictures]
    if isinstance(pictures, Tensor):
        batch = _checked(
            pictures.detach().cpu().numpy(), "tensor", "(B, C, H, W)", pictures.ndim == 4, pictures.shape[1:2]
        )
        if batch.shape[1:] == (channels, size, size):
            return torch.from_numpy(batch).clone()
        batch = batch.transpose(0, 2, 3, 1)
    elif isinstance(pictures, np.ndarray):
        if pictures.ndim == 3 and pictures.shape[2] in (3, 4) and pictures.shape[1] > 4:
            raise ValueError(f"Expected pictures (B, H, W, C); got one alone, {pictures.shape}. Say picture[None].")
        fine = pictures.ndim == 3 or pictures.ndim == 4
        batch = _checked(pictures, "array", "(B, H, W) or (B, H, W, C)", fine, pictures.shape[3:4])
    elif isinstance(pictures, Sequence) and not isinstance(pictures, str):
        wrong = [type(p).__name__ for p in pictures if not isinstance(p, Image.Image)]
        if wrong:
            raise TypeError(f"Expected a list of PIL pictures; got a list with {wrong[0]}.")
        return _stack((preprocess_one(p, channels, size) for p in pictures), channels, size)
    else:
        raise TypeError(
            f"Expected pictures as a uint8 tensor, a uint8 array or a list of PIL; got {type(pictures).__name__}."
        )
    if batch.ndim == 4 and batch.shape[3] == 1:
        batch = batch[..., 0]
    return _stack(
        (preprocess_one(Image.fromarray(np.ascontiguousarray(p)), channels, size) for p in batch), channels, size
    )


def _checked(batch: Array, what: str, shapes: str, fine: bool, channel_axis: Sequence[int]) -> Array:
    if not fine or any(c not in (1, 3, 4) for c in channel_axis) or 0 in batch.shape[1:]:
        raise ValueError(f"Expected a {what} of pictures of shape {shapes}, C of 1, 3 or 4; got {tuple(batch.shape)}.")
    if batch.dtype != np.uint8:
        hint = ""
        if batch.dtype.kind == "f":
            hint = " with NaN" if np.isnan(batch).any() else ""
            hint += ". For pictures in [0, 1]: (255 * x).round() as uint8"
        raise TypeError(f"Expected a {what} of uint8 pixels, 0 to 255; got {batch.dtype}{hint}.")
    return batch


def _stack(pictures: Iterable[NDArray[np.uint8]], channels: int, size: int) -> Tensor:
    fitted = list(pictures)
    if not fitted:
        return torch.zeros(0, channels, size, size, dtype=torch.uint8)
    return torch.from_numpy(np.stack(fitted))


def greyscale(pictures: Tensor) -> Tensor:
    """Return uint8 RGB pictures (B, 3, H, W) without colour, by luma, still of three channels."""
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    luma = (pictures.float() * weights).sum(1, keepdim=True).round().to(torch.uint8)
    return luma.expand(-1, 3, -1, -1).contiguous()
