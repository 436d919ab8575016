"""What is asked, and what answers: a kind's evidence and what may be trained on, and the judges of what comes of it.

A draw of a kind (benchmarks/kinds.py) gives 24 pictures of as many people; half of the other people judge, with up to
200 pictures; all other pictures of the kind may be trained on by methods that are tried with more than the evidence.
The judge's classifier learns from the same others, since there are no more. How near results are to pictures that they
were made of is measured against the 24, and of a method with more against all that it had.

Of a method that changes one picture, with a distance d between pictures (of identity, benchmarks/one_person.py; of
content, grey pixels and features of the small ImageNet network):

    kept = mean_i d(source_i, made_i) / mean_i,j d(source_i, source_j)    0 the picture itself, 1 another one
    found = share of results whose nearest source, by identity, is their own
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import kinds
from common import imagenet_features
from fewshot_generation import Bench, judge_of
from judge import Judge, mean_distance
from method import Result, Task
from one_person import descriptors, network
from seen import Seen, see
from transflow import load
from transflow.pictures import grids
from transflow.pictures.preprocess import greyscale

EVIDENCE, JUDGES, OTHERS, COOL = 24, 200, 1600, 0.7
FEWEST = 100  # results below which a Fréchet distance is mostly that of any two sets so small


def bench_of(data: Path, drawn: Path, folder: Path, identity: bool) -> Bench:
    """Return models, photographs and files of a run (benchmarks/fewshot_generation.py)."""
    network()  # which ends the run now, and not after the first method, where it is not installed
    cache = folder / "cache"
    return Bench(argparse.Namespace(data=data, drawn=drawn, cache=cache, identity=identity, device="cpu", flow=None))


def sources(count: int) -> Tensor:
    """Return what is changed: samples of faces-32, uint8."""
    model = load("faces-32")
    return grids.to_uint8(model.pictures(model.prior, count, seed=1, temperature=COOL))


def kept(source: Tensor, made: Tensor) -> float:
    """Return the mean distance of twins, rows of (n, D), over that of different sources."""
    return float((source[: len(made)] - made).norm(dim=1).mean() / mean_distance(source))


def found(source: Tensor, made: Tensor) -> float:
    """Return the share of rows of made (n, D) whose nearest source is their twin."""
    return float((torch.cdist(made, source).argmin(1) == torch.arange(len(made))).double().mean())


def grey(pictures: Tensor) -> Tensor:
    """Return uint8 pictures as rows of grey values in [0, 1]."""
    return greyscale(pictures)[:, 0].flatten(1).float() / 255


def attributes_of(photos: kinds.Photographs, pictures: Tensor) -> Tensor:
    """Return the attributes (n, a) of pictures that are among the photographs."""
    rows = {picture.numpy().tobytes(): i for i, picture in enumerate(photos.pixels)}
    found = [rows[picture.numpy().tobytes()] for picture in pictures]
    return torch.from_numpy(photos.attributes[found])


@dataclass(frozen=True)
class Case:
    """A kind and a seed: what methods are given, and who judges.

    Attributes:
        evidence, more, others, sources, groups: as `Task` has them.
        judge: of results made of the evidence.
        seen_more: the other pictures of the kind, as they are compared.
        bench: whose models see.
    """

    evidence: Tensor
    more: Tensor
    others: Tensor
    sources: Tensor
    groups: Tensor
    judge: Judge
    seen_more: Seen | None
    bench: Bench

    def task(self, kind: str, seed: int, minutes: float, folder: Path) -> Task:
        pictures = (self.evidence, self.more, self.others, self.sources)
        return Task(kind, *pictures, seed, minutes, folder, self.groups, tuple(kinds.ATTRIBUTES))

    @cached_property
    def judge_of_all(self) -> Judge:
        """The judge of how near results are to all pictures of the kind that may be trained on."""
        if self.seen_more is None:
            return self.judge
        both = zip(self.judge.evidence.spaces().values(), self.seen_more.spaces().values(), strict=True)
        every, judges = Seen(*(torch.cat(pair) for pair in both)), self.judge.judges  # teachers are among all
        return Judge(every, judges, judges, self.judge.negatives, False, self.judge.unseen, [], None)

    def measure(self, result: Result, all_of_kind: bool) -> dict[str, float | None]:
        """Return the figures of a result."""
        seen = see(self.bench.faces, result.made, "cpu")
        judge = self.judge
        figures = judge.measure(seen)
        figures |= {"classifier right": judge.classifier_right, "known right": judge.known_right}
        if len(result.made) < FEWEST:
            figures["distance"] = None
        if all_of_kind:
            near = self.judge_of_all.measure(seen)
            figures |= {name: value for name, value in near.items() if name.startswith(("nearest", "copies"))}
        if not result.changes:
            return figures
        pixels, features = (grey(self.sources), grey(result.made)), (self._features, seen.features)
        figures |= {"content, pixels": kept(*pixels), "content, features": kept(*features)}
        people = (self._people, descriptors(result.made))
        return figures | {"identity": kept(*people), "found": found(*people)}

    @cached_property
    def _features(self) -> Tensor:
        features = imagenet_features(grids.to_uint8(self.bench.faces.quantise(self.sources)))
        assert features is not None
        return features

    @cached_property
    def _people(self) -> Tensor:
        return descriptors(self.sources)


def training_rows(kind: kinds.Kind, drawn: kinds.Draw) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of a kind's pictures, and of the others, that may be trained on beside the evidence.

    None of them shows somebody who judges, and none of the kind's somebody of the evidence, who is asked about again.
    Where the few pictures that are left both judge and teach, none of the kind's are.
    """
    asked = np.concatenate([drawn.evidence, drawn.judges])
    more = np.flatnonzero(~np.isin(kind.people, kind.people[asked])) if drawn.apart else np.arange(0)
    return more, np.flatnonzero(~np.isin(kind.other_people, kind.people[drawn.judges]))[:OTHERS]


def make(bench: Bench, name: str, seed: int, count: int) -> Case | None:
    """Return the case of a kind and a seed, with so many pictures to be changed; None if the kind has too few."""
    kind, seen, others = bench.kind(name)
    drawn = kinds.draw(kind, EVIDENCE, seed, JUDGES)
    if drawn is None:
        return None
    rest, free = training_rows(kind, drawn)
    unseen = drawn.judges[kind.unseen[drawn.judges]]  # the faces model's training saw the others
    judge = replace(judge_of(bench, kind, drawn, seen, others), unseen=seen[unseen].features)
    return Case(
        kind.pictures[drawn.evidence],
        kind.pictures[rest],
        kind.others[free],
        sources(count),
        attributes_of(bench.photos, kind.others[free]),
        judge,
        seen[rest] if len(rest) else None,
        bench,
    )
