"""Files of folders and tars: listed one by one, in their order, never a part of a damaged set for the whole.

A folder is listed with its sub-folders, linked ones too, in the order of names; no folder twice. Hidden
files and the litter of file managers are passed over. A tar that is cut or damaged is an error.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from transflow.pictures.files import File, is_litter
from transflow.pictures.given import Source, as_list, paths_of
from transflow.pictures.tars import has_tar_name, is_tar, members
from transflow.store.files import check_regular
from transflow.store.folders import INDEX, is_latents


def files(sources: Source | Iterable[Source]) -> Iterator[File]:
    """List the files of sources: folders by names, tars as they are."""
    found = as_list(sources)
    for path in map(Path, paths_of(found)):
        if not path.exists():
            raise FileNotFoundError(f"Expected a folder, a tar or picture files; got a path that is not there: {path}")
        check_regular(path, "a folder, a tar or picture files")
        if is_latents(path):
            raise ValueError(f"Expected pictures; got a folder of latents: {path}")
    for source in found:
        if isinstance(source, File):
            yield from members(source) if is_tar(source) else [source]
            continue
        path = Path(source)
        if path.is_dir():
            yield from (_file(name, kind) for name, kind, _ in _scan(str(path)) if kind != "folder")
        elif is_tar(path):
            yield from members(path)
        else:
            yield File(str(path), str(path))


def count(sources: Source | Iterable[Source]) -> int | None:
    """Return how many files sources have, or None if it is not known before reading (a tar)."""
    total = 0
    for source in as_list(sources):
        path = Path(source.name if isinstance(source, File) else source)
        if isinstance(source, File) and is_tar(source):
            return None
        if path.is_dir() and not isinstance(source, File):
            total += sum(1 for _ in files(path))
        elif has_tar_name(path) or path.suffix.lower() in (".gz", ".bz2", ".xz"):
            return None
        else:
            total += 1
    return total


def check_apart(outputs: Source | Iterable[Source], sources: Source | Iterable[Source]) -> None:
    """Raise `ValueError` if writing files or folders would change pictures, or join them.

    Args:
        outputs: what is to be written.
        sources: folders, tars and picture files; folders of latents.
    """
    targets = {os.path.realpath(output): output for output in paths_of(outputs)}
    for source in paths_of(sources):
        path = os.path.realpath(source)
        held = _inside(path, targets) if Path(path).is_dir() else None
        if path in targets or held:
            what = f"one in a folder that is read, {source}" if held else "one that is read"
            output = targets[held or path]
            raise ValueError(f"Expected an output apart from what is read; got {what}: {output}. Write it elsewhere.")


def chunks(given: Iterable[File], size: int, most: float = math.inf) -> Iterator[list[File]]:
    """Yield files ``size`` at a time, or fewer, once they hold ``most`` bytes in memory; the last may be fewer."""
    chunk: list[File] = []
    held = 0
    for file in given:
        chunk.append(file)
        held += file.bytes_in_memory
        if len(chunk) == size or held >= most:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _inside(folder: str, targets: Iterable[str]) -> str | None:
    """The first target that is, or would be, in a folder of pictures or of latents; all are real paths."""
    paths = [Path(target) for target in targets]
    if is_latents(folder):
        held = (p for p in paths if p.parent == Path(folder) and (p.name == INDEX or p.stem.isdecimal()))
    else:
        links = (os.path.realpath(path) for path, _, linked in _scan(folder) if linked)
        held = (p for place in chain([folder], links) for p in paths if p.is_relative_to(place))
    return next(map(str, held), None)


def _scan(folder: str) -> Iterator[tuple[str, str, bool]]:
    """Yield each path below a folder, its kind, and whether it is a link; no folder twice, for all its links."""
    root = os.path.realpath(folder)
    seen, waiting = {root}, [_entries(folder)]
    while waiting:  # not by recursion: folders may be a thousand deep
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        path, kind, linked = found
        if kind == "folder":
            leads = os.path.realpath(path)
            inside = linked and Path(leads).is_relative_to(root)
            if leads in seen or (inside and not is_litter(Path(leads).relative_to(root).parts)):
                continue  # it comes, or came, by itself
            seen.add(leads)
            waiting.append(_entries(path))
        yield found


def _entries(folder: str) -> Iterator[tuple[str, str, bool]]:
    """Yield path, kind and linkedness of what is in a folder, by name; of one that may not be read, itself."""
    try:
        with os.scandir(folder) as entries:
            found = {e.name: (_entry_kind(e), e.is_symlink()) for e in entries if not is_litter((e.name,))}
    except PermissionError:
        yield folder, "closed", False
        return
    for name, (kind, linked) in sorted(found.items()):
        if kind:
            yield str(Path(folder, name)), kind, linked


def _file(name: str, kind: str) -> File:
    problem = f"Expected a folder that can be read; got one that may not be: {name}" if kind == "closed" else ""
    return File(name, name, problem=problem)


def _entry_kind(entry: os.DirEntry[str]) -> str:
    """A folder or a file, links followed; a link that leads nowhere is a file, a pipe or a device neither."""
    try:
        if entry.is_dir():
            return "folder"
        lost = entry.is_symlink() and not Path(entry.path).exists()
        return "file" if entry.is_file() or lost else ""
    except OSError:
        return "file"  # which the reading will name
