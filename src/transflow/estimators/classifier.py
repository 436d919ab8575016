"""Few-shot classification as a scikit-learn estimator, of pictures by a model or of plain vectors.

With a model, pictures are encoded once, in bounded memory: their latents and, where the model has them, its features,
perhaps of copies under small affine maps. Without one, vectors are taken as they are. Evidence, likelihoods and
calibration are those of `fewshot.classifier`.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from torch import Tensor

from transflow.devices import full_float32
from transflow.estimators import base, classifier_file
from transflow.estimators.base import PictureEstimator
from transflow.estimators.features import (
    FEATURES,
    LATENTS,
    NORMALISED,
    Augment,
    feature_kinds,
    read_labelled,
)
from transflow.fewshot.classifier import FewShot
from transflow.fewshot.ensemble import Candidate, Selection
from transflow.gaussians.noise import NoiseSpec
from transflow.library.load import load_model_of
from transflow.store.files import PathLike

PICTURES_AT_A_TIME = 512  # bounds memory, changes nothing else


class FewShotClassifier(ClassifierMixin, PictureEstimator):  # type: ignore[misc]
    """Classify by closed-form predictive densities of a few examples a class, without training.

    Args:
        model: a `Model`, the name or file of one, any object with ``encode``, ``decode`` and ``prior``,
            or None to take vectors (n, D) as they are.
        noise: how latents scatter within a class: "auto" (chosen by leaving each example out), the
            paper's lambda as a number or "0.5m", "pooled" (one lambda, estimated), "levels" (one for
            each level), "shared" (one covariance for all classes) or "student" (lambda unknown).
        augment: True adds copies of each picture under small affine maps (see `pictures.augment`) to the
            evidence; a number is how many there are, the picture included; a function takes
            uint8 pictures (B, C, H, W) and returns (B, K, C, H, W), each picture the first of its K.
        query_copies: how many copies of a query are classified, the query included; the
            probabilities are the geometric mean.
        cache: a folder where encodings are kept, for the next time that the same pictures come.

    Attributes:
        classes_: the labels, sorted.
        choice_: the selected likelihoods and their leave-one-out scores (see `fewshot.ensemble.Selection`).
        considered_: all candidates that were compared, the best first.

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
        """Take evidence: pictures or vectors, and their labels; earlier evidence is forgotten.

        Args:
            X: with a model, pictures as `Model.encode` takes them, or a folder with a sub-folder for
                each class; without one, vectors (n, D).
            y: labels, n of them; None for a folder of sub-folders.

        Raises:
            ValueError: lengths differ, a number is not finite, or a parameter is not one of those above.
        """
        with self._unchanged_on_error():
            return self._add(X, y, reset=True)

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None) -> Self:  # noqa: N803
        """Take more evidence, of known or new classes: the same as if all had come at once.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            classes: ignored, part of scikit-learn's interface; a class without examples is never predicted.
        """
        with self._unchanged_on_error():
            return self._add(X, y, reset="evidence_" not in self.__dict__)

    def forget(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Remove evidence: the same as if it had never been added. A class without examples is removed, too.

        Raises:
            ValueError: something in X is not in the evidence with this label, where rows are kept, or nothing is left.
        """
        self._check_fitted("evidence_", gathered=True)
        inputs, names = self._inputs(X, y, reset=False)
        left = self.evidence_.remove(names, base.digests_of(inputs), lambda: self._evidence_features(inputs))
        if not left.classes:
            raise ValueError("Expected to keep at least one example; got all of them to forget.")
        self._keep(left)
        return self

    @property
    def choice_(self) -> Selection:
        """The selected likelihoods, one for each set of features, and their leave-one-out scores together."""
        self._check_fitted("evidence_")
        return self.evidence_.ensemble.selection

    @property
    def considered_(self) -> tuple[Candidate, ...]:
        """All candidates that were compared, the best first."""
        self._check_fitted("evidence_")
        return self.evidence_.ensemble.considered

    def predict(self, X: Any, reject: float | None = None) -> NDArray[Any]:  # noqa: N803
        """Return the most probable class of each, shape (n,).

        Args:
            X: pictures or vectors, as in `fit`.
            reject: deprecated; use `predict_or_reject`.
        """
        if reject is not None:
            warnings.warn(
                "predict(X, reject=rate) is predict_or_reject(X, rate) now, and goes in the next version.",
                DeprecationWarning,
                stacklevel=2,
            )
            return self.predict_or_reject(X, reject)
        scores, _ = self._scores(X)
        return self.classes_[scores.argmax(1)]

    def predict_or_reject(self, X: Any, rate: float = 0.01) -> NDArray[np.object_]:  # noqa: N803
        """Return the most probable class of each, or None for an outlier: an array of objects, (n,).

        Args:
            X: pictures or vectors, as in `fit`.
            rate: the share of good inputs that may be rejected, between 0 and 1; what lies further out than that
                belongs to no class.
        """
        base.check_rejection_rate(rate)
        scores, p = self._scores(X, outlying=True)
        labels = self.classes_[scores.argmax(1)].astype(object)
        labels[p < rate] = None
        return labels

    def predict_proba(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return probabilities (n, C), calibrated on the evidence, in the order of ``classes_``."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return log probabilities (n, C)."""
        log_prob: NDArray[Any] = torch.from_numpy(self._scores(X)[0]).double().log_softmax(1).numpy()
        return log_prob

    def decision_function(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return log densities over the temperature (n, C), up to a constant each; of two classes, their difference."""
        scores, _ = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def p_values(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the probability that an example of some class lies as far out as each input: small for outliers."""
        return self._scores(X, outlying=True)[1]

    def predict_proba_and_p_values(self, X: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:  # noqa: N803
        """Return `predict_proba` and `p_values` of one pass; None for the second if there are too few examples."""
        self._check_fitted("evidence_")
        known = self.evidence_.ensemble.has_p_values
        scores, p = self._scores(X, outlying=known)
        return np.exp(torch.from_numpy(scores).double().log_softmax(1).numpy()), p if known else None

    def probabilities_and_p_values(self, X: Any) -> tuple[Tensor, Tensor | None]:  # noqa: N803
        """Return `predict_proba_and_p_values` as tensors; deprecated."""
        warnings.warn(
            "probabilities_and_p_values is predict_proba_and_p_values now, of arrays, and goes in the next version.",
            DeprecationWarning,
            stacklevel=2,
        )
        probabilities, p = self.predict_proba_and_p_values(X)
        return torch.from_numpy(probabilities), None if p is None else torch.from_numpy(p)

    def save(self, path: PathLike) -> None:
        """Write the classifier as one safetensors file; `load` reads it back."""
        self._check_fitted("evidence_", gathered=True)
        vector_size = getattr(self, "n_features_in_", None)
        classifier_file.save(path, self.evidence_, base.plain_parameters(self), self._model(), vector_size)

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
        saved = classifier_file.load(path)
        if model is None and saved.header["model"]:
            model = load_model_of(path, saved.header)
        classifier = cls(model, **saved.parameters)
        found = classifier._model()
        if found is not None:
            found.check_same_model(path, saved.header)
        if saved.vector_size is not None:
            classifier.n_features_in_ = saved.vector_size
        classifier._keep(saved.evidence, saved.dtype)
        return classifier

    def _add(self, x: Any, y: Any, *, reset: bool) -> Self:
        plain = base.plain_parameters(self)
        inputs, names = self._inputs(x, y, reset=reset)
        before = FewShot(plain["noise"]) if reset else self.evidence_
        dtype = np.asarray(names).dtype
        if not reset:
            self._check_fitted("evidence_", gathered=True)
            base.check_sortable([*self.evidence_.classes, *names])
            dtype = np.result_type(dtype, self.classes_.dtype)
        after = before.add(
            self._evidence_features(inputs), names, base.digests_of(inputs), feature_kinds(self._standard_levels())
        )
        self._keep(after, dtype)
        if reset:
            _ = self.evidence_.ensemble  # of evidence that comes bit by bit, only when something is asked
        return self

    def _keep(self, few: FewShot, dtype: Any = None) -> None:
        self.evidence_, self._fitted_with, self._gathered_with = few, self._model(), base.gathering(self)
        self.classes_ = np.array(sorted(few.classes), dtype=dtype if dtype is not None else self.classes_.dtype)

    def _inputs(self, x: Any, y: Any, *, reset: bool) -> tuple[Any, list[Any]]:
        """Pictures of the model's shape, or vectors; and the labels as plain values."""
        model = self._model()
        if model is not None and y is None:
            x, y = read_labelled(x, model)
        if y is None:
            raise ValueError("Expected labels, requires y to be passed, but the target y is None")
        inputs = self._pictures_or_vectors(x, reset=reset)
        if not len(inputs):
            raise ValueError("Expected at least one picture; got none.")
        labels = base.check_labels(y)
        if len(labels) != len(inputs):
            raise ValueError(f"Expected one label for each of {len(inputs)} examples; got {len(labels)} labels.")
        return inputs, labels.tolist()

    def _scores(self, x: Any, *, outlying: bool = False) -> tuple[NDArray[Any], NDArray[Any]]:
        """Log densities over T in the order of ``classes_``, (n, C); and p-values (n,), if ``outlying``."""
        self._check_fitted("evidence_")
        model, ensemble = self._model(), self.evidence_.ensemble
        inputs = self._pictures_or_vectors(x, reset=False)
        order = sorted(range(len(self.evidence_.classes)), key=self.evidence_.classes.__getitem__)
        copies = base.plain_parameters(self)["query_copies"] if model is not None else 1
        scores, p = [], []
        size = PICTURES_AT_A_TIME if model is not None else max(1, len(inputs))
        for i in range(0, len(inputs), size):
            augment = dict.fromkeys(ensemble.feature_sets, copies)
            rows = self._encode(augment, inputs[i : i + size], strength=0.5)
            rows = {name: r.to(self.evidence_.feature_sets[name].rows.dtype) for name, r in rows.items()}
            with full_float32(torch.device("cpu")):
                found = ensemble.scores({name: r.flatten(0, 1) for name, r in rows.items()}).unflatten(0, (-1, copies))
            if copies > 1:
                found = found.log_softmax(2)
            scores.append(base.check_scores(found.mean(1)[:, order], i))
            if outlying:
                p.append(ensemble.p_values({name: r[:, 0] for name, r in rows.items()}))
        if not scores:
            return np.zeros((0, len(order))), np.zeros(0)
        return torch.cat(scores).cpu().numpy(), torch.cat(p).numpy() if p else np.zeros(0)

    def _evidence_features(self, inputs: Any) -> dict[str, Tensor]:
        """Sets of features of the evidence, (n, K, D); where the model has features, only these are augmented."""
        model, plain = self._model(), base.plain_parameters(self)
        noise, augment = plain["noise"], plain["augment"]
        hidden = model is not None and model.can("features")
        latents = NORMALISED if noise == "auto" and self._standard_levels() else LATENTS
        if hidden and noise == "shared":
            return self._encode({FEATURES: augment}, inputs)
        if hidden and noise == "auto":
            return self._encode({latents: False, FEATURES: augment}, inputs)
        return self._encode({latents: augment}, inputs)
