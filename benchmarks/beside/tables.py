"""The tables of docs/beside.md, in Markdown, from what run.py wrote.

    python benchmarks/beside/tables.py beside.json [more.json ...]

For each kind, of the first seed, what results look like, how near they are to what was given, and what is kept of the
picture that is changed; then, of methods that several seeds were run of, means and spreads over the draws; then the
costs, means over all lines of the first seed.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Line = dict[str, Any]
Columns = dict[str, tuple[str, float, int]]  # head: the figure, what it is multiplied by, digits

SELF, MODEL = "the kind itself", "faces-32 as it is"
SPACES = ("features", "pixels", "coarse")
LOOK: Columns = {
    "pictures": ("pictures", 1, 0),
    "kernel": ("kernel", 1, 0),
    "unseen": ("kernel, unseen", 1, 0),
    "distance": ("distance", 1, 0),
    "share": ("share", 100, 0),
    "spread": ("spread", 1, 2),
}
COPYING: Columns = {
    **{f"nearest: {space}" if i == 0 else space: (f"nearest, {space}", 1, 2) for i, space in enumerate(SPACES)},
    **{f"copies: {space}" if i == 0 else f"{space} ": (f"copies, {space}", 100, 0) for i, space in enumerate(SPACES)},
    "known": ("known", 100, 0),
}
KEPT: Columns = {
    "kernel": ("kernel", 1, 0),
    "identity": ("identity", 1, 2),
    "found": ("found", 100, 0),
    "grey values": ("content, pixels", 1, 2),
    "features": ("content, features", 1, 2),
}
COST: Columns = {
    "first, s": ("first", 1, 1),
    "each, s": ("each", 1, 3),
    "passes": ("evaluations", 1, 0),
    "memory, GB": ("gigabytes", 1, 2),
}


def label(name: str, minutes: float) -> str:
    """Return a row's name: "CycleGAN, all", and the minutes of training that there were."""
    if name in (SELF, MODEL):
        return f"*{name}*"
    base, _, given = name.rpartition(", ")
    base = re.sub(r" (\d+) min\b", lambda found: f", {min(float(found[1]), minutes):g} min", base)
    return base if given == "24 pictures" else f"{base}, all"


def number(value: float, digits: int) -> str:
    """Return a number as it is printed, without a negative zero."""
    text = f"{value:,.{digits}f}"
    return text.lstrip("-") if not re.search("[1-9]", text) else text


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its heads without the spaces that tell two apart."""
    shown = [[head.strip() for head in heads], *rows]
    first, *others = ["|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in shown]
    return "\n".join([first, "|" + "---|" * len(heads), *others])


def rows_of(lines: Sequence[Line], columns: Columns, minutes: float) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of lines, without columns that no line has."""
    used = {head: c for head, c in columns.items() if any(line.get(c[0]) is not None for line in lines)}
    rows = []
    for line in lines:
        name = label(line["method"], minutes) + (" (diverged)" if "diverged" in line else "")
        values = [(line.get(figure), factor, digits) for figure, factor, digits in used.values()]
        rows.append([name, *("" if v is None else number(f * v, d) for v, f, d in values)])
    return ["", *used], rows


def ordered(lines: Sequence[Line]) -> list[Line]:
    """Return lines with those first that no method made."""
    return sorted(lines, key=lambda line: [MODEL, SELF, line["method"]].index(line["method"]))


def kind_tables(lines: Sequence[Line], minutes: float) -> str:
    """Return the three tables of a kind."""
    mine = ordered(lines)
    changing = [line for line in mine if line.get("changes")]
    found = [rows_of(mine, LOOK, minutes), rows_of(mine, COPYING, minutes), rows_of(changing, KEPT, minutes)]
    return "\n\n".join(markdown(*one) for one in found)


def spread(values: Sequence[float], factor: float, digits: int) -> str:
    """Return mean and standard deviation over draws."""
    mean, deviation = factor * statistics.mean(values), factor * statistics.stdev(values)
    return f"{number(mean, digits)} ± {number(deviation, digits)}"


def draws(lines: Sequence[Line], minutes: float, figure: str, factor: float, digits: int) -> str:
    """Return a table of a figure's mean and spread over seeds, a column for each kind."""
    kinds, names = (list(dict.fromkeys(line[word] for line in ordered(lines))) for word in ("kind", "method"))
    rows = []
    for name in names:
        values = [
            [line[figure] for line in lines if (line["kind"], line["method"]) == (kind, name) and figure in line]
            for kind in kinds
        ]
        if any(len(some) > 1 for some in values):
            cells = [spread(some, factor, digits) if len(some) > 1 else "" for some in values]
            rows.append([label(name, minutes), *cells])
    return markdown(["", *kinds], rows)


def cost_table(lines: Sequence[Line], methods: dict[str, Any], minutes: float) -> str:
    """Return the table of costs, means over kinds, with what is left to tune and what a method has."""
    rows = []
    for name in methods:
        mine = [line for line in lines if line["method"] == name and "first" in line]
        if mine:
            means = [statistics.mean(line[figure] for line in mine) for figure, _, _ in COST.values()]
            cells = [number(mean, digits) for mean, (_, _, digits) in zip(means, COST.values(), strict=True)]
            rows.append([label(name, minutes), *cells, methods[name]["tune"], ", ".join(methods[name]["has"])])
    return markdown(["", *COST, "to tune", "has"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="that run.py wrote")
    contents = [json.loads(file.read_text()) for file in parser.parse_args().files]
    minutes, methods = contents[0]["minutes"], {}
    lines: list[Line] = []
    for content in contents:
        methods |= content["methods"]
        lines += content["lines"]
    first = [line for line in lines if line["seed"] == contents[0]["seed"]]
    for kind in dict.fromkeys(line["kind"] for line in first):
        print(f"### {kind}\n\n{kind_tables([one for one in first if one['kind'] == kind], minutes)}\n")
    if len({line["seed"] for line in lines}) > 1:
        for head, figure, factor, digits in (("Kernel", "kernel", 1, 0), ("Found", "found", 100, 0)):
            print(f"### {head} from draw to draw\n\n{draws(lines, minutes, figure, factor, digits)}\n")
    print(f"### Cost\n\n{cost_table(first, methods, minutes)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
