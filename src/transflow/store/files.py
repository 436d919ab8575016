"""Files written whole or not at all, and found out beforehand whether they could be."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TypeAlias, Union

PathLike: TypeAlias = Union[str, "os.PathLike[str]"]


def check_writable(path: PathLike) -> None:
    """Raise `OSError` now if a file could not be written there, before any work is done for it."""
    target = Path(path)
    if target.is_dir():
        raise OSError(f"Expected a file to write; got a folder: {target}")
    if target.exists() and not target.is_file():
        raise OSError(f"Expected a file to write; got a device or a pipe: {target}")
    if not target.parent.is_dir():
        raise OSError(f"Expected an output in a folder that is there; got: {target}")
    if not os.access(target.parent, os.W_OK):
        raise OSError(f"Expected an output that can be written; got one in a folder that cannot: {target}")


def check_folder(path: PathLike) -> None:
    """Raise `OSError` now if no files could be written into a folder, there or to be made with all above it."""
    target = Path(path)
    there = next(folder for folder in (target, *target.absolute().parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise OSError(f"Expected a folder to write into; got a file: {there}")
    if not os.access(there, os.W_OK):
        raise OSError(f"Expected a folder that can be written; got one that cannot: {target}")


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write a file whole or not at all: beside its place first, then moved there; links are followed."""
    check_writable(path)
    target = Path(path).resolve()
    beside = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        beside = Path(name)
        with open(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)
        os.replace(beside, target)
    except OSError as error:
        raise OSError(f"Expected an output that can be written; got {path} ({error.strerror})") from None
    finally:
        if beside:
            beside.unlink(missing_ok=True)
