"""How large a picture may be: its pixels, and the bytes of its file, found out before it is read or decoded.

A small file can ask for much: a picture of one colour, a hole in a sparse file, a tar of zeros. The bound is Pillow's
own, 178 megapixels, and three bytes of file for each; `VARIABLE` in the environment sets another.
"""

from __future__ import annotations

import os

from PIL import Image

VARIABLE = "TRANSFLOW_MEGAPIXELS"
MEGAPIXELS = 178.0
BYTES_PER_PIXEL = 3
LIFT = f"Set {VARIABLE} in the environment to allow larger ones."


def most_pixels() -> int:
    """Return how many pixels a picture may have.

    Raises:
        ValueError: the environment has no number above 0 for it.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        megapixels = float(text) if text else MEGAPIXELS
    except ValueError:
        megapixels = 0.0
    if not 0 < megapixels < 1e9:
        raise ValueError(f"Expected a number of megapixels above 0 as {VARIABLE}; got {text!r}.")
    return int(megapixels * 1e6)


def most_bytes() -> int:
    """Return how many bytes the file of a picture may have."""
    return BYTES_PER_PIXEL * most_pixels()


def too_many_bytes(count: int, name: str) -> str:
    """Return why a file is not read, where it has more bytes than a picture may have; else ""."""
    if count <= (most := most_bytes()):
        return ""
    return f"Expected a picture of at most {most / 1e6:.0f} MB; got {count / 1e6:.0f} MB: {name}. {LIFT}"


def too_many_pixels(picture: Image.Image, name: str) -> str:
    """Return why a picture is not decoded, where it has more pixels than it may have; else ""."""
    if picture.width * picture.height <= (most := most_pixels()):
        return ""
    got = f"{picture.width} x {picture.height}"
    return f"Expected a picture of at most {most / 1e6:.0f} megapixels; got one of {got}: {name}. {LIFT}"
