"""The class of a picture by the sub-folder that it is in: of ``birds``, ``birds/robin/1.png`` is a ``robin``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from transflow.pictures.files import is_litter
from transflow.pictures.sources import files
from transflow.store.files import PathLike

PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}  # of a set, and no classes


def class_folders(folder: PathLike) -> list[str]:
    """Return the names of a folder's sub-folders, sorted, without litter."""
    return sorted(path.name for path in Path(folder).iterdir() if path.is_dir() and not is_litter((path.name,)))


def check_classes(folder: PathLike) -> list[str]:
    """Return the classes of a folder of evidence, its sub-folders, each of which has files of its own.

    Raises:
        ValueError: one has none, two are one place, or they are the parts of a set.
    """
    names = class_folders(folder)
    if len(names) > 1 and {name.lower() for name in names} <= PARTS:
        raise ValueError(
            f"Expected a folder with a sub-folder for each class; got one with the parts of a set, {', '.join(names)}: "
            f"{folder}. Give one of them, such as {Path(folder, names[-1])}."
        )
    places: dict[str, str] = {}
    for name in names:
        first = places.setdefault(os.path.realpath(Path(folder, name)), name)
        if first != name:
            raise ValueError(f"Expected a folder for each class; got one for two, {first} and {name}: {folder}")
        if next(files(Path(folder, name)), None) is None:
            raise ValueError(f"Expected a picture of each class; got an empty folder, {name}: {folder}. Remove it.")
    return names


def why_no_truth(folder: PathLike, classes: Sequence[str]) -> str:
    """Return why the true classes of a folder's pictures are not known, though some are; "" where all or none are."""
    names = class_folders(folder) if Path(folder).is_dir() else []
    if not set(names) & set(classes):
        return ""
    stray = [p.name for p in sorted(Path(folder).iterdir()) if not p.is_dir() and not is_litter((p.name,))]
    other = [name for name in names if name not in classes and next(files(Path(folder, name)), None) is not None]
    if other:
        return f"{other[0]} is no class of the evidence: {folder}"
    return f"{stray[0]} is in no sub-folder: {folder}" if stray else ""


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
