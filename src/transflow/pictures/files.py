"""A file that may be a picture: where its bytes are, and what is passed over beside pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass

from transflow.pictures.limits import too_many_bytes

LITTER = {  # of file managers, cameras' programs, network drives and file systems; in lower case
    "thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r",
    "__macosx", "@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot", "$recycle.bin",
    "system volume information", "recycler", "lost+found", "network trash folder", "temporary items",
}  # fmt: skip


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
        problem: why it is not to be read; empty for a file that is.
    """

    name: str
    path: str
    span: tuple[int, int] | None = None
    content: bytes | None = None
    problem: str = ""

    @property
    def bytes_in_memory(self) -> int:
        """How many of its bytes are in memory."""
        return 0 if self.content is None else len(self.content)

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            BadPicture: there are more than a picture has.
            OSError: it cannot be read.
        """
        if self.content is not None:
            return self.content
        if self.problem:
            raise BadPicture(self.problem)
        with open(self.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size if self.span is None else self.span[1]
            if problem := too_many_bytes(size, self.name):
                raise BadPicture(problem)
            if self.span is not None:
                file.seek(self.span[0])
            return file.read(size)


def is_litter(parts: tuple[str, ...]) -> bool:
    """Return whether a path, in its parts, is hidden or what file managers leave behind."""
    return any((part.startswith(".") and part != "..") or part.lower() in LITTER for part in parts)
