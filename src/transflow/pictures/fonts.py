"""Words in pictures, in a font that has their letters: Pillow's own, else one that systems bring.

A font draws a letter that it lacks as a box. Where none has all letters of a word, a number stands for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from PIL import ImageFont

SYSTEM = (  # with many scripts, by the names that Linux, macOS and Windows know them by
    "DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSans-Regular.ttf", "wqy-zenhei.ttc",
    "DroidSansFallback.ttf", "Arial Unicode.ttf", "ArialUnicode.ttf", "Hiragino Sans GB.ttc", "PingFang.ttc",
    "AppleSDGothicNeo.ttc", "YuGothM.ttc", "msgothic.ttc", "msyh.ttc", "malgun.ttf", "segoeui.ttf", "Nirmala.ttf",
)  # fmt: skip
SIZE = 13  # of the names of classes, in pixels
LACKING = "\U0010fffe"  # which no font has


def fitting_font(words: Sequence[str], size: int) -> Any:
    """Return the font that has the letters of most words; Pillow's own where none has more.

    Args:
        words: to be drawn.
        size: in pixels.
    """
    best = ImageFont.load_default(size=size)
    most = _count(best, words)
    for name in SYSTEM if most < len(words) else ():
        try:
            font = ImageFont.truetype(name, size)
        except OSError:
            continue
        if (count := _count(font, words)) > most:
            best, most = font, count
    return best


def has_letters(font: Any, words: str) -> bool:
    """Return whether a font has all letters of words."""
    box = _drawn(font, LACKING)
    return all(_drawn(font, letter) != box for letter in set(words) if not letter.isspace())


def drawable(words: Sequence[str], font: Any) -> list[str]:
    """Return words as a font can draw them: a number, from 1, for one whose letters it lacks."""
    return [word if has_letters(font, word) else str(number) for number, word in enumerate(words, 1)]


def drawn_names(words: Sequence[str]) -> list[str]:
    """Return words as `grids.confusion` draws them."""
    return drawable(words, fitting_font(words, SIZE))


def _count(font: Any, words: Sequence[str]) -> int:
    return sum(has_letters(font, word) for word in words)


@lru_cache(maxsize=4096)
def _drawn(font: Any, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
