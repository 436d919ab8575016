"""Bytes to pictures of Pillow: with what a plug-in reads, where there is one, and past what only words need.

Pillow bounds the text of a PNG and its colour profile, which are not looked at here; where that is all that hinders,
the chunks of text are passed over. A HEIC or AVIF picture is read where ``pillow-heif`` or ``pillow-avif-plugin`` is
installed. What is no picture is named by its first bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import import_module
from typing import IO, TypeVar

from PIL import Image, UnidentifiedImageError

from transflow.store.files import PathLike
from transflow.store.signatures import AVIF, HEIC, LONGEST, name_of

T = TypeVar("T")

PNG = b"\x89PNG\r\n\x1a\n"
WORDS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}  # chunks of a PNG that no pixel hangs on
PROGRAMS = ("EPS", "WMF")  # what Pillow hands on to Ghostscript, or to Windows
PLUGINS: dict[str, tuple[tuple[str, str], ...]] = {  # modules, and what registers their reader; "" where importing does
    HEIC: (("pillow_heif", "register_heif_opener"),),
    AVIF: (("pillow_avif", ""), ("pillow_heif", "register_avif_opener")),
}


def opened(file: IO[bytes] | PathLike) -> Image.Image:
    """Return a picture of Pillow, its pixels not read yet.

    Raises:
        UnidentifiedImageError: it is none, or one whose pixels another program would make, such as PostScript's.
    """
    picture = Image.open(file)
    if picture.format in PROGRAMS:
        picture.close()
        raise UnidentifiedImageError(f"{picture.format} is not read: it is a program, and run by another one")
    return picture


def decoded(content: bytes, use: Callable[[Image.Image], T]) -> T:
    """Return what ``use`` makes of the picture in a file's bytes, by the reader that can read it.

    Args:
        content: of the file.
        use: called with the picture, which it decodes; once more where that failed for words in it, left out then.

    Raises:
        UnidentifiedImageError: it is none (see `none_of`).
        Exception: whatever else Pillow's readers raise of damaged files, or ``use`` does.
    """
    try:
        return use(opened(io.BytesIO(content)))
    except UnidentifiedImageError:
        if not _plugged_in(name_of(content[:LONGEST]).what):
            raise
        return use(opened(io.BytesIO(content)))
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise
        return use(opened(io.BytesIO(without_words(content))))


def none_of(content: bytes, name: str) -> str:
    """Return the message that a file is no picture: what it is by its first bytes, where they say, and the way out."""
    found = name_of(content[:LONGEST])
    if not found.what:
        return f"Expected a picture; got a file that is none: {name}"
    if _plugged_in(found.what):
        return f"Expected a whole picture; got a damaged one ({found.what}): {name}"
    return found.told(f"Expected a picture; got {found.what}: {name}")


def without_words(content: bytes) -> bytes:
    """Return a PNG file without its chunks of text and its colour profile; another file as it is."""
    if not content.startswith(PNG):
        return content
    parts, at = [PNG], len(PNG)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] not in WORDS:
            parts.append(content[at:end])
        at = end
    return b"".join(parts)


def _plugged_in(kind: str) -> bool:
    """Whether a reader of this kind of picture is there now."""
    for module, register in PLUGINS.get(kind, ()):
        try:
            found = import_module(module)
            if register:
                getattr(found, register)()
            return True
        except (ImportError, AttributeError):
            continue
    return False
