"""A file that may be a picture: where its bytes are, and what is passed over beside pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from transflow.store.files import PathLike

Source: TypeAlias = PathLike  # a folder, a tar or a picture file
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}


class BadPicture(ValueError):
    """A file that cannot be read as a picture; the message names it and says why."""


@dataclass(frozen=True)
class File:
    """A file that may be a picture, to be read when its turn comes.

    Attributes:
        name: what it is called.
        path: the file on disk that has it.
        span: first byte and length in ``path``, for a member of a tar; None for a whole file.
        content: its bytes, for a member of a compressed tar, which has no span.
    """

    name: str
    path: str
    span: tuple[int, int] | None = None
    content: bytes | None = None

    @property
    def bytes_in_memory(self) -> int:
        """How many of its bytes are in memory."""
        return 0 if self.content is None else len(self.content)

    def read(self) -> bytes:
        """Return the bytes."""
        if self.content is not None:
            return self.content
        with open(self.path, "rb") as file:
            if self.span is None:
                return file.read()
            file.seek(self.span[0])
            return file.read(self.span[1])


def as_list(sources: Source | Iterable[Source]) -> list[Source]:
    """Return one source, or several, as a list."""
    return [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)


def is_paths(pictures: Any) -> bool:
    """Return whether pictures are given as a path, or a list of paths."""
    if isinstance(pictures, (list, tuple)):
        return len(pictures) > 0 and all(isinstance(p, (str, os.PathLike)) for p in pictures)
    return isinstance(pictures, (str, os.PathLike))


def is_litter(parts: tuple[str, ...]) -> bool:
    """Return whether a path, in its parts, is hidden or what file managers leave behind."""
    return any((part.startswith(".") and part != "..") or part.lower() in LITTER for part in parts)
