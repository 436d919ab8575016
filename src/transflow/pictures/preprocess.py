"""Pictures as tensors: one rule that brings any picture to a model's shape.

The rule, for a model of C channels, H pixels high and W wide (`preprocess`):

1. transparency is laid over white; more than 8 bits a value become 8 by the range that the file or its type states
   (see `deep`); a GIF gives its first frame; EXIF rotation is applied;
2. a picture larger than the model, in height or width, and of other proportions is cropped to its largest central
   rectangle of the model's;
3. larger pictures are resized by area averaging (Pillow's BOX, an antialiasing filter, as in the
   downsampled ImageNet of Chrabaszcz et al. 2017, arXiv 1707.08819); pictures of at most half the model's height
   and width are enlarged (bicubic) until one of the two is reached;
4. what is still smaller is padded with black, centred (28x28 in 32x32: two pixels each side);
5. grey becomes RGB by repeating it, RGB becomes grey by luma (ITU-R 601).

A model of another number of channels takes uint8 tensors of its own shape alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeAlias, Union

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from transflow.pictures.deep import Deep, note_once, to_uint8

Array: TypeAlias = NDArray[np.generic]
PictureLike: TypeAlias = Union[Tensor, Array, Image.Image, Sequence[Image.Image]]
Shape: TypeAlias = tuple[int, int, int]  # channels, height and width
A = {"tensor": "a", "array": "an"}
ORIENTATION = 0x0112  # of EXIF
BATCH = 64  # pictures that a model is given at a time: bounds memory, changes nothing else


def to_rgb_or_grey(picture: Image.Image) -> Image.Image:
    """Return a picture of any mode as 8-bit RGB, or grey (mode L) if it is grey; upright, opaque."""
    return eight_bits(picture)[0]


def eight_bits(picture: Image.Image) -> tuple[Image.Image, str]:
    """Return what `to_rgb_or_grey` does, and what is to be noted of a deep picture (see `deep`), or ""."""
    how = Deep.of(picture)  # before it is decoded and turned, when it does not know any more
    picture.load()
    with suppress(Exception):  # of odd EXIF, in which the orientation cannot be read: then it is as it is
        if picture.getexif().get(ORIENTATION, 1) != 1:  # else it is copied for nothing
            picture = ImageOps.exif_transpose(picture)
    picture, noted = how.eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        grey = picture.mode in ("LA", "La")
        picture = picture.convert("RGBA")
        backdrop = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(backdrop, picture).convert("L" if grey else "RGB")
    if picture.mode in ("1", "L"):
        return picture.convert("L"), noted
    return picture if picture.mode == "RGB" else picture.convert("RGB"), noted


def preprocess_one(picture: Image.Image, shape: Shape) -> NDArray[np.uint8]:
    """Return one picture of a model's shape (C, H, W), C of 1 or 3, by the rule above: uint8."""
    return to_shape(to_rgb_or_grey(picture), shape)


def to_shape(picture: Image.Image, shape: Shape) -> NDArray[np.uint8]:
    """Return what `preprocess_one` does, of a picture that is RGB or grey, upright and opaque."""
    channels, height, width = shape
    wide, high = picture.size
    if (wide > width or high > height) and wide * height != high * width:
        scale = min(wide / width, high / height)
        across, down = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (wide - across) // 2, (high - down) // 2
        picture = picture.crop((left, top, left + across, top + down))
        wide, high = picture.size
    if wide > width or high > height:
        picture = picture.resize((width, height), Image.Resampling.BOX)
    elif 2 * wide <= width and 2 * high <= height:
        scale = min(width / wide, height / high)
        across, down = (max(1, round(side * scale)) for side in (wide, high))
        picture = picture.resize((across, down), Image.Resampling.BICUBIC)
    if picture.size != (width, height):
        backdrop = Image.new(picture.mode, (width, height))
        backdrop.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
        picture = backdrop
    pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def preprocess(pictures: PictureLike, shape: Shape) -> Tensor:
    """Return pictures of a model's shape by the rule above.

    Args:
        pictures: a uint8 tensor (B, C, H, W) or (B, H, W); a uint8 array (B, H, W) or (B, H, W, C); a PIL picture; or a
            sequence of single ones. uint16 too, 0 to 65,535: the upper 8 bits are kept.
        shape: (C, H, W) of the model, in pixels.

    Returns:
        uint8 tensor (B, C, H, W), a copy.

    Raises:
        TypeError, ValueError: what came is none of these; the message says what was expected.

    >>> preprocess(np.zeros((5, 28, 28), dtype=np.uint8), (3, 32, 32)).shape
    torch.Size([5, 3, 32, 32])
    """
    if isinstance(pictures, Image.Image):
        pictures = [pictures]
    if not isinstance(pictures, (Tensor, np.ndarray, Sequence)) and callable(getattr(pictures, "__array__", None)):
        pictures = np.asarray(pictures)  # of h5py, zarr and others, which read when they are asked
    if isinstance(pictures, (Tensor, np.ndarray)):
        pictures = with_channels(pictures, shape)
    if isinstance(pictures, Tensor):
        fine = pictures.ndim == 4 and (pictures.shape[1] in (1, 3, 4) or pictures.shape[1] == shape[0])
        batch = _checked(pictures.detach().cpu().numpy(), "tensor", "(B, C, H, W)", fine)
        if batch.shape[1:] == tuple(shape):
            return torch.from_numpy(batch).clone()
        batch = batch.transpose(0, 2, 3, 1)
    elif isinstance(pictures, np.ndarray):
        fine = pictures.ndim == 4 and pictures.shape[3] in (1, 3, 4, shape[0])
        batch = _checked(pictures, "array", "(B, H, W) or (B, H, W, C)", fine)
        if batch.ndim == 4 and shape[0] not in (1, 3) and batch.shape[3] == shape[0]:
            return preprocess(torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2))), shape)
    elif isinstance(pictures, Sequence) and not isinstance(pictures, str):
        wrong = [type(p).__name__ for p in pictures if not isinstance(p, (Image.Image, Tensor, np.ndarray))]
        if wrong:
            raise TypeError(f"Expected a list of PIL pictures; got a list with {wrong[0]}.")
        if any(not isinstance(p, Image.Image) for p in pictures):  # of any sizes, each for itself
            return torch.cat([preprocess([p] if isinstance(p, Image.Image) else p[None], shape) for p in pictures])
        check_channels(shape)
        ready, notes = [], []
        for number, picture in enumerate(pictures, 1):
            shown, noted = eight_bits(picture)
            ready.append(to_shape(shown, shape))
            notes += [(f"number {number} of {len(pictures)}", noted)] if noted else []
        note_once(notes)
        return _stack(ready, shape)
    else:
        raise TypeError(
            f"Expected pictures as a uint8 tensor, a uint8 array or a list of PIL; got {type(pictures).__name__}."
        )
    check_channels(shape, tuple(batch.shape))
    if batch.ndim == 4 and batch.shape[3] == 1:
        batch = batch[..., 0]
    return _stack((preprocess_one(Image.fromarray(np.ascontiguousarray(p)), shape) for p in batch), shape)


