"""The pictures that the paper's figures are made of: the user's own, or stand-ins that nobody owns.

like      of a kind that the model was trained on      the reddest of its own samples; of a grey model, the lightest
unlike    of a kind that it never saw                  faces drawn by code
other     of a third kind, at the other end of a way   its own samples, tinted
own       of the model's own kind                      its own samples
digits    by class                                     scikit-learn's handwritten digits, 8 x 8, enlarged
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from transflow.conditioning.model import Model
from transflow.estimators.digits import handwritten_digits
from transflow.gaussians.draws import normal
from transflow.pictures.decode import read
from transflow.pictures.drawn import synthetic_pictures
from transflow.pictures.grids import to_uint8
from transflow.pictures.labels import check_classes
from transflow.pictures.preprocess import greyscale, preprocess
from transflow.store.files import PathLike

KINDS = {
    "like": "pictures of a kind that the model was trained on, such as red-haired people",
    "unlike": "pictures of a kind that it never saw, such as drawn faces",
    "other": "pictures of another kind again, such as paintings",
    "own": "pictures of the model's own kind, such as photographs of faces",
}
SAMPLES_FOR_ONE = 8  # samples of the model among which each stand-in of "like" is the reddest
MOST = 60  # pictures of a class of digits that are used


@dataclass(frozen=True)
class Digits:
    """Pictures of classes: evidence to draw from, and queries.

    Attributes:
        pictures: uint8 (n, C, H, W), of the model's shape.
        labels: classes, 0 to 9, shape (n,).
        queries: uint8 (q, C, H, W).
        truth: classes of the queries, shape (q,).
    """

    pictures: Tensor
    labels: Tensor
    queries: Tensor
    truth: Tensor

    def of(self, label: int, m: int) -> Tensor:
        """Return the first m pictures of a class."""
        return self.pictures[self.labels == label][:m]


@dataclass(frozen=True)
class PaperPictures:
    """Pictures by kind, of a model's shape.

    Attributes:
        model: whose shape they take, and whose samples are the stand-ins.
        folders: of the user, by kind (see `KINDS`).
        digits_at: a folder with a sub-folder for each class, or an ``.npz`` file with x_train, y_train, x_test and
            y_test; None for scikit-learn's digits.
        evidence: how many stand-ins of a kind there are.
        queries: how many digits are classified.
        seed: of all draws.
    """

    model: Model
    folders: Mapping[str, PathLike] = field(default_factory=dict)
    digits_at: PathLike | None = None
    evidence: int = 24
    queries: int = 500
    seed: int = 0

    def check(self) -> None:
        """Read what is given, so that what cannot be used is known before the work.

        Raises:
            ValueError: there are too few pictures, or a model's pictures are neither grey nor of colours.
            OSError: a folder or file cannot be read.
        """
        if self.model.shape[0] not in (1, 3):
            raise ValueError(f"Expected a model of pictures with 1 or 3 channels; got {self.model.shape[0]}.")
        _ = self.given
        if self.digits_at is not None:
            _ = self.digits

    @cached_property
    def given(self) -> dict[str, Tensor]:
        """The user's pictures by kind."""
        found = {kind: read(folder, self.model.shape).pixels for kind, folder in self.folders.items()}
        for kind, pictures in found.items():
            if len(pictures) < 2:
                raise ValueError(f"Expected two or more pictures; got {len(pictures)}: {self.folders[kind]}")
        return found

    def of(self, kind: str) -> Tensor:
        """Return the pictures of a kind, uint8 (B, C, H, W), B of 2 or more."""
        if kind in self.folders:
            return self.given[kind]
        if kind == "like":
            many = self._samples(SAMPLES_FOR_ONE * self.evidence, self.seed + 1)
            top = many[:, :, : many.shape[2] // 3].double().mean((2, 3))
            red = top[:, 0] - top[:, -1] if self.model.shape[0] == 3 else top[:, 0]
            return many[red.argsort(descending=True)[: self.evidence]]
        if kind == "own":
            return self.samples
        made = synthetic_pictures({"unlike": "drawn", "other": "tinted"}[kind], self._rgb(self.samples), self.seed)
        return made if self.model.shape[0] == 3 else greyscale(made)[:, :1]

    def words(self, kind: str) -> str:
        """Return what the pictures of a kind are."""
        if kind in self.folders:
            return Path(self.folders[kind]).name
        return {
            "like": f"the {'reddest' if self.model.shape[0] == 3 else 'lightest'} of the model's own samples",
            "unlike": "faces drawn by code",
            "other": "the model's own samples, tinted",
            "own": "the model's own samples",
        }[kind]

    def changed(self, how: str) -> Tensor:
        """Return the model's own kind of pictures "grey", "covered", "dark" or "noisy", uint8 (B, C, H, W)."""
        own = self.of("own")[: self.evidence]
        if how == "dark":
            return (own.float() * 0.3).round().to(torch.uint8)
        if how == "noisy":
            noise = 40 * normal(torch.Generator().manual_seed(self.seed), *own.shape)
            return (own.float() + noise).round().clamp(0, 255).to(torch.uint8)
        made = synthetic_pictures(how, self._rgb(own), self.seed)
        return made if own.shape[1] == 3 else made[:, :1]

    @cached_property
    def samples(self) -> Tensor:
        """Samples of the model, as many as the stand-ins of a kind."""
        return self._samples(self.evidence, self.seed)

    def _samples(self, n: int, seed: int) -> Tensor:
        return to_uint8(self.model.pictures(self.model.prior, n, seed=seed, temperature=self.model.temperature or 0.7))

    @staticmethod
    def _rgb(pictures: Tensor) -> Tensor:
        return pictures.expand(-1, 3, -1, -1)

    @cached_property
    def digits(self) -> Digits:
        """Digits, or what classes there are in their place."""
        x, y, queries, truth = self._labelled()
        order = np.random.default_rng(self.seed)
        keep = np.concatenate([order.permutation(np.flatnonzero(y == label))[:MOST] for label in np.unique(y)])
        some = order.permutation(len(truth))[: self.queries]
        shape = self.model.shape
        return Digits(
            preprocess(x[keep], shape),
            torch.from_numpy(y[keep].astype(np.int64)),
            preprocess(queries[some], shape),
            torch.from_numpy(truth[some].astype(np.int64)),
        )

    def _labelled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Pictures and classes, to draw evidence and queries from."""
        if self.digits_at is not None and Path(self.digits_at).is_dir():
            parts = [
                read(Path(self.digits_at, name), self.model.shape).pixels for name in check_classes(self.digits_at)
            ]
            if len(parts) < 2 or min(map(len, parts)) < 2:
                raise ValueError(
                    f"Expected a folder of two or more classes, each with two or more pictures; got "
                    f"{', '.join(str(len(part)) for part in parts) or 'no'} pictures: {self.digits_at}"
                )
            x = torch.cat(parts).permute(0, 2, 3, 1).numpy()
            y = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            return self._halved(x, y)
        if self.digits_at is not None:
            return _archive(self.digits_at)
        x, y = handwritten_digits()
        order = np.random.default_rng(self.seed).permutation(len(y))
        half = len(y) // 2
        return x[order[:half]], y[order[:half]], x[order[half:]], y[order[half:]]

    def _halved(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Half of each class as evidence, and the rest as queries."""
        order = np.random.default_rng(self.seed)
        mixed = [order.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
        evidence = np.concatenate([some[: (len(some) + 1) // 2] for some in mixed])
        queries = np.concatenate([some[(len(some) + 1) // 2 :] for some in mixed])
        return x[evidence], y[evidence], x[queries], y[queries]


def _archive(path: PathLike) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with np.load(path, allow_pickle=False) as found:
            x, y, queries, truth = (found[name] for name in names)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        raise ValueError(
            f"Expected a folder of classes, or an .npz file with {', '.join(names)}; got {path}."
        ) from None
    for pictures, labels, what in ((x, y, "train"), (queries, truth, "test")):
        whole = labels.ndim == 1 and labels.dtype.kind in "iu" and len(labels)
        if not whole or pictures.dtype != np.uint8 or pictures.ndim not in (3, 4) or len(pictures) != len(labels):
            raise ValueError(
                f"Expected pictures as uint8 (n, H, W), and n whole numbers as their classes; got x_{what} of "
                f"{pictures.dtype} {pictures.shape} and y_{what} of {labels.dtype} {labels.shape}: {path}"
            )
    if len(np.unique(y)) < 2:
        raise ValueError(f"Expected pictures of two or more classes; got one: {path}")
    return x, y, queries, truth
