"""Few-shot classification of other things than MNIST, with nothing changed between them.

    python benchmarks/other_tasks.py -o other_tasks.json
    python benchmarks/other_tasks.py --folder avatars=avatars/ --photos faces.tar --attributes faces.csv

scikit-learn's digits always; of each --folder NAME=FOLDER its sub-folders are the classes; of
photographs with a CSV of file, identity and 0/1 attributes: which of 20 people, and an attribute or
not, of other people than the evidence's, all of them people that the model never saw. m pictures of
each class are the evidence, drawn anew for each seed, at most 30 others of each class are classified.
Beside it the better of nearest centroid and nearest neighbour in pixels.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from common import mean_and_spread, parted, setting, table, write_json
from transflow import FewShotClassifier, load, metrics
from transflow.conditioning.model import Model
from transflow.estimators.features import read_labelled
from transflow.estimators.folders import pixel_baselines
from transflow.pictures import decode as data

Task = tuple[str, torch.Tensor, np.ndarray, np.ndarray]  # name, pictures, labels, groups


def photographs(model: Model, photos: str, attributes: str, wanted: list[str]) -> Iterator[Task]:
    """Which of 20 people; and each attribute, the evidence and the queries being of different people.

    Of photographs that a model was trained on, those are left that it never saw, as its card says.
    """
    if "held_out_share" in model.card:
        _, read = parted(model, photos, attributes)
    else:
        channels, size, _ = model.shape
        read = data.read(photos, (channels, size, size))
    with open(attributes, newline="") as file:
        lines = {row["file"]: row for row in csv.DictReader(file)}
    rows = [lines[Path(name).name] for name in read.names]
    people = np.array([row["identity"] for row in rows])
    known, counts = np.unique(people, return_counts=True)
    several = np.random.default_rng(0).permutation(known[counts >= 15])[:20]
    chosen = np.flatnonzero(np.isin(people, several))
    yield "which of 20 people", read.pixels[chosen], people[chosen], np.arange(len(chosen))
    for name in wanted:
        yield name, read.pixels, np.array([row[name] for row in rows]), people


def draws(labels: np.ndarray, groups: np.ndarray, m: int, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Evidence and queries, which share no group; None where a class has too few pictures."""
    rng = np.random.default_rng(seed)
    support, query = [], []
    names = rng.permutation(np.unique(groups))
    mine = set(names[: len(names) // 2].tolist()) if len(names) < len(labels) else None
    for c in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == c))
        first = own if mine is None else own[[groups[i] in mine for i in own]]
        support.append(first[:m])
        rest = first[m:] if mine is None else own[[groups[i] not in mine for i in own]]
        query.append(rest[:30])
        if len(support[-1]) < m or not len(query[-1]):
            return None
    return np.stack(support).T.ravel(), np.concatenate(query)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="faces-32")
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--photos", help="a folder or tar of photographs")
    parser.add_argument("--attributes", help="its CSV")
    parser.add_argument("--attribute", action="append", default=[], help="a column of it, such as Eyeglasses")
    parser.add_argument("--counts", default="1,2,5,10", help="m, by commas")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("-o", "--output", default="other_tasks.json")
    a = parser.parse_args()
    model, counts = load(a.model), [int(m) for m in a.counts.split(",")]
    digits = load_digits()
    pictures = model.preprocess((digits.images * 15.9).astype(np.uint8))
    tasks: list[Task] = [("scikit-learn's digits", pictures, digits.target, np.arange(len(pictures)))]
    for given in a.folder:
        name, _, folder = given.partition("=")
        x, y = read_labelled(folder, model)
        tasks.append((name, x, np.array(y), np.arange(len(y))))
    if a.photos:
        tasks += photographs(model, a.photos, a.attributes, a.attribute)
    rows, content = [], setting(a.seeds) | {"model": a.model, "accuracy": {}}
    for name, x, y, groups in tasks:
        for m in counts:
            found: dict[str, list[float]] = {}
            for seed in range(a.seeds):
                parts = draws(y, groups, m, seed)
                if parts is None:
                    continue
                support, query = (torch.from_numpy(part) for part in parts)
                classes, numbers = np.unique(y, return_inverse=True)
                truth = torch.from_numpy(numbers)[query]
                known = torch.from_numpy(numbers)[support]
                baselines = pixel_baselines(x[support], known, len(classes))(x[query])
                found.setdefault("pixels", []).append(
                    max(100 * (found == truth).double().mean().item() for found in baselines.values())
                )
                for way, augment in (("auto", False), ("auto, augmented", True)):
                    few = FewShotClassifier(model, augment=augment).fit(x[support], y[support])
                    p, far = few.predict_proba_and_p_values(x[query])
                    p = torch.from_numpy(p)
                    found.setdefault(way, []).append(100 * (p.argmax(1) == truth).double().mean().item())
                    if augment:
                        found.setdefault("calibration", []).append(100 * metrics.calibration_error(p, truth))
                    if augment and far is not None:
                        found.setdefault("refused", []).append(100 * float((far < 0.01).mean()))
            if found:
                content["accuracy"].setdefault(name, {})[m] = found
                words = {k: mean_and_spread(v) for k, v in found.items()}
                ways = ("auto", "auto, augmented", "pixels", "calibration", "refused")
                rows.append([name, m, *(words.get(way, "") for way in ways)])
                print(*rows[-1], sep=" | ", flush=True)
    print(table(("accuracy, %", "m", "auto", "augmented", "pixels", "calibration error", "refused at 1 %"), rows))
    write_json(a.output, content)


if __name__ == "__main__":
    main()
