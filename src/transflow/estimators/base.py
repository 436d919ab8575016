"""What estimators of pictures share: a model given in one of several forms; inputs that are pictures or vectors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.conditioning.model import Model
from transflow.devices import full_float32
from transflow.estimators.features import Augment, encode_features, plain_augment
from transflow.fewshot.selection import check_noise
from transflow.library.load import load
from transflow.pictures.decode import read
from transflow.plain_values import scalar, whole
from transflow.store.files import PathLike
from transflow.store.identity import digest

KINDS = "biufUO"  # of dtypes that labels may have


class PictureEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator of pictures, or of vectors where the model is None.

    Attributes:
        model: a parameter: a model, its name or file, an object with ``encode``, ``decode`` and ``prior``, or None.
        cache: a parameter: a folder where encodings are kept, or None.
    """

    model: Any
    cache: PathLike | None

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        """Leave the estimator as it was where a method fails."""
        before = dict(self.__dict__)
        try:
            with full_float32(torch.device("cpu")):
                yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _model(self) -> BaseModel | None:
        """The model that ``model`` stands for; loaded once."""
        if self.model is None or isinstance(self.model, BaseModel):
            return self.model
        loaded = self.__dict__.get("_loaded")
        if loaded is None or loaded[0] is not self.model:
            found = load(self.model) if isinstance(self.model, (str, os.PathLike)) else Model(self.model)
            self._loaded = loaded = (self.model, found)
        return cast(BaseModel, loaded[1])

    def _pictures_or_vectors(self, x: Any, *, reset: bool) -> Any:
        """Pictures of the model's shape, uint8 (n, C, H, W), or finite vectors (n, D)."""
        model = self._model()
        if model is not None:
            return read(x, model.shape).pixels
        return np.asarray(validate_data(self, x, reset=reset, dtype=[np.float64, np.float32]))

    def _standard_levels(self) -> tuple[int, ...] | None:
        """Sizes of the levels of a model whose prior is N(0, I)."""
        model = self._model()
        return model.level_sizes if model is not None and model.prior.is_standard else None

    def _encode(self, augment: Mapping[str, Augment], inputs: Any, strength: float = 1.0) -> dict[str, Tensor]:
        """Sets of features of inputs and their copies, each (n, K, D); without a model, the vectors as they are."""
        model = self._model()
        if model is None:
            return dict.fromkeys(augment, torch.from_numpy(np.array(inputs, order="C"))[:, None])
        return encode_features(model, augment, inputs, strength, self.cache)

    def _check_fitted(self, attribute: str, *, gathered: bool = False) -> None:
        """Raise if it is not fitted, or with another model; or, where evidence is `gathered`, by other parameters."""
        if attribute not in self.__dict__:
            raise NotFittedError(f"Expected a fitted {type(self).__name__}; call fit first.")
        if gathered:
            self._check_gathering()
        now, then = self._model(), self.__dict__.get("_fitted_with", self)
        if then is self or now is then:  # of an earlier version
            return
        if now is None or then is None or not now.is_same_model(then):
            got, was = (f"the model {m.name}" if m is not None else "none, on vectors" for m in (now, then))
            raise ValueError(f"Expected the model that it was fitted with, {was}; got {got}. Fit it again.")

    def _check_gathering(self) -> None:
        then, now = self.__dict__.get("_gathered_with"), gathering(self)  # none of an earlier version
        if then not in (None, now):
            words = [", ".join(f"{name}={value!r}" for name, value in part.items()) for part in (then, now)]
            raise ValueError(f"Expected the parameters it was fitted with, {words[0]}; got {words[1]}. Fit it again.")


def gathering(estimator: Any) -> dict[str, Any]:
    """Return the parameters by which a classifier gathers evidence: noise decides on features, augment on copies."""
    plain = plain_parameters(estimator)
    return {name: plain[name] for name in ("noise", "augment")}


def plain_parameters(estimator: Any) -> dict[str, Any]:
    """Return noise, augment and query_copies of a classifier, perhaps of numpy's types, as plain values.

    Raises:
        ValueError: one is none of what it may be.
    """
    check_noise(estimator.noise)
    copies = whole(estimator.query_copies, "query_copies", 1)
    return {"noise": scalar(estimator.noise), "augment": plain_augment(estimator.augment), "query_copies": copies}


def check_labels(y: Any) -> NDArray[Any]:
    """Return labels as an array (n,): of text, whole numbers or truth values, or of floats that are whole.

    Raises:
        ValueError: one is missing, they are of another kind, or of several that cannot be sorted together.
    """
    labels = np.asarray(column_or_1d(y, warn=True))
    if any(_missing(label) for label in labels.tolist()):
        raise ValueError("Expected a label for each example; got NaN or None.")
    if labels.dtype.kind not in KINDS or not all(isinstance(label, (str, int, float)) for label in labels.tolist()):
        raise ValueError(f"Expected labels of text, numbers or truth values; got {labels.dtype} ({labels[0]!r:.40}).")
    check_sortable(labels.tolist())
    check_classification_targets(labels)
    return labels


def check_sortable(labels: Iterable[Any]) -> None:
    """Raise `ValueError` if labels are partly text and partly numbers, and so have no order."""
    kinds = {isinstance(label, str): label for label in labels}
    if len(kinds) > 1:
        raise ValueError(f"Expected labels of one kind; got text and numbers, {kinds[True]!r} and {kinds[False]!r}.")


def check_rejection_rate(rate: float) -> None:
    """Raise `ValueError` if a share of good inputs that may be rejected is not between 0 and 1."""
    if not 0 < rate < 1:
        raise ValueError(f"Expected a share to reject between 0 and 1; got {rate}.")


def check_scores(scores: Tensor, first: int = 0) -> Tensor:
    """Return log densities (n, C) if each input has a greatest one that is finite.

    Args:
        scores: log densities, up to a constant.
        first: number of the first input.

    Raises:
        BadInput: one has not.
    """
    bad = ~scores.amax(1).isfinite()
    if bad.any():
        raise BadInput(first + int(bad.nonzero()[0]))
    return scores


class BadInput(ValueError):
    """No class has a density of an input, which is too far from all.

    Attributes:
        number: of the input.
    """

    def __init__(self, number: int, name: str = "") -> None:
        self.number = number
        which = name or f"input {number}"
        super().__init__(f"Expected finite densities of each input; got none of {which}. Give another noise.")


def _missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)  # NaN is not itself
    except TypeError:  # nor is pandas's NA anything else
        return True


def digests_of(inputs: Sequence[Any]) -> list[str]:
    """Return a digest of each picture's or vector's bytes."""
    rows: Iterator[Any] = (row.numpy() if isinstance(row, Tensor) else row for row in inputs)
    return [digest(np.ascontiguousarray(row)) for row in rows]
