"""The figures of digits, by a model that never saw one: samples of posteriors, and the accuracy of predictives."""

from __future__ import annotations

import csv
import io
import tempfile

import numpy as np
import torch
from numpy.typing import NDArray

from transflow.estimators.classifier import FewShotClassifier
from transflow.pictures.grids import encode_image, grid, to_uint8
from transflow.showcase.paper_figures import NOISE, Made, paper_posterior
from transflow.showcase.paper_pictures import MOST, PaperPictures

SAMPLED = (1, 5, 30)
COUNTS = (1, 5, 10, 20, 30)
PUBLISHED = {
    "paper: transflow": (30.39, 46.39, 58.73, 65.35, 69.52),
    "paper: nearest neighbours in pixels": (14.99, 32.99, 19.50, 22.83, 20.55),
    "paper: nearest neighbours in latents": (27.78, 35.10, 40.40, 44.12, 47.58),
}


def samples(p: PaperPictures) -> Made:
    """Sample posteriors of 1, 5 and 30 pictures of each digit."""
    digits = p.digits
    labels = digits.labels.unique().tolist()
    rows, seen = ["evidence"], [torch.cat([digits.of(label, 1) for label in labels])]
    for m in SAMPLED:
        for name, way in (("", NOISE), (" parents", None)):
            if way is None and m == 1:
                continue
            made = [
                (paper_posterior(p, part, NOISE) if way else p.model.condition(part)).pictures(1, seed=p.seed + 7)
                for part in (digits.of(label, m) for label in labels)
            ]
            rows.append(f"m = {m}{name}")
            seen.append(to_uint8(torch.cat(made)))
    sheet = grid(torch.cat(seen), len(labels), rows=rows)
    return Made(encode_image(sheet, ".png"), ".png", f"noise {NOISE}, and parents, the default, beside it")


def accuracy(p: PaperPictures) -> Made:
    """Classify digits from a few examples of each class: a table, and what it says."""
    digits = p.digits
    latents, queries = p.model.encode(digits.pictures), p.model.encode(digits.queries)
    truth, labels = digits.truth.numpy(), digits.labels.numpy()
    order = np.random.default_rng(p.seed).permutation(len(labels))
    found: dict[str, list[float]] = {
        name: [] for name in ("the paper's rule", "as it is by default", "pixels", "latents")
    }
    counts = [m for m in COUNTS if m <= min(MOST, np.unique(labels, return_counts=True)[1].min())]
    with tempfile.TemporaryDirectory() as cache:  # each picture is encoded once
        for m in counts:
            some = np.concatenate([order[labels[order] == label][:m] for label in np.unique(labels)])
            rule = FewShotClassifier(None, noise=NOISE).fit(latents[some], labels[some])
            default = FewShotClassifier(p.model, cache=cache).fit(digits.pictures[some], labels[some])
            predicted = {
                "the paper's rule": rule.predict(queries),
                "as it is by default": default.predict(digits.queries),
                "pixels": _nearest(digits.pictures[some], labels[some], digits.queries),
                "latents": _nearest(latents[some], labels[some], queries),
            }
            for name, guess in predicted.items():
                found[name].append(100 * float((guess == truth).mean()))
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["accuracy in percent by examples of a class", *counts])
    for name, published in PUBLISHED.items():
        table.writerow([name, *published[: len(counts)]])
    for name, here in found.items():
        table.writerow(
            [f"here: {name if ' ' in name else f'nearest neighbour in {name}'}", *(f"{a:.1f}" for a in here)]
        )
    words = f"{len(truth)} queries, one draw of the examples; benchmarks/table1.py has ten draws and all test digits"
    return Made(buffer.getvalue().encode(), ".csv", words)


def _nearest(examples: torch.Tensor, labels: NDArray[np.int64], queries: torch.Tensor) -> NDArray[np.int64]:
    far = torch.cdist(queries.flatten(1).double(), examples.flatten(1).double())
    return labels[far.argmin(1).numpy()]
