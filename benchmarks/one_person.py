"""New pictures of one person from a handful of that person's pictures: is it that person, and are they new?

    python benchmarks/one_person.py -m MODEL [-m MODEL ...] --photos faces-64.tar --groups faces-64.csv

The paper's section 6 asks it of a latent far smaller than the picture, with a lower lambda. Of people whom no model saw
(`common.parted`), with at least 12 photographs each, m are the evidence; those after the largest m are the gallery that
judges. Identity is measured by a network that knows neither models nor data, dlib's descriptor d(x) of 128 numbers,
of a picture cropped to dlib's own alignment and enlarged:

    likeness(x)   = -|d(x) - mean of d over the person's gallery|
    recognised    = likeness(x) above that of 99 in 100 photographs of other people, a threshold for each person
    nearest       = median distance of samples to the nearest evidence picture, over the same of the gallery
    spread        = mean distance between samples, over that between the person's photographs

nearest and spread are of descriptors and of pixels; near 0 they say that samples are copies, or all alike. Controls:
photographs (the evidence as it is: what the measure is worth), decoded (the evidence encoded and decoded: the ceiling),
prior (what is recognised by chance), and the posterior mean. Figures are means over people, with a bootstrap interval
of 95 %. A descriptor takes 80 ms of a core: those of photographs are computed once for all models of a shape.

References: Gambardella, Baydin and Torr 2019, arXiv 1911.13270, section 6; King 2017, *High quality face recognition
with deep metric learning* (dlib).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common import as_shown, parted, setting, table, write_json
from judge import mean_distance
from transflow import Model, Posterior, load
from transflow.conditioning.tempered import tempered
from transflow.pictures.grids import to_uint8
from transflow.training.data import group_of, read_groups

FEWEST = 12  # photographs of a person
STRANGERS = 4  # photographs of each other person, for the threshold
PASS = 0.01  # share of strangers' photographs that pass
NOISES = ("0.02m", "0.1m", "0.5m")
PARENTS, PHOTOGRAPHS, DECODED, PRIOR = "parents", "photographs", "decoded", "prior"
CHIP, BOX = 150, (0.148, 0.226, 0.862, 0.940)  # dlib's chip: eyes 0.350 of the width apart, at y = 0.314
NETWORK = "dlib_face_recognition_resnet_model_v1.dat"
MISSING = 'Expected dlib and face_recognition_models, by which a person is known; pip install "transflow[align]".'


@cache
def network() -> Any:
    """dlib's descriptor network."""
    spec = find_spec("face_recognition_models")  # not imported: it asks for a part of setuptools that is no more
    places = [Path(place, "models", NETWORK) for place in (spec.submodule_search_locations or [])] if spec else []
    path = next((place for place in places if place.exists()), None)
    try:
        import dlib
    except ImportError:
        raise SystemExit(MISSING) from None
    if path is None:
        raise SystemExit(MISSING)
    return dlib.face_recognition_model_v1(str(path))


@cache
def descriptor(content: bytes, side: int) -> tuple[float, ...]:
    """Return the descriptor of one RGB picture, bytes (side, side, 3)."""
    picture = Image.frombytes("RGB", (side, side), content)
    left, top, right, bottom = (side * share for share in BOX)
    chip = picture.resize((CHIP, CHIP), Image.Resampling.BICUBIC, box=(left, top, right, bottom))
    return tuple(network().compute_face_descriptor(np.array(chip)))


def descriptors(pictures: Tensor) -> Tensor:
    """Return descriptors (n, 128) of uint8 pictures (n, C, H, W)."""
    rows = pictures.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
    return torch.tensor([descriptor(row.tobytes(), row.shape[0]) for row in rows], dtype=torch.float64)


def likeness(found: Tensor, gallery: Tensor) -> Tensor:
    """Return how like a gallery's mean descriptor each is, (n,).

    >>> likeness(torch.tensor([[1.0, 0.0], [4.0, 4.0]]), torch.tensor([[0.0, 0.0], [2.0, 0.0]])).tolist()
    [-0.0, -5.0]
    """
    return -(found - gallery.mean(0)).norm(dim=1)


