"""What commands write: each output is checked before any work is done for it, and written whole or not at all.

An output is never one of the files that the command reads, nor a new file among the pictures that it reads. What an
earlier run of ours wrote is replaced, whole, with a note; anything else that is there is kept, but with --overwrite. No
other process writes the same output meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from transflow.cli.messages import note
from transflow.pictures.grids import check_picture_file, encode_image, format_of, layout
from transflow.pictures.largest import check_fits
from transflow.pictures.sources import check_apart
from transflow.pictures.written import PICTURE, check_folder_of_ours, check_replaceable
from transflow.store.files import PathLike, check_folder, check_writable, write_bytes
from transflow.store.locks import Lock

Reads: TypeAlias = Sequence[PathLike]


@dataclass(frozen=True)
class Output:
    """A file or a folder to write, where it can be written, and no other process writes it until the command is done.

    Attributes:
        path: as the user gave it.
        lock: keeps other processes from it.
        old: pictures of an earlier run in a folder.
    """

    path: str
    lock: Lock = field(repr=False, compare=False)
    old: tuple[Path, ...] = field(default=(), repr=False)

    @classmethod
    def file(
        cls, path: str, reads: Reads, *, suffix: str, kind: str, overwrite: bool = False, known: PathLike | None = None
    ) -> Output:
        """Return an output file of this suffix.

        Args:
            path: the file.
            reads: every file and folder that the command reads.
            suffix: such as ".csv".
            kind: of the file, as `pictures.written.kind_of` has it.
            overwrite: also write over what is not ours.
            known: a file that the user gave to be written anew, without a note.

        Raises:
            ValueError: another suffix, or the output is one of what is read.
            OSError: it cannot be written there, is not ours to replace, or another process writes it.
        """
        if not path.endswith(suffix):
            raise ValueError(f"Expected an output file that ends in {suffix}; got: {path}")
        return cls._checked(path, reads, kind, overwrite, known)

    @classmethod
    def picture(cls, path: str, reads: Reads, *, overwrite: bool = False) -> Output:
        """Return an output file of a picture format; arguments and errors as for `file`."""
        check_picture_file(path)
        return cls._checked(path, reads, PICTURE, overwrite)

    @classmethod
    def folder(cls, path: str, reads: Reads, *, overwrite: bool = False) -> Output:
        """Return an output folder of PNG files, existing or not; arguments and errors as for `file`."""
        check_folder(path)
        check_apart([path, *Path(path).glob("*.png")], reads)
        old = [] if overwrite else check_folder_of_ours(path)
        numbered = tuple(file for file in old if file.suffix == ".png" and file.stem.isdecimal())
        if numbered:
            note(f"note: {len(numbered)} pictures of an earlier run are replaced: {path}")
        Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
        return cls(path, Lock(path), numbered)

    @classmethod
    def named_folder(cls, path: str, reads: Reads, *, overwrite: bool = False) -> Output:
        """Return an output folder of pictures by name, in sub-folders too; arguments and errors as for `file`.

        What an earlier run wrote under the same name is replaced; its other pictures stay.
        """
        check_folder(path)
        check_apart([path, *Path(path).rglob("*.png")], reads)
        if not overwrite:
            check_folder_of_ours(path)
            inside = [folder for folder in sorted(Path(path).rglob("*")) if folder.is_dir()]
            for folder in inside:
                check_folder_of_ours(folder)
        Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
        return cls(path, Lock(path))

    @classmethod
    def _checked(cls, path: str, reads: Reads, kind: str, overwrite: bool, known: PathLike | None = None) -> Output:
        check_writable(path)
        check_apart(path, reads)
        ours = not overwrite and check_replaceable(path, kind)
        if ours and not (known and os.path.realpath(known) == os.path.realpath(path)):
            note(f"note: a {kind} that transflow wrote is replaced: {path}")
        return cls(path, Lock(path))

    def check_sheet(
        self,
        shape: tuple[int, int, int],
        count: int | None,
        columns: int | None = None,
        *,
        frames: int = 1,
        rows: Sequence[str] = (),
        heads: Sequence[str] = (),
    ) -> None:
        """Raise `ValueError` now if a sheet of pictures would be too large for the file (see `pictures.largest`).

        Args:
            shape: (C, H, W) of each picture.
            count: how many there are on it, or None where that is not known; of an animation, in a frame.
            columns: in a row; by default it is about square.
            frames: of an animation.
            rows: words to the left of each row.
            heads: words above each column.
        """
        self.check_fits(layout(shape, count or 1, columns, rows=rows, heads=heads).size, frames)

    def check_fits(self, size: tuple[int, int], frames: int = 1) -> None:
        """Raise `ValueError` now if a picture of this width and height would be too large for the file."""
        check_fits(format_of(Path(self.path).suffix), *size, frames)

    def write(self, content: bytes) -> None:
        """Write the file."""
        write_bytes(self.path, content)

    def write_picture(self, picture: Any) -> None:
        """Write a picture of Pillow in the format of the suffix."""
        self.write(encode_image(picture, Path(self.path).suffix))

    def write_named(self, name: str, content: bytes) -> None:
        """Write a file of this name into the folder; its folders are made."""
        target = Path(self.path, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, content)

    def write_numbered(self, contents: Iterable[bytes]) -> None:
        """Write the files 0000.png, 0001.png, ... into the folder, which is created, in place of those before."""
        Path(self.path).mkdir(parents=True, exist_ok=True)
        written = 0
        for content in contents:
            write_bytes(Path(self.path) / f"{written:04d}.png", content)
            written += 1
        for file in self.old:
            number = int(file.stem)
            if number >= written or file.name != f"{number:04d}.png":
                file.unlink(missing_ok=True)

    def __str__(self) -> str:
        return self.path
