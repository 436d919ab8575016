"""Kinds of pictures that a model was not made for: evidence from some people, judged by all others.

A kind is up to 800 pictures, who is on each, and pictures that are not of the kind, from which a classifier learns. A
draw of it takes m people, one picture of each, as the evidence. The people who are left are halved: the first half
judges, the second teaches the classifier; where they have fewer than 120 pictures, all do both, and the classifier is
asked about pictures that it was not taught (by folds). Nobody who gave evidence judges or teaches.

    faces-64.tar, faces-64.csv   photographs: name, identity and 0/1 attributes of each
    evidence/*                   folders of other pictures
    mnist.npz                    x_train, y_train
    drawn/*                      folders of drawn faces, in place of the smaller ones of the same style in evidence/
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transflow import TrainConfig, load
from transflow.pictures import decode as data
from transflow.pictures.preprocess import Shape, greyscale, preprocess
from transflow.training.data import read_groups, split

ATTRIBUTES = {
    "hat": "Wearing_Hat",
    "eyeglasses": "Eyeglasses",
    "blond": "Blond_Hair",
    "bald": "Bald",
    "moustache": "Mustache",
    "heavy make-up": "Heavy_Makeup",
    "smiling": "Smiling",
    "grey hair": "Gray_Hair",
}
CHANGED = ("greyscale", "tinted")
FOLDERS = {"red hair": "red-hair", "paintings": "paintings", "anime": "anime"}
STYLES = ("lorelei", "micah", "adventurer", "notionists")
DIGITS = (3, 8)
DIGIT_FLOW = "digit {} (digits' own flow)"
CHOOSING = ("hat", "eyeglasses", "lorelei")  # on these the default is chosen; nothing is chosen on the others
SEEN = ("anime", "micah", "adventurer", "notionists", "red hair", "paintings")  # looked at while the ways were made
MOST, A_PERSON, FEW = 800, 8, 120


@dataclass(frozen=True)
class Kind:
    """Pictures of a kind.

    Attributes:
        name: in words.
        pictures: of the kind, uint8 (n, C, H, W).
        people: a number of whom each shows, (n,).
        unseen: whether the model's training saw nobody of the picture, (n,).
        others: pictures that are not of the kind, uint8 (k, C, H, W).
        other_people: of these, (k,).
    """

    name: str
    pictures: Tensor
    people: NDArray[np.int64]
    unseen: NDArray[np.bool_]
    others: Tensor
    other_people: NDArray[np.int64]

    @property
    def use(self) -> str:
        """What its figures are for."""
        return "choosing" if self.name in CHOOSING else "seen" if self.name in SEEN else "judging"

    @property
    def is_photographs(self) -> bool:
        """Whether people on it have other photographs by which they can be known."""
        return self.name in ATTRIBUTES


@dataclass(frozen=True)
class Draw:
    """Which pictures of a kind do what: rows of `Kind.pictures`, and of `Kind.others`.

    Attributes:
        evidence: m of them, one a person.
        judges: of other people.
        teachers: what the classifier learns the kind from.
        negatives: what it learns to be none of the kind.
        apart: whether teachers and judges are different people.
    """

    evidence: NDArray[np.int64]
    judges: NDArray[np.int64]
    teachers: NDArray[np.int64]
    negatives: NDArray[np.int64]
    apart: bool


def draw(kind: Kind, m: int, seed: int, most: int) -> Draw | None:
    """Return a draw of m people; those of a smaller m are among those of a larger. None if too few are left."""
    rng = np.random.default_rng([seed, crc32(kind.name.encode())])
    order = rng.permutation(len(kind.people))
    _, first = np.unique(kind.people[order], return_index=True)
    evidence = order[np.sort(first)][:m]
    left = order[~np.isin(kind.people[order], kind.people[evidence])]
    if len(evidence) < m or len(left) < 15:
        return None
    someone = rng.permutation(np.unique(kind.people[left]))
    first_half = np.isin(kind.people[left], someone[: len(someone) // 2])
    apart = len(left) >= FEW
    judges, teachers = (left[first_half][:most], left[~first_half][:most]) if apart else (left, left)
    keep = ~np.isin(kind.other_people, kind.people[np.concatenate([evidence, judges])]) if apart else slice(None)
    negatives = rng.permutation(len(kind.others))
    negatives = negatives[keep[negatives]] if apart else negatives
    return Draw(evidence, judges, teachers, negatives[: 2 * most], apart)


@dataclass(frozen=True)
class Photographs:
    """Some of the photographs: eight of each person, and up to 800 with each attribute.

    Attributes:
        pixels: uint8 (n, C, H, W).
        people: (n,).
        attributes: 0 or 1, (n, number of ATTRIBUTES).
        pool: whether it is one of the eight, (n,).
        unseen: whether the model's training saw nobody of it, (n,).
    """

    pixels: Tensor
    people: NDArray[np.int64]
    attributes: NDArray[np.int64]
    pool: NDArray[np.bool_]
    unseen: NDArray[np.bool_]


def photographs(folder: Path, model_name: str, cache: Path) -> Photographs:
    """Return the photographs, chosen once and kept in a file."""
    kept = cache / "photographs.npz"
    if not kept.exists():
        model = load(model_name)
        read = data.read(folder / "faces-64.tar", model.shape)
        with (folder / "faces-64.csv").open() as lines:
            rows = {row["file"]: row for row in csv.DictReader(lines)}
        named = [rows[Path(name).name] for name in read.names]
        people = np.array([int(row["identity"]) for row in named])
        attributes = np.array([[int(row[a]) for a in ATTRIBUTES.values()] for row in named])
        config = TrainConfig(held_out=float(model.card["held_out_share"]), seed=int(model.card["seed"]))
        numbered = data.PictureBatch(read.names, torch.arange(len(read.names)))
        _, held_out = split(numbered, config, read_groups(folder / "faces-64.csv"))
        unseen = np.isin(np.arange(len(people)), held_out.numpy())
        order = np.random.default_rng(0).permutation(len(people))
        pool = np.zeros(len(people), bool)
        for person in np.unique(people):
            pool[order[people[order] == person][:A_PERSON]] = True
        chosen = pool.copy()
        for column in attributes.T:
            chosen[order[column[order] == 1][:MOST]] = True
        cache.mkdir(parents=True, exist_ok=True)
        with kept.open("wb") as file:
            np.savez_compressed(
                file,
                pixels=read.pixels.numpy()[chosen],
                people=people[chosen],
                attributes=attributes[chosen],
                pool=pool[chosen],
                unseen=unseen[chosen],
            )
    found = np.load(kept)
    arrays = {name: found[name] for name in found.files}
    return Photographs(torch.from_numpy(arrays.pop("pixels")), **arrays)


def names() -> list[str]:
    """Return the names of all kinds."""
    digits = [f"digit {d}" for d in DIGITS] + [DIGIT_FLOW.format(d) for d in DIGITS]
    return [*ATTRIBUTES, *CHANGED, *FOLDERS, *STYLES, *digits]


def make(name: str, photos: Photographs, folder: Path, drawn: Path, shape: Shape) -> Kind:
    """Return a kind by name, in pictures of a shape."""
    rng = np.random.default_rng(1)
    pool = rng.permutation(np.flatnonzero(photos.pool))
    if name in ATTRIBUTES:
        has = photos.attributes[:, list(ATTRIBUTES).index(name)] == 1
        rows = rng.permutation(np.flatnonzero(has))[:MOST]
        none = pool[~has[pool]][: 2 * MOST]
        return _kind(name, photos.pixels[rows], photos.people[rows], photos, none, photos.unseen[rows])
    if name in CHANGED:
        someone = rng.permutation(np.unique(photos.people))
        mine = np.isin(photos.people[pool], someone[: len(someone) // 2])
        rows, none = pool[mine][:MOST], pool[~mine][:MOST]
        grey = greyscale(photos.pixels[rows])
        tint = torch.tensor([1.15, 0.55, 0.45])[:, None, None]
        changed = grey if name == "greyscale" else (grey.float() * tint).clamp(0, 255).to(torch.uint8)
        return _kind(name, changed, photos.people[rows], photos, none, photos.unseen[rows])
    if name.startswith("digit"):
        found = np.load(folder / "mnist.npz")
        images, labels = found["x_train"], found["y_train"]
        digit = int(name.split()[1])
        order = rng.permutation(len(labels))
        rows, rest = order[labels[order] == digit][:MOST], order[labels[order] != digit][:MOST]
        pictures, others = (preprocess(images[i], shape) for i in (rows, rest))
        return Kind(name, pictures, rows, np.ones(len(rows), bool), others, rest)
    style = drawn / name
    source = style if name in STYLES and style.is_dir() else folder / "evidence" / FOLDERS.get(name, f"cartoon-{name}")
    pictures = data.read(source, shape).pixels[:MOST]
    return _kind(name, pictures, -1 - np.arange(len(pictures)), photos, pool[:MOST], np.ones(len(pictures), bool))


def _kind(
    name: str,
    pictures: Tensor,
    people: NDArray[np.int64],
    photos: Photographs,
    none: NDArray[np.int64],
    unseen: NDArray[np.bool_],
) -> Kind:
    return Kind(name, pictures, people, unseen, photos.pixels[none], photos.people[none])
