"""Folders of pictures against a classifier's evidence, beside pixel baselines."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transflow import metrics
from transflow.conditioning.model import Model
from transflow.estimators.classifier import CHUNK, FewShotClassifier
from transflow.estimators.features import Augment, labelled
from transflow.fewshot.ensemble import Choice
from transflow.gaussians.noise import NoiseSpec
from transflow.pictures import decode as data
from transflow.store.files import PathLike


@dataclass(frozen=True)
class Evaluation:
    """What a classifier told of a folder.

    Attributes:
        names: of the pictures, n of them.
        classes: C of them, sorted.
        probabilities: shape (n, C), double.
        p_values: how often an example of its class lies as far out, (n,), or None where the evidence
            is too little to say.
        truth: the classes of the pictures where the folder has the evidence's sub-folders, else None.
        accuracies: share told rightly, by method, where the truth is known.
        calibration_error: see `metrics.calibration_error`; None where the truth is not known.
        choice: the likelihoods in use.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Tensor
    p_values: Tensor | None
    truth: tuple[str, ...] | None
    accuracies: dict[str, float]
    calibration_error: float | None
    choice: Choice

    @property
    def told(self) -> list[str]:
        """The most probable class of each."""
        return [self.classes[i] for i in self.probabilities.argmax(1).tolist()]

    def rejected(self, rate: float) -> list[bool]:
        """Whether each is further out than all but a share ``rate`` of good pictures."""
        return [False] * len(self.names) if self.p_values is None else (self.p_values < rate).tolist()

    def confusion(self) -> Tensor:
        """Return how often each class (row) was told as each (column), (C, C); the truth must be known."""
        if self.truth is None:
            raise ValueError("Expected pictures whose classes are known; got a folder without the evidence's classes.")
        counts = torch.zeros(len(self.classes), len(self.classes), dtype=torch.long)
        for true, told in zip(self.truth, self.told, strict=True):
            counts[self.classes.index(true), self.classes.index(told)] += 1
        return counts

    def csv(self, rate: float) -> bytes:
        """Return a table, one row a picture: name, class, rejected, p-value, truth, a probability for each class."""
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["picture", "class", "rejected", "p_value", "truth", *(f"p({c})" for c in self.classes)])
        p = [""] * len(self.names) if self.p_values is None else [f"{x:.4g}" for x in self.p_values.tolist()]
        truth = self.truth or [""] * len(self.names)
        rows = zip(self.names, self.told, self.rejected(rate), p, truth, self.probabilities.tolist(), strict=True)
        for name, told, rejected, p_value, true, probabilities in rows:
            table.writerow([name, told, int(rejected), p_value, true, *(f"{x:.6f}" for x in probabilities)])
        return out.getvalue().encode(errors="surrogateescape")  # names that are not UTF-8 stay what they are


def classify(
    model: Model,
    support: PathLike,
    query: PathLike | Sequence[PathLike],
    *,
    noise: NoiseSpec = "auto",
    augment: Augment = True,
    on_bad: Callable[[str], None] | None = None,
) -> Evaluation:
    """Classify the pictures of a folder by the evidence of another.

    Args:
        model: what encodes.
        support: a folder with a sub-folder for each class.
        query: a folder, a tar, or files; accuracy is told of a folder whose sub-folders all are classes of ``support``.
        noise: as `FewShotClassifier` takes it.
        augment: likewise.
        on_bad: is told of each file that is no picture, which is left out; without it, that is an error.
    """
    pixels, labels = labelled(support, model, on_bad=on_bad)
    classifier = FewShotClassifier(model, noise, augment).fit(pixels, labels)
    classes = tuple(str(c) for c in classifier.classes_)
    baselines = pixel_baselines(pixels, torch.tensor([classes.index(c) for c in labels]), len(classes))
    names: list[str] = []
    truth: list[str] | None = []
    probabilities, p_values = [], []
    ways: dict[str, list[Tensor]] = {}
    read = data.batches(query, model.shape, batch=CHUNK, on_bad=on_bad)
    for part in read:
        names += part.names
        likely, p = classifier.probabilities_and_p_values(part.pixels)
        probabilities.append(likely)
        p_values += [p] if p is not None else []
        there = _truth(query, part.names, classes)
        truth = truth + there if truth is not None and there is not None else None
        if truth is not None:
            told = {"transflow": likely.argmax(1)} | baselines(part.pixels)
            for name, numbers in told.items():
                ways.setdefault(name, []).append(numbers)
    probability = torch.cat(probabilities)
    accuracies: dict[str, float] = {}
    error = None
    if truth is not None:
        true = torch.tensor([classes.index(t) for t in truth])
        accuracies = {name: (torch.cat(told) == true).double().mean().item() for name, told in ways.items()}
        error = metrics.calibration_error(probability, true)
    return Evaluation(
        tuple(names),
        classes,
        probability,
        torch.cat(p_values) if p_values else None,
        None if truth is None else tuple(truth),
        accuracies,
        error,
        classifier.choice_,
    )


def pixel_baselines(pixels: Tensor, labels: Tensor, classes: int) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return a function from pictures to what nearest centroid and nearest neighbour in pixels say, (n,) each."""
    known = pixels.flatten(1).float()
    centroids = torch.stack([known[labels == c].mean(0) for c in range(classes)])

    def told(query: Tensor) -> dict[str, Tensor]:
        asked = query.flatten(1).float()
        nearest = torch.cat([labels[torch.cdist(part, known).argmin(1)] for part in asked.split(1024)])
        return {
            "nearest centroid in pixels": torch.cdist(asked, centroids).argmin(1),
            "nearest neighbour in pixels": nearest,
        }

    return told


def _truth(query: Any, names: tuple[str, ...], classes: tuple[str, ...]) -> list[str] | None:
    if not isinstance(query, (str, os.PathLike)) or not Path(query).is_dir():
        return None
    parts = [Path(name).relative_to(query).parts for name in names]
    if any(len(part) < 2 or part[0] not in classes for part in parts):
        return None
    return [part[0] for part in parts]
