"""Somebody's picture file, read once and kept small: upright, opaque, its shorter side at most a bound.

A file that comes from anywhere is opened for its size first: one of too many bytes or pixels is never decoded. Larger
pictures are averaged over whole squares of f x f pixels, f the largest that leaves the shorter side at the bound or
above, so that what a model's shape makes of the kept picture (`preprocess`) is nearly what it makes of the file.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from transflow.pictures.files import BadPicture
from transflow.pictures.formats import decoded, none_of
from transflow.pictures.preprocess import to_rgb_or_grey
from transflow.store.files import PathLike

SIDE = 512  # of the shorter side, in pixels


def reduced(path: PathLike, name: str, *, most_bytes: int, most_pixels: int, side: int = SIDE) -> Image.Image:
    """Return the picture of a file, RGB or grey.

    Args:
        path: the file.
        name: what it is called in errors.
        most_bytes: of the file.
        most_pixels: width times height.
        side: bound of the shorter side, in pixels.

    Raises:
        BadPicture: it is no picture, a damaged one, or too large.
    """
    size = Path(path).stat().st_size
    if size > most_bytes:
        raise BadPicture(f"Expected a picture of at most {most_bytes / 1e6:.0f} MB; got {size / 1e6:.0f} MB: {name}")
    if not size:
        raise BadPicture(f"Expected a picture; got an empty file: {name}")
    content = Path(path).read_bytes()

    def small_enough(picture: Image.Image) -> Image.Image:
        if picture.width * picture.height > most_pixels:
            got = f"{picture.width} x {picture.height}"
            raise BadPicture(
                f"Expected a picture of at most {most_pixels / 1e6:.0f} megapixels; got one of {got}: {name}"
            )
        return to_rgb_or_grey(picture)

    try:
        with warnings.catch_warnings(action="ignore"):
            found = decoded(content, small_enough)
    except BadPicture:
        raise
    except UnidentifiedImageError:
        raise BadPicture(none_of(content, name)) from None
    except Image.DecompressionBombError:
        raise BadPicture(
            f"Expected a picture of at most {most_pixels / 1e6:.0f} megapixels; got more: {name}"
        ) from None
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        reason = str(error) or type(error).__name__
        raise BadPicture(f"Expected a whole picture; got a damaged one ({reason}): {name}") from None
    factor = min(found.size) // side
    return found.reduce(factor) if factor > 1 else found
