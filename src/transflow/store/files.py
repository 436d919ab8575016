"""Files written whole or not at all, and found out beforehand whether they could be.

    beside its place, under a hidden name  ->  to the disk (fsync)  ->  moved to its place  ->  the folder to the disk

So a reader sees the old file or the new one, a killed write leaves the old one and a hidden part (see `locks`), and a
finished command's output survives a power cut. A new file has the mode that the umask leaves, one replaced keeps its.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, Union

PathLike: TypeAlias = Union[str, "os.PathLike[str]"]
PART = ".part"  # ends the hidden names of files that are being written
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
RANDOM = 6  # bytes of such a name that are random
LONGEST = 50  # characters of a name that hidden names beside it repeat: a name may have 255 in all


def at_home(path: PathLike) -> PathLike:
    """Return a path with ~ at its beginning as one's own folder; any other as it is.

    Raises:
        TypeError: it is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"Expected a path; got {type(path).__name__}.")
    text = os.fspath(path)
    if not text.startswith("~"):
        return path
    return Path(os.path.expanduser(text)) if isinstance(path, Path) else os.path.expanduser(text)  # noqa: PTH111


def check_writable(path: PathLike) -> None:
    """Raise `OSError` now if a file could not be written there, before any work is done for it."""
    target = Path(at_home(path))
    if target.is_dir():
        raise OSError(f"Expected a file to write; got a folder: {target}")
    if target.exists() and not target.is_file():
        raise OSError(f"Expected a file to write; got a device or a pipe: {target}")
    if not target.parent.is_dir():
        raise OSError(f"Expected an output in a folder that is there; got: {target}")
    if not os.access(target.parent, os.W_OK):
        raise OSError(f"Expected an output that can be written; got one in a folder that cannot: {target}")
    if target.exists() and not target.stat().st_mode & 0o222:
        raise OSError(f"Expected an output that can be written; got a file that is read-only: {target}")


def check_folder(path: PathLike) -> None:
    """Raise `OSError` now if no files could be written into a folder, there or to be made with all above it."""
    target = Path(at_home(path))
    there = next(folder for folder in (target, *target.absolute().parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise OSError(f"Expected a folder to write into; got a file: {there}")
    if not os.access(there, os.W_OK):
        raise OSError(f"Expected a folder that can be written; got one that cannot: {target}")


def check_regular(path: PathLike, what: str) -> None:
    """Raise `ValueError` if a path is a pipe or a device: one waits for ever, and is read once alone.

    Args:
        path: where something is to be read; what is not there is no error.
        what: was expected, in words.
    """
    place = Path(at_home(path))
    if place.exists() and not place.is_file() and not place.is_dir():
        raise ValueError(f"Expected {what}; got a pipe or a device: {path}. Write it to a file first.")


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write a file whole or not at all, and to the disk; links are followed."""
    check_writable(path)
    target = Path(at_home(path)).resolve()
    beside = target.parent / f"{hidden_prefix(target)}{secrets.token_hex(RANDOM)}{PART}"
    try:
        with open(os.open(beside, NEW, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # no file, or a file system without modes
            os.chmod(beside, stat.S_IMODE(target.stat().st_mode))
        os.replace(beside, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise OSError(f"Expected an output that can be written; got {path} ({error.strerror})") from None
    finally:
        beside.unlink(missing_ok=True)


def hidden_prefix(target: Path) -> str:
    """Return how the names of the hidden files beside a file begin."""
    name = target.name
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
    return f".{name}."


def remove_parts(folder: PathLike, target: Path | None = None) -> None:
    """Remove what killed writes left in a folder, of one file of it or of all; call it only while nobody writes."""
    own = re.escape(hidden_prefix(target)) if target else r"\..+\."
    for path in Path(at_home(folder)).iterdir():
        if re.fullmatch(f"{own}[0-9a-f]{{{2 * RANDOM}}}{re.escape(PART)}", path.name):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # a system that cannot
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