def newness(samples: Tensor, evidence: Tensor, others: Tensor) -> tuple[float, float]:
    """Return nearest and spread of samples (n, D), as the head of this file has them; one sample has a spread of 0.

    >>> evidence, others = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [4.0]])
    >>> nearest, spread = newness(torch.tensor([[0.5], [1.5]]), evidence, others)
    >>> nearest, round(spread, 3)
    (0.5, 0.462)
    """
    near = float(torch.cdist(samples, evidence).min(1).values.median())
    usual = float(torch.cdist(others, evidence).min(1).values.median())
    spread = mean_distance(samples) if len(samples) > 1 else 0.0
    return near / usual, spread / mean_distance(torch.cat([evidence, others]))


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of people's figures and a bootstrap interval of 95 % of it.

    >>> interval([0.5, 0.5, 0.5])
    (0.5, 0.5, 0.5)
    """
    x = np.asarray(values, float)
    means = x[np.random.default_rng(seed).integers(0, len(x), (2000, len(x)))].mean(1)
    return float(x.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


@dataclass(frozen=True)
class Person:
    """One person's photographs, and what it takes to be recognised as that person.

    Attributes:
        name: of the group.
        evidence: uint8 (largest m, C, H, W).
        others: the gallery, uint8 (k, C, H, W).
        gallery: its descriptors, (k, 128).
        least: likeness that one in a hundred photographs of other people passes.
    """

    name: str
    evidence: Tensor
    others: Tensor
    gallery: Tensor
    least: float

    def figures(self, pictures: Tensor, m: int) -> dict[str, float]:
        """Return the figures of uint8 pictures (n, C, H, W) beside the first m of the evidence."""
        found = descriptors(pictures)
        figures = {"recognised": float((likeness(found, self.gallery) > self.least).double().mean())}
        evidence = self.evidence[:m]
        pixels = [x.flatten(1).double() / 255 for x in (pictures, evidence, self.others)]
        spaces = {"descriptors": [found, descriptors(evidence), self.gallery], "pixels": pixels}
        for space, three in spaces.items():
            figures[f"nearest, {space}"], figures[f"spread, {space}"] = newness(*three)
        return figures


def persons(model: Model, photos: str, groups: str, count: int, most: int, seed: int) -> list[Person]:
    """Return people whom the model's training never saw, the same for all models of one share and seed."""
    held_out = parted(model, photos, groups)[1]
    of = read_groups(groups)
    names = np.array([group_of(name, of) for name in held_out.names])
    rng = np.random.default_rng(seed)
    rows = {name: rng.permutation(np.flatnonzero(names == name)) for name in np.unique(names)}
    enough = [name for name, mine in rows.items() if len(mine) >= max(FEWEST, most + 2)]
    some = np.concatenate([mine[-STRANGERS:] for mine in rows.values()])
    described = descriptors(held_out.pixels[some])
    found = []
    for name in rng.permutation(enough)[:count]:
        mine = held_out.pixels[rows[name]]
        gallery = descriptors(mine[most:])
        least = likeness(described[names[some] != name], gallery).quantile(1 - PASS)
        found.append(Person(str(name), mine[:most], mine[most:], gallery, float(least)))
    return found


