"""Pictures in batches of a model's shape, from folders, files, tars, arrays and PIL alike.

Files are listed lazily (see `sources`) and decoded by threads a few at a time ahead of the consumer (Pillow releases
the interpreter's lock while it decodes), so memory does not grow with the number of pictures, but for the names of the
largest folder. A file that is not a picture is an error that names it, unless the caller gives `on_bad`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from transflow.pictures import datasets
from transflow.pictures.ahead import map_ahead, silenced_warnings
from transflow.pictures.deep import note_once
from transflow.pictures.files import BadPicture, File
from transflow.pictures.formats import decoded, none_of
from transflow.pictures.given import Source, as_list, is_paths
from transflow.pictures.limits import LIFT, VARIABLE, most_pixels, too_many_pixels
from transflow.pictures.preprocess import (
    BATCH,
    PictureLike,
    Shape,
    check_channels,
    eight_bits,
    preprocess,
    to_shape,
    with_channels,
)
from transflow.pictures.sources import chunks, files
from transflow.plain_values import one_line
from transflow.store.identity import digest

FILES_PER_TASK = 16  # that a thread decodes at a time

T = TypeVar("T")
R = TypeVar("R")


OnBad: TypeAlias = Callable[[str], None]
"""Called with a message for each file that is not a picture, which is then skipped."""
Turn: TypeAlias = Callable[[Image.Image, str], Image.Image]
"""From a file's picture and name to what is used of it, such as its face; raises `BadPicture` if there is none."""


@dataclass(frozen=True, eq=False)
class DecodedFile:
    """What a file turned out to be.

    Attributes:
        name: of the file.
        digest: a hash of its bytes, 32 hexadecimal digits; empty for a file that cannot be read.
        pixels: of the model's shape, uint8, (C, H, W); None for a bad picture.
        error: why it is bad.
        noted: of a deep picture that fills little of its range, words on it (see `deep`).
    """

    name: str
    digest: str
    pixels: NDArray[np.uint8] | None
    error: str = ""
    noted: str = ""


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """Pictures of a model's shape.

    Attributes:
        names: where each came from, B of them; empty for pictures that came as pixels.
        pixels: uint8, shape (B, C, H, W).
    """

    names: tuple[str, ...]
    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        return one_line(self, f"{len(self)} pictures")


def read(
    pictures: PictureLike | Source | Iterable[Source],
    shape: Shape,
    *,
    on_bad: OnBad | None = None,
    turn: Turn | None = None,
) -> PictureBatch:
    """Return pictures of a model's shape, all at once (see `preprocess` for the rule).

    Args:
        pictures: a folder, a tar, a picture file, or several of these; a dataset (see `datasets`); or pixels, as
            `preprocess` takes them.
        shape: (C, H, W).
        on_bad: called with a message for each file that is not a picture; the file is skipped. Without it, such a
            file is an error.
        turn: what is used of each file's picture, before it is brought to the shape; the picture itself if None.

    Raises:
        FileNotFoundError: a source is not there.
        BadPicture: a file is not a picture, and there is no ``on_bad``; or a tar is damaged.
        TypeError, ValueError: no picture at all, a folder of latents, or pixels that are none.
    """
    parts = list(batches(pictures, shape, on_bad=on_bad, turn=turn))
    names = tuple(name for part in parts for name in part.names)
    return PictureBatch(names, torch.cat([part.pixels for part in parts]))


def batches(
    pictures: PictureLike | Source | Iterable[Source],
    shape: Shape,
    *,
    batch: int = BATCH,
    on_bad: OnBad | None = None,
    turn: Turn | None = None,
) -> Iterator[PictureBatch]:
    """Yield what `read` returns, ``batch`` pictures at a time; of no pixels at all, one batch of none."""
    if datasets.is_dataset(pictures):
        some = False
        for part, _ in datasets.parts(pictures, batch):
            some = True
            yield PictureBatch((), preprocess(part, shape))
        if not some:
            raise ValueError("Expected at least one picture; got an empty dataset.")
        return
    if not is_paths(pictures):
        yield from (PictureBatch((), preprocess(part, shape)) for part in _slices(pictures, batch, shape))
        return
    check_channels(shape)
    sources = as_list(pictures)
    bad: list[str] = []
    some = False
    for part in batched(decode_files(files(sources), shape, turn), batch, noting(bad, on_bad)):
        some = True
        yield part
    if not some:
        raise no_pictures_error(sources, bool(bad))


def noting(bad: list[str], on_bad: OnBad | None) -> OnBad | None:
    """Return ``on_bad`` that keeps its messages in a list, too; None where there is none."""
    if on_bad is None:
        return None

    def note(message: str) -> None:
        bad.append(message)
        on_bad(message)

    return note


