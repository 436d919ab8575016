"""Few-shot classification as a scikit-learn estimator, of pictures by a model or of plain vectors.

With a model, pictures are encoded once, in bounded memory: their latents and, where the model
has them, its inner activations, perhaps of copies under small affine maps. Without one, vectors
are taken as they are. The evidence, the choice of likelihood and the calibration are `classifier`'s.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transflow.conditioning.model import Model
from transflow.estimators.features import Augment, encoded, labelled
from transflow.estimators.sklearn_parts import BaseEstimator, ClassifierMixin, NotFittedError, targets, vectors
from transflow.fewshot.classifier import FewShot, View, check_noise
from transflow.fewshot.ensemble import Candidate, Choice
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.noise import NoiseSpec
from transflow.library import load as library
from transflow.store import container as checkpoint
from transflow.store.files import PathLike
from transflow.store.identity import digest

SCHEMA = checkpoint.Schema("classifier")
CHUNK = 512  # pictures at a time: bounds memory, changes nothing else


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify by closed-form predictive densities of a few examples a class, without training.

    Args:
        model: a `Model`, the name or file of one, any object with ``encode``, ``decode`` and ``prior``,
            or None to take vectors (n, D) as they are.
        noise: how latents scatter within a class: "auto" (chosen by leaving each example out), the
            paper's lambda as a number or "0.5m", "pooled" (one lambda, estimated), "levels" (one for
            each level), "shared" (one covariance for all classes) or "student" (lambda unknown).
        augment: True adds copies of each picture under small affine maps (see `augment`) to the
            evidence; a number says how many there are, the picture included; a function takes
            uint8 pictures (B, C, H, W) and returns (B, K, C, H, W), each picture the first of its K.
        query_copies: how many copies of a query are classified, the query included; the
            probabilities are the geometric mean.
        cache: a folder where encodings are kept, for the next time the same pictures come.

    Attributes:
        classes_: the labels, sorted.
        choice_: the likelihoods in use, one a view, and how well they tell left-out examples (see `experts.Choice`).
        considered_: all that were compared, the best first.

    >>> x = np.array([[0.0, 0.0], [0.1, 0.2], [3.0, 3.0], [3.2, 2.9]])
    >>> FewShotClassifier().fit(x, ["low", "low", "high", "high"]).predict([[0.3, 0.1], [2.5, 3.0]]).tolist()
    ['low', 'high']
    """

    classes_: NDArray[Any]

    def __init__(
        self,
        model: Any = None,
        noise: NoiseSpec = "auto",
        augment: Augment = False,
        query_copies: int = 1,
        cache: PathLike | None = None,
    ) -> None:
        self.model = model
        self.noise = noise
        self.augment = augment
        self.query_copies = query_copies
        self.cache = cache

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Take evidence: pictures or vectors, and their labels; what was known before is forgotten.

        Args:
            X: with a model, pictures as `Model.encode` takes them, or a folder with a sub-folder for
                each class; without one, vectors (n, D).
            y: labels, n of them; None for a folder of sub-folders.

        Raises:
            ValueError: lengths differ, a number is not finite, or a parameter is not one of those above.
        """
        self.__dict__.pop("evidence_", None)
        return self._add(X, y, reset=True)

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None) -> Self:  # noqa: N803
        """Take more evidence, of known or new classes: the same as if all had come at once.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            classes: taken for scikit-learn's sake; a class without examples is never predicted.
        """
        return self._add(X, y, reset=not self._is_fitted())

    def forget(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Take evidence out again: the same as if it had never been seen. A class that is emptied is gone.

        Raises:
            ValueError: something in X never was in with this label, or nothing would be left.
        """
        self._check_fitted()
        inputs, names = self._inputs(X, y, reset=False)
        left = self.evidence_.remove(names, _keys(inputs), lambda: self._views(inputs))
        if not left.classes:
            raise ValueError("Expected to keep at least one example; got all of them to forget.")
        self._keep(left)
        return self

    @property
    def choice_(self) -> Choice:
        """The likelihoods in use, one a view, and how well they told left-out examples together."""
        self._check_fitted()
        return self.evidence_.fitted.choice

    @property
    def considered_(self) -> tuple[Candidate, ...]:
        """All likelihoods that were compared, the best first."""
        self._check_fitted()
        return self.evidence_.fitted.considered

    def predict(self, X: Any, reject: float | None = None) -> NDArray[Any]:  # noqa: N803
        """Return the most probable class of each.

        Args:
            X: pictures or vectors, as in `fit`.
            reject: the share of good inputs that may be refused; what lies further out than that
                belongs to no class and gets None, in an array of objects.
        """
        scores, p = self._scores(X, outlying=reject is not None)
        labels: NDArray[Any] = self.classes_[scores.argmax(1)]
        if reject is None:
            return labels
        if not 0 < reject < 1:
            raise ValueError(f"Expected a share to reject between 0 and 1; got {reject}.")
        told = labels.astype(object)
        told[p < reject] = None
        return told

    def predict_proba(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return probabilities (n, C), calibrated on the evidence, in the order of ``classes_``."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return log probabilities (n, C)."""
        scores = self._scores(X)[0].astype(np.float64)
        top = scores.max(1, keepdims=True)
        return scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True))

    def decision_function(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return log densities over the temperature (n, C), up to a constant each; of two classes, their difference."""
        scores, _ = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def probabilities_and_p_values(self, X: Any) -> tuple[Tensor, Tensor | None]:  # noqa: N803
        """Return `predict_proba` and `p_values` of one pass; None for the second where the evidence is too little."""
        self._check_fitted()
        scores, p = self._scores(X, outlying=self.evidence_.fitted.tells_outliers)
        return torch.from_numpy(scores).double().softmax(1), torch.from_numpy(p) if len(p) == len(scores) else None

    def p_values(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return for each how often an example of its class lies as far out: small where it belongs to none."""
        return self._scores(X, outlying=True)[1]

    def save(self, path: PathLike) -> None:
        """Write the classifier as one safetensors file; `load` reads it back."""
        self._check_fitted()
        if not isinstance(self.augment, (bool, int)):
            raise ValueError("Expected augment=True, False or a number in a classifier to save; got a function.")
        model = self._model()
        if model is not None and not model.fingerprint:
            raise ValueError("Expected a model with a fingerprint in a classifier to save; got one without.")
        few = self.evidence_
        tensors = {"labels": few.labels}
        views = {}
        for name, view in few.views.items():
            tensors[f"{name}.rows"] = view.rows
            tensors[f"{name}.total"] = torch.stack([e.total for e in view.evidence])
            tensors[f"{name}.scatter"] = torch.stack([e.scatter for e in view.evidence])
            views[name] = {
                "counts": [e.count for e in view.evidence],
                "levels": view.levels,
                "standard": view.standard,
            }
        names = np.asarray(few.classes)
        header = {
            "model": model.name if model else None,
            "fingerprint": model.fingerprint if model else None,
            "precision": model.precision if model else None,
            "parameters": {"noise": self.noise, "augment": self.augment, "query_copies": self.query_copies},
            "classes": names.tolist(),
            "dtype": names.dtype.str,
            "keys": list(few.keys),
            "views": views,
            "features": getattr(self, "n_features_in_", None),
        }
        checkpoint.write(path, "classifier", tensors, header)

    @classmethod
    def load(cls, path: PathLike, model: Any = None) -> FewShotClassifier:
        """Return a saved classifier.

        Args:
            path: a file written by `save`.
            model: the model it works on; without it, the one it was made with is loaded by name, in the precision
                it was made in.

        Raises:
            ValueError: the model has other weights, or the file is damaged or foreign.
        """
        tensors, header = checkpoint.read(path, SCHEMA)
        if model is None and header["model"]:
            model = library.load_model_of(path, header)
        made = cls(model, **header["parameters"])
        found = made._model()
        if found is not None:
            found.check_same_model(path, header)
        views = {}
        for name, view in header["views"].items():
            parts = zip(view["counts"], tensors[f"{name}.total"], tensors[f"{name}.scatter"], strict=True)
            evidence = tuple(Evidence(*part) for part in parts)
            views[name] = View(tensors[f"{name}.rows"], evidence, tuple(view["levels"]), view["standard"])
        classes = tuple(np.array(header["classes"], dtype=header["dtype"]).tolist())
        if header["features"] is not None:
            made.n_features_in_ = header["features"]
        made._keep(FewShot(made.noise, classes, tensors["labels"], tuple(header["keys"]), views), header["dtype"])
        return made

    def _add(self, x: Any, y: Any, *, reset: bool) -> Self:
        check_noise(self.noise)
        if not isinstance(self.query_copies, (int, np.integer)) or self.query_copies < 1:
            raise ValueError(f"Expected query_copies of 1 or more; got {self.query_copies!r}.")
        inputs, names = self._inputs(x, y, reset=reset)
        before = FewShot(self.noise) if reset else self.evidence_
        sizes = self._levels()
        levels = {"latents": sizes, "directions": sizes} if sizes else {}
        kind = np.asarray(names).dtype
        if not reset:
            kind = np.result_type(kind, self.classes_.dtype)
        self._keep(before.add(self._views(inputs), names, _keys(inputs), levels), kind)
        if reset:
            _ = self.evidence_.fitted  # of evidence that comes bit by bit, only when something is asked
        return self

    def _keep(self, few: FewShot, kind: Any = None) -> None:
        self.evidence_ = few
        self.classes_ = np.array(sorted(few.classes), dtype=kind if kind is not None else self.classes_.dtype)

    def _inputs(self, x: Any, y: Any, *, reset: bool) -> tuple[Any, list[Any]]:
        """Pictures fitted to the model, or vectors; and the labels as plain values."""
        model = self._model()
        if model is not None and y is None:
            x, y = labelled(x, model)
        if y is None:
            raise ValueError("Expected labels, requires y to be passed, but the target y is None")
        inputs = model.preprocess(x) if model is not None else vectors(self, x, reset=reset)
        if not len(inputs):
            raise ValueError("Expected at least one picture; got none.")
        if (
            isinstance(y, (list, tuple, np.ndarray))
            and np.ndim(y) == 1
            and any(label is None or label != label for label in y)
        ):  # NaN is not itself
            raise ValueError("Expected a label for each example; got NaN or None.")
        y = targets(y)
        if len(y) != len(inputs):
            raise ValueError(f"Expected one label for each of {len(inputs)} examples; got {len(y)} labels.")
        return inputs, y.tolist()

    def _scores(self, x: Any, *, outlying: bool = False) -> tuple[NDArray[Any], NDArray[Any]]:
        """Log densities over T in the order of ``classes_``, (n, C); and p-values (n,), if asked for."""
        self._check_fitted()
        model, fitted = self._model(), self.evidence_.fitted
        inputs = model.preprocess(x) if model is not None else vectors(self, x, reset=False)
        order = sorted(range(len(self.evidence_.classes)), key=self.evidence_.classes.__getitem__)
        copies = self.query_copies if model is not None else 1
        scores, p = [], []
        size = CHUNK if model is not None else max(1, len(inputs))
        for i in range(0, len(inputs), size):
            rows = self._encoded(fitted.views, inputs[i : i + size], copies, 0.5)
            found = fitted.scores({view: r.flatten(0, 1) for view, r in rows.items()}).unflatten(0, (-1, copies))
            if copies > 1:
                found = found.log_softmax(2)
            scores.append(found.mean(1)[:, order])
            if outlying:
                p.append(fitted.p_values({view: r[:, 0] for view, r in rows.items()}))
        if not scores:
            return np.zeros((0, len(order))), np.zeros(0)
        return torch.cat(scores).cpu().numpy(), torch.cat(p).numpy() if p else np.zeros(0)

    def _views(self, inputs: Any) -> dict[str, Tensor]:
        """Encodings of the evidence by view, (n, K, D); with inner activations, only these get copies."""
        model = self._model()
        inner = model is not None and self.noise in ("auto", "shared") and hasattr(model.source, "features")
        latents = "directions" if self.noise == "auto" and self._levels() else "latents"
        if not inner:
            return self._encoded([latents], inputs, self.augment)
        if self.noise == "shared":
            return self._encoded(["activations"], inputs, self.augment)
        if self.augment is False:
            return self._encoded([latents, "activations"], inputs, 1)
        return self._encoded([latents], inputs, 1) | self._encoded(["activations"], inputs, self.augment)

    def _encoded(self, views: Sequence[str], inputs: Any, augment: Augment, strength: float = 1.0) -> dict[str, Tensor]:
        """Views of inputs and their copies, each (n, K, D); without a model, the vectors as they are."""
        model = self._model()
        if model is None:
            return dict.fromkeys(views, torch.from_numpy(np.array(inputs, order="C"))[:, None])
        return encoded(model, views, inputs, augment, strength, self.cache)

    def _levels(self) -> tuple[int, ...] | None:
        """Sizes of the levels of a model whose prior is N(0, I)."""
        model = self._model()
        if model is None or not model.prior.is_standard:
            return None
        return tuple(getattr(model.source, "level_sizes", (model.dim,)))

    def _model(self) -> Model | None:
        if self.model is None or isinstance(self.model, Model):
            return self.model
        loaded = self.__dict__.get("_loaded")
        if loaded is None or loaded[0] is not self.model:
            found = library.load(self.model) if isinstance(self.model, (str, os.PathLike)) else Model(self.model)
            self._loaded = loaded = (self.model, found)
        return cast(Model, loaded[1])

    def _is_fitted(self) -> bool:
        return "evidence_" in self.__dict__

    def _check_fitted(self) -> None:
        if not self._is_fitted():
            raise NotFittedError("Expected a classifier that was given evidence; call fit first.")


def _keys(inputs: Any) -> list[str]:
    rows: Iterator[Any] = (row.numpy() if isinstance(row, Tensor) else row for row in inputs)
    return [digest(np.ascontiguousarray(row)) for row in rows]
