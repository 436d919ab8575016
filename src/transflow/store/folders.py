"""A folder of latents: a kind of folder on disk, known by its index."""

from __future__ import annotations

from pathlib import Path

from transflow.store.files import PathLike, at_home

INDEX = "index.safetensors"  # a folder that has it is one of latents, not of pictures


def is_latents(path: PathLike) -> bool:
    """Return whether a path is a folder of latents, finished or not."""
    return Path(at_home(path), INDEX).is_file()
