"""A face cut out of a picture and turned, so that its eyes lie where the face models saw them.

The rule of the bundled face models, in shares of the cut-out's side:

    left eye at (1/2 - EYES_APART / 2, EYES_HEIGHT),   right eye at (1/2 + EYES_APART / 2, EYES_HEIGHT)

Two points fix a similarity (turn, scale and shift), in complex numbers z -> a z + b. What lies outside the picture
repeats its border, as in the training pictures; what is made smaller is averaged over areas first.

Coordinates are in pixels of an upright picture, x to the right and y downwards, the first pixel's centre at 1/2.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transflow.pictures.preprocess import to_rgb_or_grey

EYES_APART = 0.25  # of the width
EYES_HEIGHT = 0.45  # of the height, from the top
SIDE = 256  # pixels of a cut-out's side: twice and four times what models have, averaged without loss

Picture: TypeAlias = Image.Image
Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Eyes:
    """Where the eyes of a face are in a picture.

    Attributes:
        left: x and y in pixels of the eye that is to be on the left.
        right: of the other.
        score: how sure a detector is, more is surer; 0 for eyes given by hand.
    """

    left: tuple[float, float]
    right: tuple[float, float]
    score: float = 0.0

    @classmethod
    def of_box(cls, left: float, top: float, right: float, bottom: float) -> Eyes:
        """Return the eyes whose cut-out is this box, made square about its centre."""
        side = max(right - left, bottom - top)
        x, y = (left + right) / 2, (top + bottom) / 2 + (EYES_HEIGHT - 0.5) * side
        half = EYES_APART * side / 2
        return cls((x - half, y), (x + half, y))

    @property
    def apart(self) -> float:
        """Their distance in pixels."""
        return math.dist(self.left, self.right)

    def corners(self) -> list[tuple[float, float]]:
        """Return the four corners of the cut-out in the picture, from the upper left, clockwise."""
        a, b = self._similarity(1.0)
        return [((a * z + b).real, (a * z + b).imag) for z in (0, 1, 1 + 1j, 1j)]

    def _similarity(self, side: float) -> tuple[complex, complex]:
        """The a and b of z -> a z + b from the cut-out to the picture."""
        left, right = complex(*self.left), complex(*self.right)
        a = (right - left) / (EYES_APART * side)
        return a, left - a * complex((0.5 - EYES_APART / 2) * side, EYES_HEIGHT * side)


def cut_out(pixels: Pixels, eyes: Eyes, side: int = SIDE) -> Picture:
    """Return a face cut out and turned, side x side pixels.

    Args:
        pixels: of an upright picture, RGB, (H, W, 3).
        eyes: in its pixels.
        side: in pixels.

    >>> cut_out(np.zeros((90, 120, 3), np.uint8), Eyes((50, 40), (70, 40)), 64).size
    (64, 64)
    """
    return sampled(pixels, *eyes._similarity(side), (side, side))


def sampled(pixels: Pixels, a: complex, b: complex, size: tuple[int, int]) -> Picture:
    """Return the picture, of a width and height, whose point z shows the point a z + b of ``pixels``, (H, W, 3)."""
    high, wide = pixels.shape[:2]
    ends = [a * complex(x, y) + b for x in (0, size[0]) for y in (0, size[1])]
    k = max(1, int(abs(a)))  # a pixel of the result covers k x k and a little more
    left = max(0, math.floor(min(z.real for z in ends)) - 2 * k)
    top = max(0, math.floor(min(z.imag for z in ends)) - 2 * k)
    right = max(left + 1, min(wide, math.ceil(max(z.real for z in ends)) + 2 * k))
    bottom = max(top + 1, min(high, math.ceil(max(z.imag for z in ends)) + 2 * k))
    left, top = min(left, wide - 1), min(top, high - 1)
    part = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right])).reduce(k)
    a, b, ends = a / k, (b - complex(left, top)) / k, [(z - complex(left, top)) / k for z in ends]
    before = [max(0, math.ceil(-min(c)) + 2) for c in ([z.real for z in ends], [z.imag for z in ends])]
    xs, ys = [z.real for z in ends], [z.imag for z in ends]
    after = [max(0, math.ceil(max(xs) - part.width) + 2), max(0, math.ceil(max(ys) - part.height) + 2)]
    padded = np.pad(np.asarray(part), ((before[1], after[1]), (before[0], after[0]), (0, 0)), "edge")
    b += complex(*before)
    matrix = (a.real, -a.imag, b.real, a.imag, a.real, b.imag)
    return Image.fromarray(padded).transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def view(pixels: Pixels, longest: int, *, degrees: float = 0.0, margin: float = 0.0) -> tuple[Pixels, complex, complex]:
    """Return a smaller, larger or turned copy of a picture, and the a and b that lead from it to the picture.

    Args:
        pixels: RGB, (H, W, 3).
        longest: the longer side of the copy, margin included, in pixels.
        degrees: by which it is turned, counter-clockwise.
        margin: border to repeat on every side, in units of the longer side.
    """
    high, wide = pixels.shape[:2]
    turn = cmath.exp(1j * math.radians(degrees))
    across = abs(turn.real) * wide + abs(turn.imag) * high + 2 * margin * max(high, wide)
    down = abs(turn.imag) * wide + abs(turn.real) * high + 2 * margin * max(high, wide)
    scale = max(across, down) / longest
    size = (max(1, round(across / scale)), max(1, round(down / scale)))
    a = turn * scale
    b = complex(wide, high) / 2 - a * complex(*size) / 2
    return np.asarray(sampled(pixels, a, b, size)), a, b


def as_pixels(picture: Picture) -> Pixels:
    """Return the pixels of a picture as it is looked at: upright, opaque, RGB, (H, W, 3)."""
    return np.asarray(to_rgb_or_grey(picture).convert("RGB"))


def from_array(pixels: Pixels, scale: float = 1.0) -> Picture:
    """Return pixels (H, W) or (H, W, C) as a picture; ``scale`` below 1 makes it smaller, averaged over areas."""
    picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BOX)