def with_channels(pictures: Tensor | Array, shape: Shape) -> Tensor | Array:
    """Return grey pictures (B, H, W) with an axis of channels: a tensor's second, an array's last; others as they are.

    Raises:
        ValueError: it may as well be one picture in colour.
    """
    if pictures.ndim != 3:
        return pictures
    size, first, last = tuple(pictures.shape), pictures.shape[0], pictures.shape[2]
    if last in (3, 4) and pictures.shape[1] > 4:
        raise ValueError(f"Expected pictures (B, H, W, C); got one alone, {size}. Give picture[None].")
    tensor = isinstance(pictures, Tensor)
    if first in ((3, 4) if tensor else (3,)) and last > 4 and shape[0] == 3:
        one, grey = ("[None]", "[:, None]") if tensor else (".transpose(1, 2, 0)[None]", "[..., None]")
        expected = "(B, C, H, W)" if tensor else "(B, H, W) or (B, H, W, C)"
        raise ValueError(
            f"Expected pictures {expected}; got {size}, one in colour or {first} grey ones. Give x{one} or x{grey}."
        )
    return pictures[:, None] if isinstance(pictures, Tensor) else pictures[..., None]


def check_channels(shape: Shape, got: object = "pictures of any size") -> None:
    """Raise `ValueError` if pictures cannot be brought to this shape: only grey and RGB are resized."""
    if shape[0] not in (1, 3):
        raise ValueError(
            f"Expected a uint8 tensor (B, {', '.join(map(str, shape))}) for a model of {shape[0]} channels; got {got}. "
            "Files, and pictures of other sizes, are for models of 1 or 3."
        )


def _checked(batch: Array, what: str, shapes: str, fine: bool) -> Array:
    if not fine or 0 in batch.shape[1:]:
        hint, channels = "", ((1,), (3,), (4,))
        if what == "array" and batch.shape[1:2] in channels:
            hint = " Give torch.from_numpy(x)."
        elif what == "tensor" and batch.shape[3:] in channels:
            hint = " Give x.permute(0, 3, 1, 2)."
        got = f"C of 1, 3 or 4; got {tuple(batch.shape)}.{hint}"
        raise ValueError(f"Expected {A[what]} {what} of pictures of shape {shapes}, {got}")
    if batch.dtype == np.uint16:
        shallow, noted = to_uint8(batch)
        note_once([(f"{what} of uint16", noted)] if noted else [])
        return shallow
    if batch.dtype != np.uint8:
        raise TypeError(f"Expected {A[what]} {what} of uint8 pixels, 0 to 255; got {batch.dtype}{_way_out(batch)}.")
    return batch


def _way_out(batch: Array) -> str:
    """How to make 8 bits of other numbers, whose range only their owner knows."""
    if batch.dtype.kind not in "iufb" or not batch.size:
        return ""
    if batch.dtype.kind == "f" and np.isnan(batch).any():
        return " with NaN"
    most = batch.max()
    if most <= 1:
        return ". For pictures in [0, 1]: (255 * x).round() as uint8"
    return f" up to {most:g}. For pictures from 0 to TOP: (x * (255 / TOP)).round() as uint8"


def _stack(pictures: Iterable[NDArray[np.uint8]], shape: Shape) -> Tensor:
    ready = list(pictures)
    return torch.from_numpy(np.stack(ready)) if ready else torch.zeros(0, *shape, dtype=torch.uint8, device="cpu")


def greyscale(pictures: Tensor) -> Tensor:
    """Return uint8 RGB pictures (B, 3, H, W) without colour, by luma, still of three channels."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float32, device="cpu")[:, None, None]
    luma = (pictures.float() * weights).sum(1, keepdim=True).round().to(torch.uint8)
    return luma.expand(-1, 3, -1, -1).contiguous()
