"""Masks painted by hand: which pixels of a picture are not known.

A mask is a picture as large as the picture that it belongs to: white is unknown and black known, or, where anything in
it is transparent, the transparent part is unknown. It is brought to a model's shape by the picture's own rule
(`preprocess`): the same crop, the same size; a pixel of which more than a twentieth is unknown is unknown.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from transflow.pictures.files import BadPicture, File
from transflow.pictures.formats import decoded, none_of
from transflow.pictures.preprocess import Shape, preprocess_one, to_rgb_or_grey
from transflow.store.files import PathLike, at_home

SHARE = 1 / 20


def read_mask(path: PathLike, shape: Shape, *, size: tuple[int, int] | None = None) -> Tensor:
    """Return which pixels are known, (H, W), bool.

    Args:
        path: a picture file: black and white, or with transparency.
        shape: (C, H, W) of the model.
        size: width and height of the picture that it belongs to, in pixels.

    Raises:
        BadPicture: it is no picture.
        ValueError: it is of another size than the picture.
    """
    picture = open_picture(path)
    if size is not None and picture.size != size:
        raise ValueError(
            f"Expected a mask as large as the picture, {size[0]} x {size[1]} pixels; got {picture.size[0]} x "
            f"{picture.size[1]}: {path}"
        )
    hidden = transparent(picture)
    if not hidden.any():
        hidden = np.asarray(to_rgb_or_grey(picture).convert("L")) > 127
    painted = Image.fromarray(hidden.astype(np.uint8) * 255)
    share = preprocess_one(painted, (1, *shape[1:]))[0] / 255
    return torch.from_numpy(share <= SHARE)


def has_holes(path: PathLike) -> bool:
    """Return whether a picture file has transparent pixels."""
    return bool(transparent(open_picture(path)).any())


def size_of(path: PathLike) -> tuple[int, int]:
    """Return width and height of a picture file as it is looked at, upright, in pixels."""
    return open_picture(path).size


def transparent(picture: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which pixels of a picture are more transparent than not, (height, width)."""
    if picture.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in picture.info:
        return np.zeros(picture.size[::-1], dtype=bool)
    return np.asarray(picture.convert("RGBA"))[..., 3] < 128


def open_picture(path: PathLike) -> Image.Image:
    """Return a picture file, read and turned upright.

    Raises:
        FileNotFoundError: it is not there.
        BadPicture: it is no picture.
    """
    path = at_home(path)
    if not Path(path).exists():
        raise FileNotFoundError(f"Expected a picture file; got a path that is not there: {path}")
    try:
        content = File(str(path), str(path)).read()
        return decoded(content, ImageOps.exif_transpose)
    except BadPicture:
        raise
    except UnidentifiedImageError:
        raise BadPicture(none_of(content, str(path))) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise BadPicture(f"Expected a picture; got one that is none, or damaged: {path}") from None
