"""The tables of docs/beside.md, in Markdown, from what run.py wrote.

    python benchmarks/beside/tables.py beside.json [more.json ...]

For each kind, of its first seed, what results look like, how near they are to what was given, and what is kept of the
picture that is changed; then, of methods that several seeds were run of, means and spreads over the draws; then the
costs, means over the kinds. Files are of the same minutes and pictures, and have no line twice.
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

sys.path.append(str(Path(__file__).parent.parent))  # where what is shared with other benchmarks is
from report import COLUMNS, MODEL, SELF, Line, diverged, fewer

Columns = dict[str, str]  # head: the figure
WAYS = {figure: (factor, digits) for figure, factor, digits in COLUMNS.values()}  # as run.py prints it
SPACES = ("features", "pixels", "coarse")
WAYS |= {f"copies, {space}": (100, 0) for space in SPACES}

LOOK: Columns = {word: word for word in ("pictures", "kernel", "unseen", "distance", "share", "spread")}
LOOK |= {"unseen": "kernel, unseen"}
COPYING: Columns = {
    **{f"nearest: {space}" if i == 0 else space: f"nearest, {space}" for i, space in enumerate(SPACES)},
    **{f"copies: {space}" if i == 0 else f"{space} ": f"copies, {space}" for i, space in enumerate(SPACES)},
}
KEPT: Columns = {word: word for word in ("kernel", "identity", "found")}
KEPT |= {"grey values": "content, pixels", "features": "content, features"}
COST: Columns = {"first, s": "first", "each, s": "each", "passes": "evaluations", "memory, GB": "gigabytes"}


def label(name: str, minutes: float) -> str:
    """Return a row's name: "CycleGAN, all", and the minutes of training that there were."""
    if name in (SELF, MODEL):
        return f"*{name}*"
    base, _, given = name.rpartition(", ")
    base = re.sub(r" (\d+) min\b", lambda found: f", {min(float(found[1]), minutes):g} min", base)
    return base if given == "24 pictures" else f"{base}, all"


def number(figure: str, value: float) -> str:
    """Return a figure as it is printed, without a negative zero."""
    factor, digits = WAYS[figure]
    text = f"{factor * value:,.{digits}f}"
    return text.lstrip("-") if not re.search("[1-9]", text) else text


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its heads without the spaces that tell two apart."""
    shown = [[head.strip() for head in heads], *rows]
    first, *others = ["|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in shown]
    return "\n".join([first, "|" + "---|" * len(heads), *others])


def table_of(lines: Sequence[Line], columns: Columns, minutes: float, count: int) -> str:
    """Return a table of lines, without columns that no line has; nothing if there is none."""
    used = {head: c for head, c in columns.items() if any(line.get(c) is not None for line in lines)}
    rows = []
    for line in lines:
        name = label(line["method"], minutes) + (" (diverged)" if "diverged" in line else "") + fewer([line], count)
        values = {figure: line.get(figure) for figure in used.values()}
        rows.append([name, *("" if value is None else number(figure, value) for figure, value in values.items())])
    return markdown(["", *used], rows) if used else ""


def ordered(lines: Sequence[Line]) -> list[Line]:
    """Return lines with those first that no method made."""
    return sorted(lines, key=lambda line: [MODEL, SELF, line["method"]].index(line["method"]))


def kind_tables(lines: Sequence[Line], minutes: float, count: int) -> str:
    """Return the three tables of a kind."""
    mine = ordered(lines)
    all_unseen = all(line.get("kernel, unseen") == line.get("kernel") for line in mine)
    look = {head: column for head, column in LOOK.items() if not (head == "unseen" and all_unseen)}
    changing = [line for line in mine if line.get("changes")]
    parts = ((mine, look), (mine, COPYING), (changing, KEPT))
    return "\n\n".join(filter(None, (table_of(some, columns, minutes, count) for some, columns in parts)))


def spread(lines: Sequence[Line], figure: str) -> str:
    """Return mean and standard deviation over draws, and which diverged; nothing of a single draw."""
    values = [line[figure] for line in lines if line.get(figure) is not None]
    note = diverged(lines)
    if len(values) < 2:
        return note.strip() if len(lines) > 1 else ""
    return f"{number(figure, statistics.mean(values))} ± {number(figure, statistics.stdev(values))}{note}"


def draws(lines: Sequence[Line], minutes: float, figure: str) -> str:
    """Return a table of a figure's mean and spread over seeds, a column for each kind."""
    kinds, names = (list(dict.fromkeys(line[word] for line in ordered(lines))) for word in ("kind", "method"))
    rows = []
    for name in names:
        mine = [[line for line in lines if (line["kind"], line["method"]) == (kind, name)] for kind in kinds]
        cells = [spread(some, figure) for some in mine]
        if any(cells):
            rows.append([label(name, minutes), *cells])
    return markdown(["", *kinds], rows) if rows else ""


def cost_table(lines: Sequence[Line], methods: dict[str, Any], minutes: float) -> str:
    """Return the table of costs, means over kinds, with what is left to tune and what a method has."""
    rows = []
    for name in methods:
        mine = [line for line in lines if line["method"] == name and "first" in line]
        if mine:
            cells = [number(figure, statistics.mean(line[figure] for line in mine)) for figure in COST.values()]
            rows.append([label(name, minutes), *cells, methods[name]["tune"], ", ".join(methods[name]["has"])])
    return markdown(["", *COST, "to tune", "has"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="that run.py wrote")
    contents = [json.loads(file.read_text()) for file in parser.parse_args().files]
    lines: list[Line] = [line for content in contents for line in content["lines"]]
    methods = {name: said for content in contents for name, said in content["methods"].items()}
    asked = {(content["minutes"], content["count"]) for content in contents}
    if len(asked) > 1:
        parser.error(f"Expected files of the same minutes and pictures; got {sorted(asked)}. Give them one by one.")
    places = [(line["kind"], line["seed"], line["method"]) for line in lines]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice:
        parser.error(f"Expected each kind, seed and method once; got {twice} twice. Leave a file out.")
    (minutes, count), shown = asked.pop(), []
    for kind in dict.fromkeys(line["kind"] for line in lines):
        mine = [line for line in lines if line["kind"] == kind]
        first = [line for line in mine if line["seed"] == min(one["seed"] for one in mine)]
        print(f"### {kind}\n\n{kind_tables(first, minutes, count)}\n")
        shown += first
    for figure in ("kernel", "found"):
        if found := draws(lines, minutes, figure):
            print(f"### {figure.capitalize()} from draw to draw\n\n{found}\n")
    print(f"### Cost\n\n{cost_table(shown, methods, minutes)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
