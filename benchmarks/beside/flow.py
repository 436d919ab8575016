"""The course of a run: kinds, seeds, methods; each result kept when it is there, judged, and a line written of it.

    FOLDER/cache/                       pictures as they are compared, by kind
    FOLDER/MINUTES-COUNT/lines.jsonl    a line for each kind, method and seed that is done
    FOLDER/MINUTES-COUNT/KIND/SEED/METHOD/    what a method keeps, and its result
    FOLDER/MINUTES-COUNT/sheets/        pictures; never publish those of kinds that are photographs

A method that takes less than five minutes with the first seed is run with all seeds, others with the first alone.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cases
import kinds
import report
from common import setting, write_json
from method import Method, Result
from report import MODEL, SELF
from work import DIVERGED, result_of, run_apart, run_method, whole

FILES = ("transflow_ways", "fine_tune", "latent_constraints", "cyclegan", "funit", "neural_style")
TABLES = ("colouring", "pairs")
GIVEN = ("kind", "evidence", "more", "others", "sources", "seed", "groups", "group_names")
FAST = 300.0  # seconds


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def has_all(name: str) -> bool:
    """Return whether a method is given more than the evidence, by its name."""
    return "24 pictures" not in name


def pictures_of(name: str, case: cases.Case) -> int:
    """Return how many pictures of the kind a method is given."""
    if not has_all(name):
        return len(case.evidence)
    most = re.search(r"up to (\d+)", name)
    return min(len(case.evidence) + len(case.more), int(most[1]) if most else 10**9)


def wanted(only: list[str], file: str, name: str) -> bool:
    return not only or any(word == file or word.lower() in name.lower() for word in only)


def methods(only: list[str]) -> dict[str, tuple[str, Method]]:
    """Return file and method by name, of those that are wanted."""
    found: dict[str, tuple[str, Method]] = {}
    for file in FILES:
        if find_spec(file) is None:
            print(f"note: {file}.py is not here")
            continue
        found |= {m.name: (file, m) for m in import_module(file).METHODS if wanted(only, file, m.name)}
    return found


def own_table(name: str, *arguments: Any) -> dict[str, Any]:
    """Return the content of a table of its own, as JSON."""
    folder, *_ = arguments
    folder.mkdir(parents=True, exist_ok=True)
    found = import_module(name).run(*arguments)
    return {"json": json.dumps(found, default=float)}


@dataclass
class Run:
    """A run: what it was asked, and the lines that are there."""

    options: argparse.Namespace

    def __post_init__(self) -> None:
        self.folder: Path = self.options.folder / f"{self.options.minutes:g}-{self.options.count}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "lines.jsonl"
        self.methods = methods(self.options.only)
        self.failures: list[str] = []
        self.notes: list[str] = []
        self.lines: list[report.Line] = []
        text = self.file.read_text().split("\n") if self.file.exists() else [""]
        if text[-1]:  # cut off as it was written
            self.file.write_text("".join(f"{line}\n" for line in text[:-1]))
        self.lines = [json.loads(line) for line in text[:-1]]

    @cached_property
    def bench(self) -> Any:
        o = self.options
        return cases.bench_of(o.data, o.drawn, o.folder, identity=not o.quick)

    def done(self, kind: str, seed: int, method: str) -> report.Line | None:
        """Return the line that is there."""
        same = (line for line in self.lines if (line["kind"], line["seed"], line["method"]) == (kind, seed, method))
        return next(same, None)

    def add(self, kind: str, seed: int, method: str, figures: dict[str, Any]) -> report.Line:
        """Write a line, whole."""
        line = {"kind": kind, "seed": seed, "method": method} | figures
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.lines.append(line)
        return line

    def place(self, kind: str, seed: int, method: str = "") -> Path:
        return self.folder / slug(kind) / str(seed) / slug(method)

    def tried(self, what: str, function: Callable[..., dict[str, Any]], *arguments: Any, path: Path) -> Any:
        """Return what a process of its own makes; None, and a note, if it broke: it is tried again the next time."""
        try:
            return run_apart(function, *arguments, path=path, threads=self.options.threads)
        except RuntimeError as error:
            self.failures.append(f"{what}: {error}")
            print(f"FAILED {self.failures[-1]}", flush=True)
            return None

    def kind(self, kind: str) -> None:
        """Run all methods on a kind, the first seed before the others, and draw its sheet."""
        first, *others = self.options.seeds
        case = self.case(kind, first)
        if case is None:
            self.notes.append(f"{kind}: too few pictures")
            return
        for name in self.methods:
            self.one(kind, first, name, case)
        fast = [name for name in self.methods if self.is_fast(kind, first, name)]
        for seed in others:
            left = [name for name in fast if self.done(kind, seed, name) is None]
            again = self.case(kind, seed) if left else None
            for name in left:
                if again is not None:
                    self.one(kind, seed, name, again)
        try:
            self.sheet(kind, first)
        except (RuntimeError, ValueError, OSError) as error:  # what was measured is worth more than its picture
            self.failures.append(f"{kind}, the sheet: {error}")
            print(f"FAILED {self.failures[-1]}", flush=True)

    def is_fast(self, kind: str, seed: int, name: str) -> bool:
        line = self.done(kind, seed, name)
        return line is not None and "first" in line and line["first"] + line["count"] * line["each"] < FAST

    def case(self, kind: str, seed: int) -> cases.Case | None:
        """Return the case, its task written for the methods, the rows measured that no method makes."""
        case = cases.make(self.bench, kind, seed, self.options.count)
        if case is None:
            return None
        task = case.task(kind, seed, self.options.minutes, self.folder)
        given = {name: getattr(task, name) for name in GIVEN}
        given["group_names"] = list(task.group_names)
        whole(self.place(kind, seed) / "task.pt", given)
        if self.done(kind, seed, MODEL) is None:
            self.add(kind, seed, MODEL, case.measure(Result(case.sources, False, 0, 0, 0, 0), False))
        if case.judge.apart and self.done(kind, seed, SELF) is None:
            rows = np.arange(min(self.options.count, len(case.judge.teachers.features)))
            own = case.judge.measure(case.judge.teachers[rows])
            self.add(kind, seed, SELF, own | {"share": case.judge.classifier_right})  # which was taught by these
        return case

    def one(self, kind: str, seed: int, name: str, case: cases.Case) -> None:
        """Run a method once, or take what is there, and write its line."""
        if self.done(kind, seed, name):
            return
        if has_all(name) and not len(case.more):
            self.notes.append(f"{kind}, {name}: no more pictures than the evidence")
            return
        file, _ = self.methods[name]
        place = self.place(kind, seed, name)
        given = (file, name, self.place(kind, seed) / "task.pt", place, self.options.minutes)
        content = self.tried(f"{kind}, {name}, seed {seed}", run_method, *given, path=place / "result.pt")
        if content is None:
            return
        result = result_of(content)
        if result is None:
            self.add(kind, seed, name, {DIVERGED: content[DIVERGED]})
            print(f"{kind}, {name}, seed {seed}: diverged ({content[DIVERGED]})", flush=True)
            return
        figures = {word: getattr(result, word) for word in ("changes", "first", "each", "evaluations", "gigabytes")}
        figures |= {"pictures": pictures_of(name, case)} | case.measure(result, has_all(name))
        self.add(kind, seed, name, figures | {"count": len(result.made)})
        print(f"{kind}, {name}, seed {seed}: done", flush=True)

    def sheet(self, kind: str, seed: int) -> None:
        """Draw what the first seed's results look like, of all methods that have one."""
        given = torch.load(self.place(kind, seed) / "task.pt", weights_only=True)
        results: dict[str, Result] = {}
        for name in methods([]):
            path = self.place(kind, seed, name) / "result.pt"
            found = result_of(torch.load(path, weights_only=True)) if path.exists() else None
            results |= {report.cut_short(name, self.options.minutes): found} if found else {}
        sheets = self.folder / "sheets"
        if results:
            report.sheet(sheets / f"{slug(kind)}.png", kind, given["evidence"], given["sources"], results)
        if kind in kinds.STYLES and self.options.large:
            drawn = kinds.draw(self.bench.kind(kind)[0], cases.EVIDENCE, seed, cases.JUDGES)
            style = self.options.drawn / kind
            source = style if style.is_dir() else self.options.data / "evidence" / f"cartoon-{kind}"
            path = sheets / f"{slug(kind)}-128.png"
            if drawn is not None and not path.exists():
                report.large_sheet(path, source, drawn.evidence.tolist(), seed)

    def own_tables(self) -> dict[str, Any]:
        """Return the tables that have columns of their own."""
        o, found = self.options, dict[str, Any]()
        seed = o.seeds[0]
        coloured = self.folder / "sheets" / "colouring.png"  # of samples: it may be published
        coloured.parent.mkdir(exist_ok=True)
        arguments = {"colouring": (o.data, o.minutes, seed, o.count, coloured), "pairs": (o.minutes, seed)}
        for name in TABLES:
            if not wanted(o.only, name, name):
                continue
            if find_spec(name) is None:
                print(f"note: {name}.py is not here")
                continue
            place = self.folder / name
            given = (name, place, *arguments[name])
            content = self.tried(name, own_table, *given, path=place / "table.pt")
            found |= {name: json.loads(content["json"])} if content else {}
        return found


def run(options: argparse.Namespace) -> int:
    """Run everything that is asked for; return 1 if something broke."""
    torch.set_num_threads(options.threads)
    course = Run(options)
    for kind in options.kinds if course.methods else ():
        course.kind(kind)
    own = course.own_tables()
    known = {name: method for name, (_, method) in course.methods.items()}
    lines = [one for one in course.lines if one["kind"] in options.kinds]
    lines = [one for one in lines if one["method"] in (*known, SELF, MODEL)]
    if lines:
        print("\n" + report.printed(lines, known, options.minutes, options.count))
    for name, content in own.items():
        print(report.own_table(name, content))
    for text in [*course.notes, *(f"FAILED {text}" for text in course.failures)]:
        print(text)
    said = {n: {"reference": m.reference, "tune": m.tune, "has": sorted(m.has)} for n, m in known.items()}
    asked = {word: getattr(options, word) for word in ("kinds", "seeds", "minutes", "count", "quick")}
    content = setting(options.seeds[0]) | asked | {"methods": said, "lines": lines, **own}
    write_json(options.output, content | {"notes": course.notes, "failures": course.failures})
    return 1 if course.failures else 0
