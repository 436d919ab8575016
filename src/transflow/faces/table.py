"""Eyes, or boxes, in a table: a CSV with a header, one row a face, in pixels of the upright picture.

file,left_x,left_y,right_x,right_y     the middles of the eyes, left and right as the picture shows them
file,left,top,right,bottom             the box that is cut out, made square about its centre
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from transflow.pictures.turned import Eyes
from transflow.store.files import PathLike

EYES = ("file", "left_x", "left_y", "right_x", "right_y")
BOX = ("file", "left", "top", "right", "bottom")
HEADERS = f"{','.join(EYES)} or {','.join(BOX)}"


def read_table(path: PathLike) -> dict[str, list[Eyes]]:
    """Return the eyes of faces by the file's name.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no such table; the message names the line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"Expected a table of eyes or boxes; got a path that is no file: {path}")
    found: dict[str, list[Eyes]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            names = tuple(name.strip().lower() for name in rows.fieldnames or ())
            rows.fieldnames = list(names)
            columns = next((known for known in (EYES, BOX) if set(known) <= set(names)), None)
            if columns is None:
                raise ValueError(f"Expected a table that begins {HEADERS}; got {','.join(names)[:80]!r}: {path}")
            for row in rows:
                found.setdefault(row["file"], []).append(_eyes(row, columns, f"{path}, line {rows.line_num}"))
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"Expected a table as text, CSV; got another file: {path}") from None
    if not found:
        raise ValueError(f"Expected a table with a row for each face; got none: {path}")
    return found


def _eyes(row: dict[str, str], columns: tuple[str, ...], where: str) -> Eyes:
    try:
        a, b, c, d = (float(row[name]) for name in columns[1:])
        fine = all(map(math.isfinite, (a, b, c, d)))
    except (TypeError, ValueError):
        fine = False
    if not fine or not row["file"]:
        raise ValueError(
            f"Expected a file and four numbers; got {','.join(str(row[name]) for name in columns)}: {where}"
        )
    if columns == BOX:
        if a >= c or b >= d:
            raise ValueError(f"Expected a box with left < right and top < bottom; got {a:g},{b:g},{c:g},{d:g}: {where}")
        return Eyes.of_box(a, b, c, d)
    if a >= c:
        raise ValueError(
            f"Expected the left eye left of the right one, as the picture shows them; got x {a:g} and {c:g}: {where}. "
            "Exchange the columns, or turn the picture upright first."
        )
    return Eyes((a, b), (c, d))
