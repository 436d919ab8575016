"""Folders of pictures, classified by the evidence of another folder, beside pixel baselines."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from transflow import metrics
from transflow.base_model import BaseModel
from transflow.estimators.base import BadInput, check_rejection_rate
from transflow.estimators.classifier import PICTURES_AT_A_TIME, FewShotClassifier
from transflow.estimators.features import Augment, read_labelled
from transflow.fewshot.ensemble import Selection
from transflow.gaussians.noise import NoiseSpec
from transflow.pictures.decode import OnBad, Turn, batches
from transflow.pictures.labels import labels_among
from transflow.plain_values import one_line
from transflow.store.files import PathLike, at_home

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the wide signs, too


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A classifier's predictions for a folder.

    Attributes:
        names: of the pictures, n of them.
        classes: C of them, sorted.
        probabilities: shape (n, C), double.
        p_values: the probability that an example of some class lies as far out, (n,), or None where the evidence
            has too few examples.
        truth: the classes of the pictures where the folder has the evidence's sub-folders, else None.
        accuracies: share of correct predictions, by method, where the truth is known.
        calibration_error: see `metrics.calibration_error`; None where the truth is not known.
        choice: the selected likelihoods.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Tensor
    p_values: Tensor | None
    truth: tuple[str, ...] | None
    accuracies: dict[str, float]
    calibration_error: float | None
    choice: Selection

    def __repr__(self) -> str:
        return one_line(self, f"{len(self.names)} pictures", f"{len(self.classes)} classes")

    @property
    def predicted(self) -> list[str]:
        """The most probable class of each."""
        return [self.classes[i] for i in self.probabilities.argmax(1).tolist()]

    def rejected(self, rate: float) -> list[bool]:
        """Return whether each picture is further out than all but a share ``rate`` of good pictures."""
        check_rejection_rate(rate)
        return [False] * len(self.names) if self.p_values is None else (self.p_values < rate).tolist()

    def confusion(self) -> Tensor:
        """Return how many pictures of each true class (row) were predicted as each class (column), (C, C).

        Raises:
            ValueError: the truth is not known.
        """
        if self.truth is None:
            raise ValueError("Expected pictures whose classes are known; got a folder without the evidence's classes.")
        counts = torch.zeros(len(self.classes), len(self.classes), dtype=torch.long, device="cpu")
        for true, predicted in zip(self.truth, self.predicted, strict=True):
            counts[self.classes.index(true), self.classes.index(predicted)] += 1
        return counts

    def csv(self, rate: float) -> bytes:
        """Return a table, one row a picture: name, class, rejected, p-value, truth, a probability for each class.

        Args:
            rate: the share of good pictures that may be rejected.
        """
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["picture", "class", "rejected", "p_value", "truth", *(f"p({c})" for c in self.classes)])
        p = [""] * len(self.names) if self.p_values is None else [f"{x:.4g}" for x in self.p_values.tolist()]
        truth = self.truth or [""] * len(self.names)
        rows = zip(self.names, self.predicted, self.rejected(rate), p, truth, self.probabilities.tolist(), strict=True)
        for name, predicted, rejected, p_value, true, probabilities in rows:
            words = (_cell(name), _cell(predicted), int(rejected), p_value, _cell(true))
            table.writerow([*words, *(f"{x:.6f}" for x in probabilities)])
        return out.getvalue().encode(errors="surrogateescape")  # names that are not UTF-8 keep their bytes


def _cell(word: str) -> str:
    """A foreign word as a table's program takes it for text, too: one that begins as a formula does, after a quote."""
    number = re.fullmatch(r"[+-]?\d+(\.\d+)?", word)
    return f"'{word}" if word.startswith(FORMULA) and not number else word


