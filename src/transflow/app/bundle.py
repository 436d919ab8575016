"""What a panel made, as one zip file: pictures as the model saw them, results, and the code that makes them again."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from transflow.app.gathering import Seen
from transflow.app.recipes import Recipe
from transflow.app.sessions import PREFIX, Session
from transflow.conditioning.posterior import Posterior
from transflow.pictures.grids import encode_image, grid
from transflow.store.files import write_bytes

WHEN = (1980, 1, 1, 0, 0, 0)  # of every file: the same content is the same zip


@dataclass(frozen=True, eq=False)
class Made:
    """What a panel made last.

    Attributes:
        files: contents by name, when they are asked for.
        recipe: how to make them again.
        own: name of the model file that has to be put beside them; "" for a bundled model.
    """

    files: Callable[[], Mapping[str, bytes]]
    recipe: Recipe
    own: str = ""


def pack(session: Session, name: str, made: Made) -> Path:
    """Return the zip file of what a panel made, in the session's folder.

    Args:
        session: whose it is.
        name: of the file, without its ending.
        made: what is in it.
    """
    files = {**made.files(), "same.py": made.recipe.python.encode(), "same.sh": made.recipe.shell.encode()}
    beside = f"Put the model file {made.own} here first.\n" if made.own else ""
    files["README.txt"] = (
        "Made with transflow's page; what it showed is in page/. To make it again, in this folder:\n\n"
        f"{beside}    python same.py\n\nor\n\n    sh same.sh\n"
    ).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in sorted(files.items()):
            how = zipfile.ZIP_STORED if path.endswith((".png", ".gif", ".safetensors")) else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(f"{name}/{path}", WHEN), content, how)
    target = session.folder / f"{name}.zip"
    write_bytes(target, buffer.getvalue())
    return target


def folder_of(some: Seen | Tensor, folder: str) -> dict[str, bytes]:
    """Return pictures as files of a folder, numbered from 000, each of its own size."""
    pictures = some.pixels if isinstance(some, Seen) else some
    return {f"{folder}/{i:03d}.png": one(picture) for i, picture in enumerate(pictures)}


def one(picture: Tensor) -> bytes:
    """Return one picture (C, H, W) as a file of its own size."""
    return encode_image(grid(picture[None], zoom=1, gap=0), ".png")


def mask_of(known: Tensor) -> bytes:
    """Return a mask as a picture: white is not known."""
    return one((~known).to(torch.uint8)[None] * 255)


def posterior_of(found: Posterior) -> bytes:
    """Return the bytes of a posterior's file."""
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
    try:
        path = Path(folder) / "mine.safetensors"
        found.save(path)
        return path.read_bytes()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
