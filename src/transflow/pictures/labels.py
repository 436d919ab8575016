"""The class of a picture by the sub-folder that it is in: of ``birds``, ``birds/robin/1.png`` is a ``robin``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transflow.store.files import PathLike


def subfolder(folder: PathLike, name: str) -> str | None:
    """Return the sub-folder of ``folder`` that a file is in, at any depth; None for a file in ``folder`` itself.

    >>> subfolder("birds", "birds/robin/2019/1.png"), subfolder("birds", "birds/1.png")
    ('robin', None)
    """
    parts = Path(name).relative_to(folder).parts
    return parts[0] if len(parts) > 1 else None


def labels_of(folder: PathLike, names: Sequence[str]) -> list[str]:
    """Return the classes of a folder's pictures by name.

    Raises:
        ValueError: one is in no sub-folder.
    """
    labels = []
    for name in names:
        label = subfolder(folder, name)
        if label is None:
            raise ValueError(f"Expected pictures in sub-folders, one a class; got one outside of them: {name}")
        labels.append(label)
    return labels


def labels_among(folder: PathLike, names: Sequence[str], classes: Sequence[str]) -> list[str] | None:
    """Return the classes of a folder's pictures where every picture is in a sub-folder of one of ``classes``."""
    known = set(classes)
    labels = [label for name in names if (label := subfolder(folder, name)) in known]
    return labels if len(labels) == len(names) else None
