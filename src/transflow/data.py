"""Named pictures from folders, files and tars, read one by one; bad ones are named.

A folder is read with its sub-folders, in the order of names. Hidden files and the litter of
file managers are passed over; anything else in it that is no picture is an error, unless the
caller says what to do with bad ones.
"""

from __future__ import annotations

import io
import os
import tarfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, Union

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from transflow import images

Source: TypeAlias = Union[str, "os.PathLike[str]"]
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}


class BadPicture(ValueError):
    """A file that cannot be read as a picture; the message names it and says why."""


@dataclass(frozen=True)
class Pictures:
    """Pictures fitted to a model, and their names.

    Attributes:
        names: where each came from, B of them.
        pixels: uint8, shape (B, C, S, S).
        bad: messages on those left out.
    """

    names: tuple[str, ...]
    pixels: Tensor
    bad: tuple[str, ...] = ()


def read(sources: Source | Iterable[Source], channels: int, size: int, *, skip_bad: bool = False) -> Pictures:
    """Read pictures and fit each to a model of C channels and S x S pixels (see `images`).

    Args:
        sources: a folder, a tar, a picture file, or several of these.
        channels: C.
        size: S.
        skip_bad: leave out what cannot be read, and list it in ``bad``; without it, that is an error.

    Raises:
        FileNotFoundError: a source is not there.
        BadPicture: a file is no picture, and ``skip_bad`` was not said.
        ValueError: no picture at all.
    """
    bad: list[str] = []
    names, fitted = [], []
    for name, picture in stream(sources, bad.append if skip_bad else None):
        names.append(name)
        fitted.append(images.fit_one(picture, channels, size))
    if not fitted:
        told = ", ".join(str(source) for source in _listed(sources))
        raise ValueError(f"Expected at least one picture in {told}; got {'only bad ones' if bad else 'none'}.")
    return Pictures(tuple(names), torch.from_numpy(np.stack(fitted)), tuple(bad))


def stream(
    sources: Source | Iterable[Source], on_bad: Callable[[str], None] | None = None
) -> Iterator[tuple[str, Image.Image]]:
    """Yield each picture with its name; of a bad one, tell ``on_bad`` or raise `BadPicture`."""
    for name, content in _files(sources):
        try:
            picture = _decode(name, content)
        except BadPicture as error:
            if on_bad is None:
                raise
            on_bad(str(error))
        else:
            yield name, picture


def _decode(name: str, content: bytes) -> Image.Image:
    if not content:
        raise BadPicture(f"Expected a picture; got an empty file (0 bytes): {name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large or slightly odd files that it can read
            picture = Image.open(io.BytesIO(content))
            picture.load()
        return picture
    except UnidentifiedImageError:
        raise BadPicture(f"Expected a picture; got a file that is none: {name}") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise BadPicture(f"Expected a picture of at most {limit} megapixels; got a larger one: {name}") from None
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        reason = str(error) or type(error).__name__
        raise BadPicture(f"Expected a whole picture; got a damaged one ({reason}): {name}") from None


def _files(sources: Source | Iterable[Source]) -> Iterator[tuple[str, bytes]]:
    for source in _listed(sources):
        path = Path(source)
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file() and not _is_litter(file.relative_to(path).parts):
                    yield str(file), file.read_bytes()
        elif not path.exists():
            raise FileNotFoundError(f"Expected a folder, a tar or picture files; got a path that is not there: {path}")
        elif tarfile.is_tarfile(path):
            yield from _members(path)
        else:
            yield str(path), path.read_bytes()


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile() and not _is_litter(Path(member.name).parts):
                    file = tar.extractfile(member)
                    assert file is not None
                    yield member.name, file.read()
    except tarfile.TarError as error:
        raise BadPicture(f"Expected a whole tar; got a damaged one ({error}): {path}") from None


def _is_litter(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part.lower() in LITTER for part in parts)


def _listed(sources: Source | Iterable[Source]) -> list[Source]:
    return [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