def people_figures(
    model: Model, people: Sequence[Person], counts: Sequence[int], ways: Sequence[str], n: int, seed: int
) -> dict[str, dict[str, list[float]]]:
    """Return the figures of each person, by way and controls with their m; evidence is encoded once."""
    found: dict[str, dict[str, list[float]]] = {}
    prior = as_shown(model, tempered(model, model.prior.sample(n, seed=seed), model.prior.mean))

    def add(row: str, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            found.setdefault(row, {}).setdefault(name, []).append(value)

    for number, person in enumerate(people):
        posterior, before = None, 0
        for m in sorted(counts):
            more = person.evidence[before:m]
            posterior, before = (model.condition(more) if posterior is None else posterior.add(more)), m
            assert posterior.kept is not None
            add(f"{PHOTOGRAPHS}, m={m}", person.figures(person.evidence[:m], m))
            add(f"{DECODED}, m={m}", person.figures(to_uint8(model.decode(posterior.kept.rows)), m))
            add(f"{PRIOR}, m={m}", person.figures(prior, m))
            for way in ways:
                given = in_another_way(posterior, way)
                latents = given.sample(n, seed=seed * 100_003 + number)
                add(f"{way}, m={m}", person.figures(as_shown(model, latents), m))
                if way != PARENTS:
                    mean = as_shown(model, given.gaussian.mean[None].float())
                    add(f"mean of {way}, m={m}", person.figures(mean, m))
    return found


def in_another_way(posterior: Posterior, way: str) -> Posterior:
    """Return the posterior of the same evidence by the paper's rule with a noise, or as it is for "parents"."""
    return posterior if way == PARENTS else replace(posterior.with_learn("mean"), spec=way)


def known_shares(
    model: Model,
    photos: str,
    groups: str,
    ways: Sequence[str] = ("0.1m", PARENTS),
    people: int = 24,
    m: int = 5,
    n: int = 16,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return which shares of n new pictures of each person are recognised, by way: one row of a table of models.

    Args:
        model: its card has the share and seed of the held-out people.
        photos, groups: as of the command.
        ways: noises, or "parents".
        people, m: how many, and evidence pictures of each.
        n: samples of each person.
        seed: of people, evidence and samples.

    Returns:
        recognised; its ceiling (the evidence decoded), chance (the prior), photographs; nearest and spread.
    """
    found = people_figures(model, persons(model, photos, groups, people, m, seed), (m,), ways, n, seed)
    controls = {"ceiling": DECODED, "chance": PRIOR, PHOTOGRAPHS: PHOTOGRAPHS}
    shares = {name: float(np.mean(found[f"{row}, m={m}"]["recognised"])) for name, row in controls.items()}
    return {way: shares | {k: float(np.mean(v)) for k, v in found[f"{way}, m={m}"].items()} for way in ways}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", action="append", help="may be given several times; faces-32 without")
    parser.add_argument("--photos", required=True, help="a folder or tar of aligned photographs")
    parser.add_argument("--groups", required=True, help="CSV of file and identity")
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--counts", type=lambda text: [int(m) for m in text.split(",")], default=[5, 10])
    parser.add_argument("--ways", default=",".join((*NOISES, PARENTS)), help='noises, and "parents"')
    parser.add_argument("-n", type=int, default=16, help="samples of each person and way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="one_person.json")
    a = parser.parse_args()
    network()
    content = setting(a.seed) | {"samples": a.n, "strangers_pass": PASS, "models": {}}
    for name in a.model or ["faces-32"]:
        model = load(name)
        people = persons(model, a.photos, a.groups, a.people, max(a.counts), a.seed)
        found = people_figures(model, people, a.counts, a.ways.split(","), a.n, a.seed)
        means = {row: {key: interval(v, a.seed) for key, v in figures.items()} for row, figures in found.items()}
        threshold = float(np.mean([-person.least for person in people]))
        about = {"people": [p.name for p in people], "dim": model.dim, "family": model.family, "distance": threshold}
        content["models"][name] = about | {"figures": means, "of_each": found}
        print(f"{len(people)} people, D = {model.dim}, recognised within {threshold:.3f} of a gallery's mean")
        rows = [(row, *(f"{x:.2f} [{low:.2f}, {high:.2f}]" for x, low, high in v.values())) for row, v in means.items()]
        print(table((name, *next(iter(means.values()))), rows))
        write_json(a.output, content)  # after each model, so that a stopped run leaves those that are done


if __name__ == "__main__":
    main()
