"""Pictures to vectors, for any estimator of scikit-learn: a model's latents, or its hidden activations.

    make_pipeline(TransflowTransformer("faces-32"), LogisticRegression())

Latents are exact: `inverse_transform` gives the pictures back. Normalised ones are those that the classifier compares,
each divided by its length; activations tell classes apart best, where a model has them.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import TransformerMixin

from transflow.estimators.base import PictureEstimator
from transflow.estimators.features import FEATURES, LATENTS, NORMALISED
from transflow.library.names import DEFAULT
from transflow.pictures.grids import to_uint8
from transflow.store.files import PathLike

OUTPUTS = (LATENTS, NORMALISED, FEATURES)


class TransflowTransformer(TransformerMixin, PictureEstimator):  # type: ignore[misc]
    """Encode pictures as vectors (n, D), single precision.

    Args:
        model: a `Model`, the name or file of one, or any object with ``encode``, ``decode`` and ``prior``.
        output: "latents", "normalised" (latents of length ``sqrt(D)``) or "features" (hidden activations).
        cache: a folder where encodings are kept, for the next time that the same pictures come.

    Attributes:
        n_features_out_: D, or the number of activations.

    >>> from transflow import wrap
    >>> model = wrap(encode=lambda x: 2 * x.flatten(1), decode=lambda z: z.view(-1, 1, 2, 2) / 2, shape=(1, 2, 2))
    >>> pictures = np.array([[[0, 51], [102, 255]]], dtype=np.uint8)
    >>> transformer = TransflowTransformer(model).fit(pictures)
    >>> transformer.transform(pictures).shape
    (1, 4)
    >>> bool((transformer.inverse_transform(transformer.transform(pictures)) == pictures[:, :, :, None]).all())
    True
    """

    def __init__(self, model: Any = DEFAULT, output: str = LATENTS, cache: PathLike | None = None) -> None:
        self.model = model
        self.output = output
        self.cache = cache

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Look at the first picture, to know how many numbers there will be; nothing is learned.

        Args:
            X: pictures as `Model.encode` takes them.
            y: ignored, part of scikit-learn's interface.

        Raises:
            ValueError: there is no picture, no such output, or the model has no hidden activations.
        """
        with self._unchanged_on_error():
            if self.output not in OUTPUTS:
                raise ValueError(f"Expected an output, one of {', '.join(OUTPUTS)}; got {self.output!r}.")
            if self.model is None:
                raise ValueError("Expected a model, its name or file; got None.")
            inputs = self._pictures_or_vectors(X, reset=True)
            if not len(inputs):
                raise ValueError("Expected at least one picture; got none.")
            self.n_features_out_ = self._encode({self.output: False}, inputs[:1])[self.output].shape[2]
            self._fitted_with, self._fitted_output = self._model(), self.output
            return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return pictures as vectors, shape (n, D)."""
        self._check_as_fitted()
        with self._unchanged_on_error():
            inputs = self._pictures_or_vectors(X, reset=False)
            if not len(inputs):
                return np.zeros((0, self.n_features_out_), np.float32)
            found = self._encode({self.output: False}, inputs)[self.output]
        return np.asarray(found[:, 0].numpy(), np.float32)

    def inverse_transform(self, X: Any) -> NDArray[np.uint8]:  # noqa: N803
        """Return the pictures of latents (n, D): uint8, shape (n, H, W, C).

        Raises:
            ValueError: the output is not "latents", of which alone pictures can be made.
            TypeError: X are no numbers.
        """
        self._check_as_fitted()
        model = self._model()
        if self.output != LATENTS or model is None:
            raise ValueError(f'Expected the output "latents", which can be decoded; got "{self.output}".')
        values = np.asarray(X)
        if values.dtype.kind not in "fiu":
            raise TypeError(f"Expected latents as numbers; got {values.dtype}.")
        latents = torch.as_tensor(values, dtype=torch.float32, device=model.device)
        return np.asarray(to_uint8(model.decode(latents)).permute(0, 2, 3, 1).numpy())

    def _check_as_fitted(self) -> None:
        self._check_fitted("n_features_out_")
        if self.output != (was := self.__dict__.get("_fitted_output", self.output)):
            raise ValueError(f"Expected the output that it was fitted for, {was}; got {self.output!r}. Fit it again.")

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the numbers, such as "latents0".

        Args:
            input_features: ignored, part of scikit-learn's interface.
        """
        self._check_as_fitted()
        return np.asarray([f"{self.output}{i}" for i in range(self.n_features_out_)], dtype=object)
