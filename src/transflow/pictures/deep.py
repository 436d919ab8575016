"""Deep pictures, of more than 8 bits a value, as 8 bits: by the range that the file or its type states.

    v -> floor(256 (v - low) / (high - low + 1))  of whole numbers,  floor(256 (v - low) / (high - low))  of floats,

so 16 bits keep their upper 8. The range is, in this order,

1. what the file states: TIFF's SMinSampleValue and SMaxSampleValue, or MinSampleValue and MaxSampleValue; the bits of a
   PNG's sBIT chunk, where its values were not scaled to 16 bits as PNG asks for;
2. that of its type: [0, 2^b - 1] of b bits without a sign, b of at most 16 (TIFF's BitsPerSample);
3. of a type that no camera fills (32 bits, a sign, floats), from 0 to the smallest of 1 (floats), 255, 65,535 and the
   type's largest that holds all values, from as far below 0 where some are negative; of floats beyond 65,535 the
   picture's own lowest to its highest.

Pictures of one set are thus made alike. A picture that fills at most a quarter of its range (12 bits in 16), that goes
beyond it, or that has no range but its own, is noted (`DeepPictureWarning`). Of colours deeper than 8 bits a channel,
Pillow gives the upper 8 alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # of Pillow's modes, all of them grey
PART = 4  # a picture that fills at most this part of its range is noted
STRIP = 2**18  # values that are converted at a time
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # of TIFF
LOWEST, HIGHEST = (340, 280), (341, 281)  # SMinSampleValue or MinSampleValue, and so on
WAY_OUT = "State its range (SMaxSampleValue of a TIFF), or scale it to its type's."


class DeepPictureWarning(UserWarning):
    """A picture of more than 8 bits a value fills little of its range, or goes beyond it; it is named."""


@dataclass(frozen=True)
class Deep:
    """How the values of a deep picture are stored, found out before it is decoded.

    Attributes:
        stated: the range that its file states, or that of its type; None where neither has one.
        unsigned: Pillow's 32-bit numbers have no sign in the file.
        most: the largest of whole numbers with a sign, fewer than 32 bits of which are in the file; 0 of others.
        bits: that a PNG says are significant; 0 where it does not.
        colour: its channels have more than 8 bits, of which Pillow keeps the upper 8.
        negative: 0 is white, and Pillow gives the values as they are, which it does not of 8 bits.
    """

    stated: tuple[float, float] | None = None
    unsigned: bool = False
    most: int = 0
    bits: int = 0
    colour: bool = False
    negative: bool = False

    @classmethod
    def of(cls, picture: Image.Image) -> Deep:
        """Return how a picture that was opened, and not yet decoded, is stored."""
        if picture.mode not in DEEP:
            raw = " ".join(str(part[3]) for part in getattr(picture, "tile", ()))
            return cls(colour=";16" in raw and picture.mode in ("RGB", "RGBA", "LA", "CMYK"))
        tags = getattr(picture, "tag_v2", {})
        low, high = _number(tags, LOWEST), _number(tags, HIGHEST)
        bits, kind = int(_number(tags, (BITS_PER_SAMPLE,)) or 0), _number(tags, (SAMPLE_FORMAT,))
        unsigned = bool(bits) and kind in (None, 1) and picture.mode != "F"
        if high is not None and 0 < high - (low or 0.0) < math.inf:
            return cls((low or 0.0, high), unsigned, negative=unsigned and _number(tags, (PHOTOMETRIC,)) == 0)
        if picture.mode == "F":
            return cls()
        if unsigned and bits <= 16:
            return cls((0.0, 2.0**bits - 1), unsigned, negative=_number(tags, (PHOTOMETRIC,)) == 0)
        if picture.mode != "I" or picture.format in ("PNG", "PPM", "JPEG2000"):
            return cls((0.0, 65535.0), bits=_significant_bits(picture))
        return cls(unsigned=unsigned, most=2 ** (bits - 1) - 1 if 0 < bits < 32 else 0)

    def eight_bits(self, picture: Image.Image) -> tuple[Image.Image, str]:
        """Return a picture, decoded and turned as it may be, as grey of 8 bits if it is deep, and what is to be noted.

        That is words on its values and the range, or "".
        """
        if self.colour:
            channels: Any = picture.getextrema()
            lowest, highest = min(c[0] for c in channels), max(c[1] for c in channels)
            little = _little(lowest, highest, 0, 255)
            return picture, _words(lowest, highest, (0, 255), "the upper 8 of 16 bits") if little else ""
        if picture.mode not in DEEP:
            return picture, ""
        values = np.asarray(picture)
        if self.unsigned and values.dtype == np.int32:
            values = values.view(np.uint32)
        stated = self.stated
        if self.bits and not (values >> self.bits).any() and (values & (2 ** (16 - self.bits) - 1)).any():
            stated = (0.0, 2.0**self.bits - 1)
        found, noted = to_uint8(values, stated, self.most)
        return Image.fromarray(255 - found if self.negative else found), noted


def note_once(notes: Sequence[tuple[str, str]]) -> None:
    """Warn of deep pictures, the first of which is named, with the words of `to_uint8` on it."""
    if notes:
        (name, words), more = notes[0], len(notes) - 1
        text = f"A deep picture fills little of its range, or goes beyond it: {name}, {words}"
        others = f"; so do {more} others with it" if more else ""
        warnings.warn(f"{text}{others}. {WAY_OUT}", DeepPictureWarning, stacklevel=3)


def to_uint8(
    values: NDArray[Any], stated: tuple[float, float] | None = None, most: int = 0
) -> tuple[NDArray[np.uint8], str]:
    """Return deep values of any shape as uint8, by the rule above, and what is to be noted.

    Args:
        values: whole numbers or floats; what is not finite is black, but for infinity, which is white.
        stated: their range; None for that of their type.
        most: the largest that whole numbers may be; 0 for that of their type.
    """
    whole = values.dtype.kind in "iu"
    lowest, highest = _extent(values)
    if stated is None and values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        stated = (0.0, float(np.iinfo(values.dtype).max))
    low, high = stated or _usual(lowest, highest, values.dtype, most)
    own = stated is None and not whole and (low, high) == (lowest, highest) and high > 65535
    scale = 256 / max(high - low + whole, 1e-300)
    flat = values.reshape(-1)
    found = np.empty(flat.shape, np.uint8)
    for i in range(0, len(flat), STRIP):
        part = np.nan_to_num(flat[i : i + STRIP].astype(np.float64), nan=low, posinf=high, neginf=low)
        found[i : i + STRIP] = ((np.clip(part, low, high) - low) * scale).clip(0, 255)
    noted = own or lowest < low or highest > high or _little(lowest, highest, low, high)
    kind = "which it alone has" if own else "which its file or type states" if stated else "the usual one that holds it"
    return found.reshape(values.shape), _words(lowest, highest, (low, high), kind) if noted else ""


def _usual(lowest: float, highest: float, dtype: np.dtype[Any], most: int) -> tuple[float, float]:
    """The range of a type that no camera fills, by the third rule."""
    whole = dtype.kind in "iu"
    largest = most or np.iinfo(dtype).max if whole else 65535
    for top in (255, min(65535, largest), largest) if whole else (1, 255, largest):
        bottom = (-top - whole) if lowest < 0 else 0
        if bottom <= lowest and highest <= top:
            return float(bottom), float(top)
    return lowest, highest


def _extent(values: NDArray[Any]) -> tuple[float, float]:
    """The lowest and the highest finite value, in bounded memory; 0 and 0 where there is none."""
    lowest, highest, flat = math.inf, -math.inf, values.reshape(-1)
    for i in range(0, len(flat), STRIP):
        part = flat[i : i + STRIP]
        part = part if part.dtype.kind in "iu" else part[np.isfinite(part)]
        if len(part):
            lowest, highest = min(lowest, float(part.min())), max(highest, float(part.max()))
    return (lowest, highest) if lowest <= highest else (0.0, 0.0)


def _little(lowest: float, highest: float, low: float, high: float) -> bool:
    """Whether what is seen of values is a small part of their range; one shade alone, where it could pass for black."""
    part = (high - low) / PART
    if lowest == highest:
        return low < lowest <= low + part
    return min(highest, high) - max(lowest, low) <= part


def _words(lowest: float, highest: float, bounds: tuple[float, float], kind: str) -> str:
    low, high = bounds
    return f"values from {lowest:g} to {highest:g} in a range from {low:g} to {high:g} ({kind})"


def _number(tags: Any, names: tuple[int, ...]) -> float | None:
    """The first tag of a TIFF that is there, of several channels its largest; None where it is no finite number."""
    for name in names:
        with suppress(Exception):  # of a damaged tag, as Pillow reads it
            found = tags[name]
            number = float(max(found) if isinstance(found, tuple) else found)
            if math.isfinite(number):
                return number
    return None


def _significant_bits(picture: Image.Image) -> int:
    """The bits that the sBIT chunk of a grey 16-bit PNG names, before it is decoded; 0 where it has none."""
    file = getattr(picture, "fp", None)
    if picture.format != "PNG" or file is None:
        return 0
    at, found = file.tell(), 0
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        size = int.from_bytes(head[:4], "big")
        if head[4:] == b"sBIT":
            found = (file.read(1) or b"\0")[0]
            break
        file.seek(size + 4, 1)
    file.seek(at)
    return found if 8 <= found < 16 else 0
