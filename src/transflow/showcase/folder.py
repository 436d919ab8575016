"""The folder of a page with pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transflow.pictures.written import check_folder_of_ours
from transflow.store.files import PathLike, at_home, check_folder, write_bytes


class Folder:
    """The folder of the page: files are written one by one, each reported."""

    def __init__(self, path: PathLike, report: Callable[[str], None] | None, overwrite: bool) -> None:
        self.path, self.report = Path(at_home(path)), report
        check_folder(self.path)
        if not overwrite:
            check_folder_of_ours(self.path)
        self.path.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, content: bytes) -> Path:
        """Write a file; return its path."""
        path = self.path / name
        write_bytes(path, content)
        if self.report:
            self.report(str(path))
        return path