def no_pictures_error(sources: Iterable[Source], bad: bool) -> ValueError:
    """Return the error that there is no picture in sources, or only bad ones."""
    names = ", ".join(source.name if isinstance(source, File) else str(source) for source in sources)
    return ValueError(f"Expected at least one picture in {names}; got {'only bad ones' if bad else 'none'}.")


def _slices(pictures: Any, batch: int, shape: Shape) -> Iterator[Any]:
    if isinstance(pictures, Image.Image):
        pictures = [pictures]
    if not isinstance(pictures, (Tensor, np.ndarray, list, tuple)) or getattr(pictures, "ndim", 1) == 0:
        yield pictures  # which is refused
        return
    if isinstance(pictures, (Tensor, np.ndarray)):
        pictures = with_channels(pictures, shape)
    for i in range(0, max(1, len(pictures)), batch):
        yield pictures[i : i + batch]


def batched(found: Iterable[DecodedFile], batch: int, on_bad: OnBad | None = None) -> Iterator[PictureBatch]:
    """Yield good pictures, ``batch`` at a time; a bad one goes to ``on_bad``, or is raised as `BadPicture`.

    The first deep picture that fills little of its range is warned of (see `deep`).
    """
    names: list[str] = []
    good: list[NDArray[np.uint8]] = []
    noted = False
    for file in found:
        if file.pixels is None:
            if on_bad is None:
                raise BadPicture(file.error)
            on_bad(file.error)
            continue
        if file.noted and not noted:
            note_once([(file.name, file.noted)])
            noted = True
        names.append(file.name)
        good.append(file.pixels)
        if len(good) == batch:
            yield PictureBatch(tuple(names), torch.from_numpy(np.stack(good)))
            names, good = [], []
    if good:
        yield PictureBatch(tuple(names), torch.from_numpy(np.stack(good)))


def decode_files(given: Iterable[File], shape: Shape, turn: Turn | None = None) -> Iterator[DecodedFile]:
    """Yield what each file is, in their order, decoded ahead by threads."""

    def decode(chunk: list[File]) -> list[DecodedFile]:
        with silenced_warnings:
            return [_decode(file, shape, turn) for file in chunk]

    for found in map_ahead(decode, chunks(given, FILES_PER_TASK)):
        yield from found


def digests(given: Iterable[File]) -> Iterator[str]:
    """Yield the hash of each file's bytes, as `decode_files` has it, without decoding."""

    def of(file: File) -> str:
        try:
            return digest(file.read())
        except (OSError, BadPicture):
            return ""

    for found in map_ahead(lambda chunk: [of(file) for file in chunk], chunks(given, FILES_PER_TASK)):
        yield from found


def _decode(file: File, shape: Shape, turn: Turn | None) -> DecodedFile:
    try:
        content = file.read()
    except BadPicture as error:
        return DecodedFile(file.name, "", None, str(error))
    except OSError as error:
        message = f"Expected a picture; got a file that cannot be read ({error}): {file.name}"
        return DecodedFile(file.name, "", None, message)
    key = digest(content)
    try:
        pixels, noted = opened(file.name, content, lambda picture: _pixels(picture, file, shape, turn))
        return DecodedFile(file.name, key, pixels, noted=noted)
    except BadPicture as error:
        return DecodedFile(file.name, key, None, str(error))


def _pixels(picture: Image.Image, file: File, shape: Shape, turn: Turn | None) -> tuple[NDArray[np.uint8], str]:
    shown, noted = eight_bits(picture)
    return to_shape(shown if turn is None else turn(shown, file.name), shape), noted


def opened(name: str, content: bytes, use: Callable[[Image.Image], T]) -> T:
    """Return what ``use`` makes of a picture in the bytes of a file, within the limits of `pictures.limits`.

    Raises:
        BadPicture: it is none, too large, or damaged; as ``use``, which decodes it, may find, too.
    """
    if VARIABLE in os.environ:  # and so for the whole process: the bound is Pillow's
        Image.MAX_IMAGE_PIXELS = -(-most_pixels() // 2)

    def checked(picture: Image.Image) -> T:
        if problem := too_many_pixels(picture, name):
            raise BadPicture(problem)
        return use(picture)

    if not content:
        raise BadPicture(f"Expected a picture; got an empty file (0 bytes): {name}")
    try:
        return decoded(content, checked)
    except UnidentifiedImageError:
        raise BadPicture(none_of(content, name)) from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise BadPicture(f"Expected a picture of at most {most} megapixels; got a larger one: {name}. {LIFT}") from None
    except BadPicture:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        reason = str(error) or type(error).__name__
        raise BadPicture(f"Expected a whole picture; got a damaged one ({reason}): {name}") from None
