"""What an earlier run of ours wrote, so that it alone is replaced: a photograph, or another's file, never unasked.

A picture of ours says so where its format has a place for it (the EXIF field "Software"; a GIF's comment), a table by
its first columns, a page by its generator, and a file of `store.container` by its kind. What does not say so is taken
for the user's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL import Image

from transflow.pictures.files import is_litter
from transflow.store import container
from transflow.store.files import PathLike
from transflow.store.folders import is_latents

MAKER = "transflow"
SOFTWARE = 0x0131  # of EXIF and TIFF
TABLES = (b"picture,class,rejected,", b"accuracy in percent by")  # how tables of predictions and of accuracies begin
GENERATOR = b'<meta name="generator" content="transflow">'
PICTURE = "picture"


def marks(picture_format: str) -> dict[str, Any]:
    """Return what Pillow's ``save`` is given so that a picture of a format says who made it."""
    if picture_format == "GIF":
        return {"comment": MAKER.encode()}
    exif = Image.Exif()
    exif[SOFTWARE] = MAKER
    return {"exif": exif} if picture_format in ("PNG", "JPEG", "WEBP", "TIFF") else {}


def kind_of(path: PathLike) -> str:
    """Return what a file of ours is: "posterior", "model", "picture", "table", "page", ...; "" for another's."""
    try:
        with open(path, "rb") as file:
            start = file.read(1024)
        if start.startswith(TABLES):
            return "table"
        if GENERATOR in start:
            return "page"
        if kind := container.kind_of(path):
            return kind
        with Image.open(path) as picture:
            made = (picture.info.get("comment"), picture.getexif().get(SOFTWARE))
            return PICTURE if MAKER in made or MAKER.encode() in made else ""
    except Exception:  # whatever Pillow raises of a file that is none of ours
        return ""


def check_replaceable(path: PathLike, kind: str) -> bool:
    """Return whether there is a file of ours, of this kind, to be replaced.

    Raises:
        FileExistsError: there is a file of another kind, or of somebody else.
    """
    if not os.path.lexists(path):
        return False
    found = kind_of(path)
    if found != kind:
        words = f"a {found} file" if found else "a file that transflow did not write"
        raise FileExistsError(f"Expected a new output, or a {kind} to replace; got {words}: {path}. {WAY_OUT}")
    return True


WAY_OUT = "Write elsewhere, or give --overwrite."


def check_folder_of_ours(path: PathLike) -> list[Path]:
    """Return the pictures of ours in a folder, there or not.

    Raises:
        FileExistsError: it holds files that we did not write, or latents; sub-folders, and litter, are passed over.
    """
    if is_latents(path):
        raise FileExistsError(f"Expected a new folder, or one of pictures; got one of latents: {path}. {WAY_OUT}")
    folder, found = Path(path), []
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if file.is_dir() or is_litter((file.name,)):
            continue
        kind = kind_of(file)
        if not kind:
            what = f"one with files that transflow did not write, such as {file.name}"
            raise FileExistsError(f"Expected a new folder, or one that transflow wrote; got {what}: {path}. {WAY_OUT}")
        found += [file] if kind == PICTURE else []
    return found
