"""A classifier on disk: its evidence, by set of features, in one safetensors file.

Of each set the file has the kept rows and, by class, count, total and scatter; beside them labels, keys and classes,
the estimator's parameters, and the model's name and fingerprint. Every entry is checked before anything is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.estimators.features import FEATURES, LATENTS, NORMALISED
from transflow.fewshot.classifier import FewShot
from transflow.fewshot.examples import FeatureKind, LabelledFeatures
from transflow.fewshot.selection import check_noise
from transflow.gaussians.evidence import Evidence
from transflow.store import container
from transflow.store.files import PathLike
from transflow.store.identity import newer
from transflow.store.locks import locked_file

SCHEMA = container.Schema(
    "classifier",
    {
        "model": (str, NoneType),
        "fingerprint": (str, NoneType),
        "precision": (str, NoneType),
        "parameters": dict,
        "classes": list,
        "dtype": str,
        "keys": list,
        "views": dict,  # sets of features
        "features": (int, NoneType),  # of plain vectors
    },
    frozenset({"labels"}),
)
OLD_NAMES = {"directions": NORMALISED, "activations": FEATURES}  # of sets of features, as 0.1.0 wrote them
MOST_COPIES = 1024  # of a picture that a file may ask for
PARAMETERS: dict[str, Any] = {"noise": (str, int, float), "augment": (bool, int), "query_copies": int}


@dataclass(frozen=True, eq=False)
class SavedClassifier:
    """A classifier as its file has it.

    Attributes:
        evidence: labelled features, and the noise.
        parameters: noise, augment and query_copies of the estimator.
        dtype: of the classes.
        vector_size: numbers in a vector; None for pictures.
        header: of the file, with the model's name, fingerprint and precision.
    """

    evidence: FewShot
    parameters: dict[str, Any]
    dtype: np.dtype[Any]
    vector_size: int | None
    header: dict[str, Any]


def save(
    path: PathLike, few: FewShot, parameters: Mapping[str, Any], model: BaseModel | None, vector_size: int | None
) -> None:
    """Write a classifier; `load` reads it back.

    Args:
        path: the file.
        few: the evidence.
        parameters: noise, augment and query_copies of the estimator.
        model: what encodes; None for plain vectors.
        vector_size: numbers in a vector; None for pictures.
    """
    if not isinstance(parameters["augment"], (bool, int)):
        raise ValueError("Expected augment=True, False or a number in a classifier to save; got a function.")
    tensors = {"labels": few.labels}
    views = {}
    for name, features in few.feature_sets.items():
        tensors[f"{name}.rows"] = features.rows
        tensors[f"{name}.total"] = torch.stack([e.total for e in features.evidence])
        tensors[f"{name}.scatter"] = torch.stack([e.scatter for e in features.evidence])
        views[name] = {
            "counts": [e.count for e in features.evidence],
            "levels": features.levels,
            "standard": features.kind.levels is not None,
        }
    names = np.asarray(few.classes)
    header = {
        "model": model.name if model else None,
        "fingerprint": model.fingerprint if model else None,
        "precision": model.precision if model else None,
        "parameters": dict(parameters),
        "classes": names.tolist(),
        "dtype": names.dtype.str,
        "keys": list(few.keys),
        "views": views,
        "features": vector_size,
    }
    with locked_file(path):
        container.write(path, SCHEMA.kind, tensors, header)


def load(path: PathLike) -> SavedClassifier:
    """Return the classifier in a file.

    Raises:
        ValueError: the file is damaged, foreign, or made by a newer version; the message says which.
    """
    tensors, header = container.read(path, SCHEMA)
    check = Checker(path)
    parameters = check.parameters(header["parameters"])
    classes, dtype = check.classes(header["classes"], header["dtype"])
    labels = check.labels(tensors["labels"], header["keys"], len(classes))
    sets = {}
    check.true(bool(header["views"]), "no set of features")
    for name, entry in header["views"].items():
        new_name = OLD_NAMES.get(name, name)
        if new_name not in (LATENTS, NORMALISED, FEATURES):
            raise newer(f"the features {name}", path)
        sets[new_name] = check.features(name, entry, tensors, len(labels), len(classes), new_name == FEATURES)
    counts = [[e.count // f.copies for e in f.evidence] for f in sets.values()]
    check.true(all(part == counts[0] for part in counts), "sets of features that differ in their examples")
    few = FewShot(parameters["noise"], classes, labels, tuple(header["keys"]), sets)
    return SavedClassifier(few, parameters, dtype, header["features"], header)


@dataclass(frozen=True)
class Checker:
    """Raises `ValueError` that names the file where an entry is not what it must be."""

    path: PathLike

    def true(self, condition: bool, problem: str) -> None:
        """Raise if the condition does not hold."""
        if not condition:
            raise ValueError(f"Expected a whole classifier file; got a damaged one ({problem}): {self.path}")

    def parameters(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the estimator's parameters."""
        if unknown := sorted(found.keys() - PARAMETERS.keys()):
            raise newer(f"the parameter {', '.join(unknown)}", self.path)
        for name, types in PARAMETERS.items():
            self.true(isinstance(found.get(name), types), f"{name} is {found.get(name)!r}")
        for name in ("augment", "query_copies"):
            self.true(0 <= found[name] <= MOST_COPIES, f"{name} is {found[name]!r:.80}")
        try:
            check_noise(found["noise"])
        except ValueError:
            self.true(False, f"noise is {found['noise']!r}")
        return found

    def classes(self, found: list[Any], dtype: str) -> tuple[tuple[Any, ...], np.dtype[Any]]:
        """Return the classes as plain values, and their dtype."""
        try:
            kind = np.dtype(dtype)
            kind = np.dtype(str) if kind.kind == "U" else kind  # as long as they are
            classes = tuple(np.array(found, dtype=kind).tolist()) if kind.kind in "biufUO" else ()
            distinct = len(set(classes))
        except (TypeError, ValueError, OverflowError):
            distinct, classes = 0, ()
        self.true(0 < distinct == len(classes), f"classes {found!r} of dtype {dtype!r}"[:200])
        return classes, kind

    def labels(self, found: Tensor, keys: list[Any], classes: int) -> Tensor:
        """Return the labels of the kept examples."""
        self.true(found.dtype == torch.int64 and found.ndim == 1, "labels that are not whole numbers")
        self.true(len(found) == len(keys) and all(isinstance(key, str) for key in keys), "keys that do not fit")
        self.true(bool(((found >= 0) & (found < classes)).all()), "labels of unknown classes")
        return found

    def features(
        self, name: str, entry: Any, tensors: Mapping[str, Tensor], kept: int, classes: int, hidden: bool
    ) -> LabelledFeatures:
        """Return a set of features."""
        whole = isinstance(entry, dict) and {"counts", "levels", "standard"} <= entry.keys()
        self.true(whole, f"{name} without counts, levels or standard")
        counts, levels, standard = entry["counts"], entry["levels"], entry["standard"]
        self.true(_whole_numbers(counts) and len(counts) == classes, f"counts of {name}")
        self.true(_whole_numbers(levels) and isinstance(standard, bool), f"levels of {name}")
        parts = [tensors.get(f"{name}.{part}") for part in ("rows", "total", "scatter")]
        self.true(all(part is not None for part in parts), f"{name} without rows, total or scatter")
        rows, total, scatter = (part for part in parts if part is not None)
        self.true(rows.ndim == 3 and len(rows) == kept and rows.shape[1] > 0, f"rows of {name}")
        dim = rows.shape[2]
        self.true(sum(levels) == dim, f"levels of {name}")
        self.true(total.shape == scatter.shape == (classes, dim), f"total or scatter of {name}")
        self.true(all(count % rows.shape[1] == 0 for count in counts), f"counts of {name}")
        for part in (rows, total, scatter):
            self.true(part.is_floating_point() and bool(torch.isfinite(part).all()), f"numbers of {name}")
        try:
            evidence = tuple(Evidence(*part) for part in zip(counts, total.double(), scatter.double(), strict=True))
        except ValueError as error:
            self.true(False, f"{name}: {error}")
        return LabelledFeatures(rows, evidence, FeatureKind(tuple(levels) if standard else None, hidden))


def _whole_numbers(found: Any) -> bool:
    return isinstance(found, list) and all(type(number) is int and number > 0 for number in found) and bool(found)
