"""Files of folders and tars: listed one by one, in their order, never a part of a damaged set for the whole.

A folder is listed with its sub-folders, linked ones too, in the order of names; no folder twice. Hidden
files and the litter of file managers are passed over. A tar that is cut or damaged is an error.
"""

from __future__ import annotations

import io
import lzma
import math
import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias, Union

Source: TypeAlias = Union[str, "os.PathLike[str]"]
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
LATENTS = "index.safetensors"  # a folder that has it is one of latents (see `streaming`), not of pictures


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


def files(sources: Source | Iterable[Source]) -> Iterator[File]:
    """List the files of sources: folders by names, tars as they are."""
    paths = [Path(source) for source in as_list(sources)]
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"Expected a folder, a tar or picture files; got a path that is not there: {path}")
        if is_latents(path):
            raise ValueError(f"Expected pictures; got a folder of latents: {path}")
    for path in paths:
        if path.is_dir():
            yield from (File(name, name) for name, kind, _ in _scan(str(path)) if kind == "file")
        elif _is_tar(path):
            yield from _members(path)
        else:
            yield File(str(path), str(path))


def is_latents(path: Source) -> bool:
    """Return whether a path is a folder of latents, finished or not."""
    return Path(path, LATENTS).is_file()


def check_apart(outputs: Source | Iterable[Source], sources: Source | Iterable[Source]) -> None:
    """Raise `ValueError` if writing files or folders would change pictures, or join them.

    Args:
        outputs: what is to be written.
        sources: folders, tars and picture files; folders of latents.
    """
    targets = {os.path.realpath(output): output for output in as_list(outputs)}
    for source in as_list(sources):
        path = os.path.realpath(source)
        held = _held(path, targets) if Path(path).is_dir() else None
        if path in targets or held:
            what = f"one in a folder that is read, {source}" if held else "one that is read"
            output = targets[held or path]
            raise ValueError(f"Expected an output apart from what is read; got {what}: {output}. Write it elsewhere.")


def has_tar_name(path: Path) -> bool:
    """Return whether a file's name is one of a tar."""
    return bool(re.search(r"\.(tar|tar\.[a-z0-9]+|tgz|tbz2?|txz)$", path.name.lower()))


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


def as_list(sources: Source | Iterable[Source]) -> list[Source]:
    """Return one source, or several, as a list."""
    return [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)


def _held(folder: str, targets: Iterable[str]) -> str | None:
    """The first target that is, or would be, in a folder of pictures or of latents; all are real paths."""
    paths = [Path(target) for target in targets]
    if is_latents(folder):
        held = (p for p in paths if p.parent == Path(folder) and (p.name == LATENTS or p.stem.isdecimal()))
    else:
        links = (os.path.realpath(path) for path, _, linked in _scan(folder) if linked)
        held = (p for place in chain([folder], links) for p in paths if p.is_relative_to(place))
    return next(map(str, held), None)


def _scan(folder: str, root: str = "", seen: set[str] | None = None) -> Iterator[tuple[str, str, bool]]:
    """Yield each path below a folder, its kind, and whether it is a link; no folder twice, for all its links."""
    real = os.path.realpath(folder)
    root, seen = root or real, set() if seen is None else seen
    seen.add(real)
    with os.scandir(folder) as entries:
        found = {entry.name: (_kind(entry), entry.is_symlink()) for entry in entries if not _is_litter((entry.name,))}
    for name, (kind, linked) in sorted(found.items()):
        path = str(Path(folder, name))
        if kind == "folder":
            leads = os.path.realpath(path)
            inside = linked and Path(leads).is_relative_to(root)
            if leads in seen or (inside and not _is_litter(Path(leads).relative_to(root).parts)):
                continue  # it comes, or came, by itself
        if kind:
            yield path, kind, linked
        if kind == "folder":
            yield from _scan(path, root, seen)


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
    """A member of a tar. A damaged or missing header is an error, where `tarfile` takes it for the end.

    One of zeros *is* the end, and what follows must be zeros too; so a tar whose rest is all zeros is taken for whole.
    """

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the end of a whole one
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _is_tar(path: Path) -> bool:
    """Whether a file is called a tar, or begins as one does."""
    if has_tar_name(path):
        return True
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
                if member.isdir() or member.isdev() or _is_litter(Path(member.name).parts):
                    continue
                if not member.isfile():
                    raise BadPicture(f"Expected files in a tar; got a link, {member.name}: {path}. Unpack the tar.")
                if compressed or member.issparse():
                    file = tar.extractfile(member)
                    assert file is not None
                    yield File(member.name, str(path), content=file.read())
                else:
                    yield File(member.name, str(path), (member.offset_data, member.size))
            while tar.fileobj and (rest := tar.fileobj.read(2**16)):  # to the end, where a compressed one's checksum is
                if rest.strip(b"\0"):
                    raise tarfile.ReadError("more after its end")
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise BadPicture(f"Expected a whole tar; got a damaged one ({error}): {path}") from None


def _is_litter(parts: tuple[str, ...]) -> bool:
    return any((part.startswith(".") and part != "..") or part.lower() in LITTER for part in parts)
