"""What is printed, drawn and written of a run's lines: a table, sheets of pictures, the summary in JSON.

A line is a kind, a method and a seed: figures of the result, or why there is none ("diverged"). A row of the table is
the mean over seeds; where some diverged, it says so beside the mean of the others.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import kinds
from common import table
from method import Method, Result
from transflow import load
from transflow.conditioning import edits
from transflow.pictures import decode as data
from transflow.pictures import grids
from transflow.store.files import write_bytes

Line = dict[str, Any]
SELF, MODEL = "the kind itself", "faces-32 as it is"  # rows that no method makes

COLUMNS = {  # head: the figure, what it is multiplied by, digits
    "pictures": ("pictures", 1, 0),
    "distance": ("distance", 1, 0),
    "kernel": ("kernel", 1, 0),
    "unseen": ("kernel, unseen", 1, 0),
    "share %": ("share", 100, 0),
    "spread": ("spread", 1, 2),
    "nearest": ("nearest, features", 1, 2),
    "coarse": ("nearest, coarse", 1, 2),
    "pixels": ("nearest, pixels", 1, 2),
    "copies %": ("copies, features", 100, 1),
    "known %": ("known", 100, 1),
    "identity": ("identity", 1, 2),
    "found %": ("found", 100, 0),
    "kept, pixels": ("content, pixels", 1, 2),
    "features": ("content, features", 1, 2),
    "first, s": ("first", 1, 1),
    "evaluations": ("evaluations", 1, 0),
    "each, s": ("each", 1, 3),
    "GB": ("gigabytes", 1, 2),
}
SHOWN, ZOOM = 10, 2
LARGE = "faces-128"


def figures(lines: Sequence[Line]) -> dict[str, float]:
    """Return the means over seeds of what lines of one kind and method have."""
    good = [line for line in lines if "diverged" not in line]
    found = {}
    for name in {name for line in good for name in line}:
        values = [line.get(name) for line in good]
        known = [value for value in values if isinstance(value, (int, float))]
        if known:
            found[name] = statistics.mean(known)
    return found


def diverged(lines: Sequence[Line]) -> str:
    """Return a note of the seeds that diverged."""
    lost = ", ".join(str(line["seed"]) for line in lines if "diverged" in line)
    return f" (diverged: seed {lost})" if lost else ""


def fewer(lines: Sequence[Line], count: int) -> str:
    """Return a note where a method made fewer pictures than were asked for, as one does whose minutes are over."""
    least = min((line["count"] for line in lines if "first" in line), default=count)
    return f" ({least} of {count} pictures)" if least < count else ""


def row(name: str, lines: Sequence[Line], method: Method | None, count: int) -> list[str]:
    """Return a row of the table."""
    note = diverged(lines) + fewer(lines, count)
    known = figures(lines)
    cells = [
        f"{factor * known[figure]:,.{digits}f}" if figure in known else "-"
        for figure, factor, digits in COLUMNS.values()
    ]
    has = ", ".join(sorted(method.has)) if method else ""
    return [name + note, str(len(lines)), *cells, has or "-"]


def cut_short(name: str, minutes: float) -> str:
    """Return a method's name, with the minutes that it had if its name says more."""
    asked = re.search(r"(\d+) min\b", name)
    return f"{name} (here {minutes:g} min)" if asked and int(asked[1]) > minutes else name


def printed(lines: Sequence[Line], methods: dict[str, Method], minutes: float, count: int) -> str:
    """Return the table of all kinds, and below it what is left to tune of each method.

    Args:
        lines: of the run.
        methods: by name.
        minutes: of training, at most.
        count: pictures that each was asked for.
    """
    rows = []
    for kind in dict.fromkeys(line["kind"] for line in lines):
        mine = [line for line in lines if line["kind"] == kind]
        for name in dict.fromkeys(line["method"] for line in mine):
            rows.append(
                row(
                    f"{kind}: {cut_short(name, minutes)}",
                    [one for one in mine if one["method"] == name],
                    methods.get(name),
                    count,
                )
            )
    tuned = [f"{name}: {method.tune} ({method.reference})" for name, method in methods.items()]
    return "\n".join([table(["kind: method", "seeds", *COLUMNS, "has"], rows), "", "Left to tune:", *tuned])


def own_table(name: str, content: dict[str, Any]) -> str:
    """Return what a table of its own has: dictionaries of plain values as its rows, others as further tables."""
    plain: dict[str, dict[str, Any]] = {}
    below, words = [], []
    for key, value in content.items():
        if not isinstance(value, dict):
            words.append(f"{key}: {value}")
        elif any(isinstance(one, dict) for one in value.values()):
            below.append(own_table(f"{name}, {key}", value))
        else:
            plain[key] = value
    heads = list(dict.fromkeys(head for value in plain.values() for head in value))
    rows = [[key, *("-" if value.get(h) is None else value[h] for h in heads)] for key, value in plain.items()]
    return "\n".join([f"\n{name}", *([table(["", *heads], rows)] if rows else []), *words, *below])


def filled(pictures: Tensor, count: int = SHOWN) -> Tensor:
    """Return so many pictures, white ones where there are fewer."""
    some = pictures[:count]
    return torch.cat([some, torch.full((count - len(some), *some.shape[1:]), 255, dtype=torch.uint8)])


def sheet(path: Path, kind: str, evidence: Tensor, sources: Tensor, results: dict[str, Result]) -> None:
    """Write rows by method: samples of those that make new ones; sources above what others changed them to.

    Evidence is shown of drawn kinds alone.
    """
    rows = {"evidence": evidence} if kind in kinds.STYLES else {}
    rows |= {name: result.made for name, result in results.items() if not result.changes}
    changed = {name: result.made for name, result in results.items() if result.changes}
    rows |= {"samples of faces-32": sources} | changed if changed else {}
    write(path, rows)


def write(path: Path, rows: dict[str, Tensor], zoom: int = ZOOM) -> None:
    """Write a sheet of a row of uint8 pictures for each name."""
    shown = torch.cat([filled(pictures) for pictures in rows.values()])
    page = grids.grid(shown, SHOWN, rows=list(rows), zoom=zoom)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, grids.encode_image(page.quantize(256), ".png"))
    print(f"written: {path}", flush=True)


def large_sheet(path: Path, folder: Path, rows: Sequence[int], seed: int) -> None:
    """Write what transflow makes of the same drawings at 128 x 128."""
    model = load(LARGE)
    evidence = data.read(folder, model.shape).pixels[list(rows)]
    posterior = model.condition(evidence)
    own = grids.to_uint8(model.pictures(model.prior, SHOWN, seed=1, temperature=0.7))
    edit = edits.towards(posterior.with_learn("covariance"))
    new = grids.to_uint8(posterior.pictures(SHOWN, seed=seed))
    changed = grids.to_uint8(edit.pictures(own))
    samples = f"samples of {LARGE}"
    write(path, {"evidence": evidence, "transflow": new, samples: own, "transflow towards": changed}, zoom=1)
