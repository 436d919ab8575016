"""Files that a browser sent, as pictures of a session: each checked, reduced, kept in the session's own folder.

The uploaded file is deleted once it is read: what stays is a picture of at most a few hundred pixels a side, without
the file's name on disk and without what else a camera writes into it. A bad file leaves the good ones beside it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from transflow.app import bounds
from transflow.app.sessions import OnePicture, Session
from transflow.pictures.files import BadPicture
from transflow.pictures.grids import encode_image
from transflow.pictures.reduced import reduced
from transflow.store.files import write_bytes

SHOWN = 3  # bad files named
LONGEST = 60  # characters of a name

Align: TypeAlias = Callable[[Any], Sequence[Any]]
"""Takes a picture of Pillow; returns the faces in it, aligned, as pictures of Pillow."""


@dataclass(frozen=True)
class Taken:
    """What became of files.

    Attributes:
        pictures: of the good ones.
        note: one line on those that were left out; may be empty.
    """

    pictures: tuple[OnePicture, ...]
    note: str = ""


def take(session: Session, paths: Sequence[str], *, have: int = 0, align: Align | None = None) -> Taken:
    """Return uploaded files as pictures in the session's folder; the uploads are deleted.

    Args:
        session: whose they are.
        paths: of the uploaded files.
        have: how many pictures the set has already.
        align: finds the faces in each picture; None takes pictures as they are.

    Raises:
        ValueError: too many, or not one of them is a picture.
    """
    try:
        if not paths:
            raise ValueError("Expected a picture; got none. Choose files, or drop them here.")
        bounds.check_count(len(paths), have)
        found: list[OnePicture] = []
        problems: list[str] = []
        for path in paths:
            try:
                found += _pictures(session, Path(path), align)
            except BadPicture as error:
                problems.append(str(error))
            except OSError:
                problems.append(f"Expected a picture; got a file that cannot be read: {Path(path).name}")
        bounds.check_count(len(found), have)
    finally:
        for path in paths:
            with suppress(OSError):
                Path(path).unlink()
    if not found:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(problems[0] + more)
    note = ""
    if problems:
        rest = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        note = f"{len(problems)} of {len(paths)} files left out: {'; '.join(problems[:SHOWN])}{rest}"
    return Taken(tuple(found), note)


def keep(session: Session, name: str, picture: Any) -> OnePicture:
    """Return a picture of Pillow as one in the session's folder."""
    file = session.folder / f"{secrets.token_hex(8)}.png"
    write_bytes(file, encode_image(picture, ".png"))
    return OnePicture(name[-LONGEST:], file)


def _pictures(session: Session, path: Path, align: Align | None) -> list[OnePicture]:
    name = path.name
    picture = reduced(path, name, most_bytes=bounds.PICTURE_BYTES, most_pixels=bounds.PICTURE_PIXELS)
    if align is None:
        return [keep(session, name, picture)]
    faces = align(picture)
    if not faces:
        raise BadPicture(f"Expected a face; found none: {name}. Untick the alignment to take the picture as it is")
    if len(faces) == 1:
        return [keep(session, name, faces[0])]
    return [keep(session, f"{name}, face {number}", face) for number, face in enumerate(faces, 1)]
