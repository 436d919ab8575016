"""What is given as pictures: paths, uploads, or pixels; each form is known here, once.

"pictures/", Path("~/a.png"), ["a.tar", b"..."]     sources, as `as_list` has them
an array of paths, a column of a table               likewise
a tensor, an array, PIL                              pixels (see `preprocess`)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeAlias, Union

import numpy as np

from transflow.pictures.files import File
from transflow.pictures.uploads import as_file, is_upload
from transflow.store.files import PathLike, at_home

Source: TypeAlias = Union[PathLike, File]  # a folder, a tar or a picture file; or one that is in memory


def as_list(sources: Any) -> list[Source]:
    """Return one source, or several, as a list: paths, ~ being one's own folder, and uploads as files."""
    if not is_source(sources) and not isinstance(sources, Iterable):
        what = type(sources).__name__
        raise TypeError(f"Expected a folder, a tar or picture files, by path or open; got {what}.")
    several: Iterable[Any] = [sources] if is_source(sources) else sources
    return [source if isinstance(source, File) else _source(source) for source in several]


def is_paths(pictures: Any) -> bool:
    """Return whether pictures are given as a path or an upload, or as several of these."""
    if isinstance(pictures, np.ndarray) and (pictures.ndim != 1 or pictures.dtype.kind not in "UO"):
        return False
    if isinstance(pictures, (list, tuple, np.ndarray)) or _is_column(pictures):
        return len(pictures) > 0 and all(map(is_source, pictures))
    return is_source(pictures)


def is_source(value: Any) -> bool:
    """Return whether something is a path, or an upload."""
    return isinstance(value, (str, os.PathLike, File)) or is_upload(value)


def paths_of(sources: Any) -> list[PathLike]:
    """Return the sources that are paths: those on disk."""
    return [source for source in as_list(sources) if not isinstance(source, File)]


def _source(value: Any) -> Source:
    if isinstance(value, str) and not value:
        raise ValueError('Expected a path; got an empty one, "".')
    return as_file(value) if is_upload(value) else at_home(value)


def _is_column(value: Any) -> bool:
    """Whether something is a column of pandas, polars or the like."""
    return callable(getattr(value, "to_numpy", None)) and getattr(value, "ndim", 1) == 1
