"""How large a picture can be that is written: what its format holds, and what we would read again.

A side is bounded by the format (WebP 16,383 pixels, JPEG 65,500, GIF 65,535), all pixels of all frames by what a
picture may have that is read (see `limits`), and an animation has at most a thousand frames each way. All this is known
before any picture is made.
"""

from __future__ import annotations

import math

from transflow.pictures.limits import LIFT, most_pixels

SIDES = {"WEBP": 16_383, "JPEG": 65_500, "GIF": 65_535, "AVIF": 65_535, "PCX": 65_535, "SGI": 65_535, "TGA": 65_535}
FRAMES = 1000
WAY_OUT = "Make fewer pictures, or write a folder of them, or a .png."


def check_fits(picture_format: str, width: int, height: int, frames: int = 1) -> None:
    """Raise `ValueError` if a picture, or an animation, is too large for its format or for memory.

    Args:
        picture_format: as Pillow has it, such as "WEBP".
        width: in pixels.
        height: in pixels.
        frames: of an animation, one way.
    """
    side = SIDES.get(picture_format, math.inf)
    if max(width, height) > side:
        got = f"{width:,} x {height:,}"
        raise ValueError(f"Expected at most {side:,} pixels a side in a {picture_format}; got {got}. {WAY_OUT}")
    if frames > FRAMES:
        raise ValueError(f"Expected at most {FRAMES:,} frames in an animation; got {frames:,}. Make fewer steps.")
    if width * height * frames > (most := most_pixels()):
        got = f"{width:,} x {height:,}" + (f" in {frames:,} frames" if frames > 1 else "")
        raise ValueError(f"Expected at most {most / 1e6:,.0f} megapixels to write; got {got}. {WAY_OUT} {LIFT}")
