"""Named pictures from folders, files and tars, decoded by threads ahead of whoever asks; bad ones are named.

A folder is read with its sub-folders, linked ones too, in the order of names. Hidden files and the
litter of file managers are passed over; anything else in it that is no picture is an error, unless
the caller says what to do with bad ones.

Files are listed lazily and decoded a few at a time ahead of the consumer (Pillow lets go of the
interpreter while it decodes), so memory does not grow with the number of pictures, but for the
names of the largest folder.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import math
import os
import tarfile
import threading
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
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
LATENTS = "index.safetensors"  # a folder that has it is one of latents (see `streaming`), not of pictures
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

    @property
    def held(self) -> int:
        """How many of its bytes are in memory."""
        return 0 if self.content is None else len(self.content)

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

    def told(file: File) -> str:
        try:
            return digest(file.read())
        except OSError:
            return ""

    for found in _ahead(lambda chunk: [told(file) for file in chunk], chunks(given, CHUNK)):
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
        if (path / LATENTS).is_file():
            raise ValueError(f"Expected pictures; got a folder of latents: {path}")
    for path in paths:
        if path.is_dir():
            yield from (File(name, name) for name in _walk(str(path)))
        elif _is_tar(path):
            yield from _members(path)
        else:
            yield File(str(path), str(path))


def check_apart(output: Source, sources: Source | Iterable[Source]) -> None:
    """Raise `ValueError` if writing a file or folder would change pictures, or join them.

    Args:
        output: what is to be written.
        sources: folders, tars and picture files.
    """
    target = Path(output).resolve()
    for source in listed(sources):
        path = Path(source).resolve()
        if target == path or (path.is_dir() and target.is_relative_to(path)):
            what = "one that is read" if target == path else f"one in a folder that is read, {source}"
            raise ValueError(f"Expected an output apart from what is read; got {what}: {output}. Write it elsewhere.")


def chunks(given: Iterable[File], size: int, most: float = math.inf) -> Iterator[list[File]]:
    """Yield files ``size`` at a time, or fewer, once they hold ``most`` bytes in memory; the last may be fewer."""
    chunk: list[File] = []
    held = 0
    for file in given:
        chunk.append(file)
        held += file.held
        if len(chunk) == size or held >= most:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def listed(sources: Source | Iterable[Source]) -> list[Source]:
    """Return one source, or several, as a list."""
    return [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)


def _walk(folder: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    above = (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        kinds = {entry.name: _kind(entry) for entry in entries if not _is_litter((entry.name,))}
    for name, kind in sorted(kinds.items()):
        path = str(Path(folder, name))
        if kind == "file":
            yield path
        elif kind == "folder" and os.path.realpath(path) not in above:  # else a link that leads back here
            yield from _walk(path, above)


def _kind(entry: os.DirEntry[str]) -> str:
    """A folder or a file, links followed; a link that leads nowhere is a file, a pipe or a device neither."""
    try:
        if entry.is_dir():
            return "folder"
        lost = entry.is_symlink() and not Path(entry.path).exists()
        return "file" if entry.is_file() or lost else ""
    except OSError:
        return "file"  # which the reading will name


class _Member(tarfile.TarInfo):
    """A member of a tar. A damaged or missing header is an error, where `tarfile` takes it for the end."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the end of a whole one
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _is_tar(path: Path) -> bool:
    """Whether a file begins as a tar does."""
    try:
        tarfile.open(path).close()
        return True
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError):
        return False


def _members(path: Path) -> Iterator[File]:
    try:
        with tarfile.open(path, tarinfo=_Member) as tar:
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
            while compressed and tar.fileobj and tar.fileobj.read(2**16):
                pass  # to the end, where its checksum is
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise BadPicture(f"Expected a whole tar; got a damaged one ({error}): {path}") from None


def _is_litter(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part.lower() in LITTER for part in parts)


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
        return images.fit_one(picture, channels, size)
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
