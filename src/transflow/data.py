"""Named pictures from folders, files and tars, decoded by threads ahead of whoever asks; bad ones are named.

A folder is read with its sub-folders, in the order of names. Hidden files and the litter of
file managers are passed over; anything else in it that is no picture is an error, unless the
caller says what to do with bad ones.

Files are listed lazily and decoded a few at a time ahead of the consumer (Pillow lets go of the
interpreter while it decodes), so memory does not grow with the number of pictures, but for the
names of the largest folder.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, Union

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from transflow import images

Source: TypeAlias = Union[str, "os.PathLike[str]"]
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
CHUNK = 16  # files that a thread decodes at a time
AHEAD = 12  # chunks decoded ahead of the consumer: three batches
THREADS = min(4, os.cpu_count() or 1)

T = TypeVar("T")
R = TypeVar("R")


class BadPicture(ValueError):
    """A file that cannot be read as a picture; the message names it and says why."""


@dataclass(frozen=True)
class File:
    """A file that may be a picture, to be read when its turn comes.

    Attributes:
        name: what it is called.
        path: the file on disk that has it.
        place: first byte and length in ``path``, for a member of a tar; None for a whole file.
        content: its bytes, for a member of a compressed tar, which has no place.
    """

    name: str
    path: str
    place: tuple[int, int] | None = None
    content: bytes | None = None

    def read(self) -> bytes:
        """Return the bytes."""
        if self.content is not None:
            return self.content
        with open(self.path, "rb") as file:
            if self.place is None:
                return file.read()
            file.seek(self.place[0])
            return file.read(self.place[1])


@dataclass(frozen=True)
class Read:
    """What a file turned out to be.

    Attributes:
        name: of the file.
        digest: a hash of its bytes, 32 hexadecimal digits.
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
    parts = list(batches(sources, channels, size, on_bad=bad.append if skip_bad else None))
    names = tuple(name for part in parts for name in part.names)
    return Pictures(names, torch.cat([part.pixels for part in parts]), tuple(bad))


def batches(
    sources: Source | Iterable[Source],
    channels: int,
    size: int,
    *,
    batch: int = images.BATCH,
    on_bad: Callable[[str], None] | None = None,
) -> Iterator[Pictures]:
    """Yield what `read` returns, ``batch`` pictures at a time; a bad one is told to ``on_bad``, or an error."""
    sources = listed(sources)
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
        raise none_in(sources, bool(bad))


def none_in(sources: Iterable[Source], bad: bool) -> ValueError:
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

    for found in _ahead(decode, chunks(given, CHUNK)):
        yield from found


def digests(given: Iterable[File]) -> Iterator[str]:
    """Yield the hash of each file's bytes, as `decoded` has it, without decoding."""
    for found in _ahead(lambda chunk: [digest(file.read()) for file in chunk], chunks(given, CHUNK)):
        yield from found


def digest(content: Any) -> str:
    """Return a hash of bytes, 32 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:32]


def files(sources: Source | Iterable[Source]) -> Iterator[File]:
    """List the files of sources: folders by names, tars as they are."""
    paths = [Path(source) for source in listed(sources)]
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"Expected a folder, a tar or picture files; got a path that is not there: {path}")
    for path in paths:
        if path.is_dir():
            yield from (File(name, name) for name in _walk(str(path)))
        elif tarfile.is_tarfile(path):
            yield from _members(path)
        else:
            yield File(str(path), str(path))


def chunks(given: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items ``size`` at a time; the last may be fewer."""
    rest = iter(given)
    while chunk := list(islice(rest, size)):
        yield chunk


def listed(sources: Source | Iterable[Source]) -> list[Source]:
    """Return one source, or several, as a list."""
    return [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)


def _walk(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted(
            (entry.name, entry.is_dir(follow_symlinks=False))
            for entry in entries
            if not _is_litter((entry.name,)) and (entry.is_dir(follow_symlinks=False) or entry.is_file())
        )
    for name, is_folder in found:
        path = str(Path(folder, name))
        if is_folder:
            yield from _walk(path)
        else:
            yield path


def _members(path: Path) -> Iterator[File]:
    try:
        with tarfile.open(path) as tar:
            compressed = not isinstance(tar.fileobj, io.BufferedReader)
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                if not member.isfile() or _is_litter(Path(member.name).parts):
                    continue
                if compressed or member.issparse():
                    file = tar.extractfile(member)
                    assert file is not None
                    yield File(member.name, str(path), content=file.read())
                else:
                    yield File(member.name, str(path), (member.offset_data, member.size))
    except (tarfile.TarError, EOFError) as error:
        raise BadPicture(f"Expected a whole tar; got a damaged one ({error}): {path}") from None


def _is_litter(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part.lower() in LITTER for part in parts)


def _decoded(file: File, channels: int, size: int) -> Read:
    content = file.read()
    told = digest(content)
    try:
        return Read(file.name, told, images.fit_one(_picture(file.name, content), channels, size))
    except BadPicture as error:
        return Read(file.name, told, None, str(error))


def _picture(name: str, content: bytes) -> Image.Image:
    if not content:
        raise BadPicture(f"Expected a picture; got an empty file (0 bytes): {name}")
    try:
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


def _ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
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


class _Quiet:
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


_quiet = _Quiet()