class Accuracies:
    """The share of correct predictions of several methods, added up batch by batch."""

    def __init__(self) -> None:
        self.correct: dict[str, int] = {}
        self.count = 0

    def add(self, predicted: dict[str, Tensor], truth: Tensor) -> None:
        """Add predictions by method and the truth, class numbers of shape (b,)."""
        self.count += len(truth)
        for method, numbers in predicted.items():
            self.correct[method] = self.correct.get(method, 0) + int((numbers == truth).sum())

    def shares(self) -> dict[str, float]:
        """Return the share of correct predictions by method."""
        return {method: correct / self.count for method, correct in self.correct.items()}


def classify(
    model: BaseModel,
    support: PathLike,
    query: PathLike | Sequence[PathLike],
    *,
    noise: NoiseSpec = "auto",
    augment: Augment = True,
    on_bad: OnBad | None = None,
    turn: Turn | None = None,
) -> Evaluation:
    """Classify the pictures of a folder by the evidence of another.

    Args:
        model: what encodes.
        support: a folder with a sub-folder for each class.
        query: a folder, a tar, or files; of a folder whose sub-folders all are classes of ``support``, the accuracy
            is worked out.
        noise: as in `FewShotClassifier`.
        augment: likewise.
        on_bad: called with a message for each file that is not a picture; the file is skipped. Without it, such a
            file is an error.
        turn: what is used of each file's picture, as `pictures.decode.read` takes it.
    """
    query = at_home(query) if isinstance(query, (str, os.PathLike)) else query
    pixels, labels = read_labelled(support, model, on_bad=on_bad, turn=turn)
    classifier = FewShotClassifier(model, noise, augment).fit(pixels, labels)
    classes = tuple(str(c) for c in classifier.classes_)
    number = {name: i for i, name in enumerate(classes)}
    numbers = torch.tensor([number[c] for c in labels], dtype=torch.long, device="cpu")
    baselines = pixel_baselines(pixels, numbers, len(classes))
    folder = query if isinstance(query, (str, os.PathLike)) and Path(query).is_dir() else None
    names: list[str] = []
    truth: list[str] | None = []
    probabilities, p_values, accuracies = [], [], Accuracies()
    for part in batches(query, model.shape, batch=PICTURES_AT_A_TIME, on_bad=on_bad, turn=turn):
        names += part.names
        try:
            found, p = classifier.predict_proba_and_p_values(part.pixels)
        except BadInput as bad:
            raise BadInput(bad.number, part.names[bad.number]) from None
        probabilities.append(torch.from_numpy(found))
        p_values += [] if p is None else [torch.from_numpy(p)]
        here = None if folder is None or truth is None else labels_among(folder, part.names, classes)
        truth = None if truth is None or here is None else truth + here
        if here is not None:
            true = torch.tensor([number[label] for label in here], dtype=torch.long, device="cpu")
            accuracies.add({"transflow": probabilities[-1].argmax(1)} | baselines(part.pixels), true)
    probability = torch.cat(probabilities)
    error = None
    if truth is not None:
        true = torch.tensor([number[label] for label in truth], dtype=torch.long, device="cpu")
        error = metrics.calibration_error(probability, true)
    return Evaluation(
        tuple(names),
        classes,
        probability,
        torch.cat(p_values) if p_values else None,
        None if truth is None else tuple(truth),
        accuracies.shares() if truth is not None else {},
        error,
        classifier.choice_,
    )


def pixel_baselines(pixels: Tensor, labels: Tensor, classes: int) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return a function from pictures to the classes, (n,), by nearest centroid and nearest neighbour in pixels."""
    known = pixels.flatten(1).float()
    centroids = torch.stack([known[labels == c].mean(0) for c in range(classes)])

    def predict(query: Tensor) -> dict[str, Tensor]:
        flat = query.flatten(1).float()
        nearest = torch.cat([labels[torch.cdist(part, known).argmin(1)] for part in flat.split(1024)])
        return {
            "nearest centroid in pixels": torch.cdist(flat, centroids).argmin(1),
            "nearest neighbour in pixels": nearest,
        }

    return predict
