"""Named pictures from folders, files and tars, decoded by threads ahead of whoever asks; bad ones are named.

What is listed (see `listing`) and is no picture is an error, unless the caller says what to do with bad ones.

Files are listed lazily and decoded a few at a time ahead of the consumer (Pillow lets go of the
interpreter while it decodes), so memory does not grow with the number of pictures, but for the
names of the largest folder.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from transflow.pictures.preprocess import BATCH, preprocess_one
from transflow.pictures.sources import BadPicture, File, Source, as_list, chunks, files
from transflow.store.identity import digest

CHUNK = 16  # files that a thread decodes at a time
AHEAD = 12  # chunks decoded ahead of the consumer: three batches
THREADS = min(4, os.cpu_count() or 1)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Read:
    """What a file turned out to be.

    Attributes:
        name: of the file.
        digest: a hash of its bytes, 32 hexadecimal digits; empty for a file that cannot be read.
        pixels: fitted to the model, uint8, (C, S, S); None for a bad picture.
        error: why it is bad.
    """

    name: str
    digest: str
    pixels: NDArray[np.uint8] | None
    error: str = ""


@dataclass(frozen=True)
class Pictures:
    """Pictures fitted to a model, and their names.

    Attributes:
        names: where each came from, B of them.
        pixels: uint8, shape (B, C, S, S).
    """

    names: tuple[str, ...]
    pixels: Tensor


def read(
    sources: Source | Iterable[Source], channels: int, size: int, *, on_bad: Callable[[str], None] | None = None
) -> Pictures:
    """Read pictures and fit each to a model of C channels and S x S pixels (see `images`).

    Args:
        sources: a folder, a tar, a picture file, or several of these.
        channels: C.
        size: S.
        on_bad: is told of each file that is no picture, which is left out; without it, that is an error.

    Raises:
        FileNotFoundError: a source is not there.
        BadPicture: a file is no picture, and there is no ``on_bad``; or a tar is damaged.
        ValueError: no picture at all, or a folder of latents.
    """
    parts = list(batches(sources, channels, size, on_bad=on_bad))
    names = tuple(name for part in parts for name in part.names)
    return Pictures(names, torch.cat([part.pixels for part in parts]))


def batches(
    sources: Source | Iterable[Source],
    channels: int,
    size: int,
    *,
    batch: int = BATCH,
    on_bad: Callable[[str], None] | None = None,
) -> Iterator[Pictures]:
    """Yield what `read` returns, ``batch`` pictures at a time; a bad one is told to ``on_bad``, or an error."""
    sources = as_list(sources)
    bad: list[str] = []

    def tell(message: str) -> None:
        assert on_bad is not None
        bad.append(message)
        on_bad(message)

    some = False
    for part in grouped(decoded(files(sources), channels, size), batch, tell if on_bad else None):
        some = True
        yield part
    if not some:
        raise no_pictures_error(sources, bool(bad))


def no_pictures_error(sources: Iterable[Source], bad: bool) -> ValueError:
    """Return the error that there is no picture in sources, or only bad ones."""
    told = ", ".join(str(source) for source in sources)
    return ValueError(f"Expected at least one picture in {told}; got {'only bad ones' if bad else 'none'}.")


def grouped(reads: Iterable[Read], batch: int, on_bad: Callable[[str], None] | None = None) -> Iterator[Pictures]:
    """Yield good pictures, ``batch`` at a time; of a bad one, tell ``on_bad`` or raise `BadPicture`."""
    names: list[str] = []
    fitted: list[NDArray[np.uint8]] = []
    for found in reads:
        if found.pixels is None:
            if on_bad is None:
                raise BadPicture(found.error)
            on_bad(found.error)
            continue
        names.append(found.name)
        fitted.append(found.pixels)
        if len(fitted) == batch:
            yield Pictures(tuple(names), torch.from_numpy(np.stack(fitted)))
            names, fitted = [], []
    if fitted:
        yield Pictures(tuple(names), torch.from_numpy(np.stack(fitted)))


def decoded(given: Iterable[File], channels: int, size: int) -> Iterator[Read]:
    """Yield what each file is, in their order, decoded ahead by threads."""

    def decode(chunk: list[File]) -> list[Read]:
        with _quiet:
            return [_decoded(file, channels, size) for file in chunk]

    for found in _map_ahead(decode, chunks(given, CHUNK)):
        yield from found


def digests(given: Iterable[File]) -> Iterator[str]:
    """Yield the hash of each file's bytes, as `decoded` has it, without decoding."""

    def told(file: File) -> str:
        try:
            return digest(file.read())
        except OSError:
            return ""

    for found in _map_ahead(lambda chunk: [told(file) for file in chunk], chunks(given, CHUNK)):
        yield from found


def _decoded(file: File, channels: int, size: int) -> Read:
    try:
        content = file.read()
    except OSError as error:
        return Read(file.name, "", None, f"Expected a picture; got a file that cannot be read ({error}): {file.name}")
    told = digest(content)
    try:
        return Read(file.name, told, _fitted(file.name, content, channels, size))
    except BadPicture as error:
        return Read(file.name, told, None, str(error))


def _fitted(name: str, content: bytes, channels: int, size: int) -> NDArray[np.uint8]:
    if not content:
        raise BadPicture(f"Expected a picture; got an empty file (0 bytes): {name}")
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
        return preprocess_one(picture, channels, size)
    except UnidentifiedImageError:
        raise BadPicture(f"Expected a picture; got a file that is none: {name}") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise BadPicture(f"Expected a picture of at most {limit} megapixels; got a larger one: {name}") from None
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        reason = str(error) or type(error).__name__
        raise BadPicture(f"Expected a whole picture; got a damaged one ({reason}): {name}") from None


def _map_ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Map in threads, in order, ahead of the consumer by a bounded number of items."""
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(THREADS, "transflow-read")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class _SilencedWarnings:
    """Pillow's warnings of large or slightly odd files that it can read go unheard.

    Python's filters of warnings belong to the whole process, so threads that decode at the same
    time share one change of them: the first in makes it, the last out takes it back.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.change: warnings.catch_warnings[Any]

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.change = warnings.catch_warnings()
                self.change.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.change.__exit__(None, None, None)


_quiet = _SilencedWarnings()
