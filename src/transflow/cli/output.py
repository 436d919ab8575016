"""What commands write: each output is checked before any work is done for it, and written whole or not at all.

An output is never one of the files that the command reads, nor a new file among the pictures that it reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from transflow.pictures.grids import check_picture_file, encode_image
from transflow.pictures.sources import check_apart
from transflow.store.files import PathLike, check_folder, check_writable, write_bytes

Reads: TypeAlias = Sequence[PathLike]


@dataclass(frozen=True)
class Output:
    """A file or a folder to write, at a place where it can be written.

    Attributes:
        path: as the user gave it.
    """

    path: str

    @classmethod
    def file(cls, path: str, reads: Reads, *, suffix: str) -> Output:
        """Return an output file of this suffix.

        Args:
            path: the file.
            reads: every file and folder that the command reads.
            suffix: such as ".csv".

        Raises:
            ValueError: another suffix, or the output is one of what is read.
            OSError: it cannot be written there.
        """
        if not path.endswith(suffix):
            raise ValueError(f"Expected an output file that ends in {suffix}; got: {path}")
        return cls._checked(path, reads)

    @classmethod
    def picture(cls, path: str, reads: Reads) -> Output:
        """Return an output file of a picture format; arguments and errors as for `file`."""
        check_picture_file(path)
        return cls._checked(path, reads)

    @classmethod
    def folder(cls, path: str, reads: Reads) -> Output:
        """Return an output folder of PNG files, existing or not; arguments and errors as for `file`."""
        check_folder(path)
        check_apart([path, *Path(path).glob("*.png")], reads)
        return cls(path)

    @classmethod
    def _checked(cls, path: str, reads: Reads) -> Output:
        check_writable(path)
        check_apart(path, reads)
        return cls(path)

    def write(self, content: bytes) -> None:
        """Write the file."""
        write_bytes(self.path, content)

    def write_picture(self, picture: Any) -> None:
        """Write a picture of Pillow in the format of the suffix."""
        self.write(encode_image(picture, Path(self.path).suffix))

    def write_numbered(self, contents: Iterable[bytes]) -> None:
        """Write the files 0000.png, 0001.png, ... into the folder, which is created."""
        Path(self.path).mkdir(parents=True, exist_ok=True)
        for i, content in enumerate(contents):
            write_bytes(Path(self.path) / f"{i:04d}.png", content)

    def __str__(self) -> str:
        return self.path
