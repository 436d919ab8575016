"""scikit-learn's base classes and checks where it is installed, and the little that is needed of them where not."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import column_or_1d, validate_data

    def vectors(estimator: Any, x: Any, *, reset: bool) -> NDArray[Any]:
        """Return x as a finite float array (n, D), of as many features as ``estimator`` was fitted with."""
        return np.asarray(validate_data(estimator, x, reset=reset, dtype=[np.float64, np.float32]))

    def targets(y: Any) -> NDArray[Any]:
        """Return labels as an array (n,); floats that are no classes, and NaN, are errors."""
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        return np.asarray(y)

except ImportError:

    class NotFittedError(ValueError, AttributeError):  # type: ignore[no-redef]
        """An estimator is used before it was fitted."""

    class ClassifierMixin:  # type: ignore[no-redef]
        """Accuracy as the score."""

        def score(self, X: Any, y: Any) -> float:  # noqa: N803
            """Return the share of X that is predicted as y."""
            return float(np.mean(self.predict(X) == np.asarray(y)))  # type: ignore[attr-defined]

    class BaseEstimator:  # type: ignore[no-redef]
        """Parameters are the constructor's arguments, kept as attributes."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Return the parameters by name."""
            return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

        def set_params(self, **params: Any) -> Any:
            """Change parameters."""
            for name, value in params.items():
                if name not in self.get_params():
                    raise ValueError(f"Expected a parameter of {', '.join(self.get_params())}; got {name!r}.")
                setattr(self, name, value)
            return self

        def __repr__(self) -> str:
            said = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
            return f"{type(self).__name__}({said})"

    def vectors(estimator: Any, x: Any, *, reset: bool) -> NDArray[Any]:
        """Return x as a finite float array (n, D), of as many features as ``estimator`` was fitted with."""
        found = np.asarray(x)
        found = found if found.dtype in (np.float32, np.float64) else found.astype(np.float64)
        if found.ndim != 2 or 0 in found.shape:
            raise ValueError(f"Expected vectors of shape (n, D), n and D of 1 or more; got {found.shape}.")
        if not np.isfinite(found).all():
            raise ValueError("Expected finite vectors; got NaN or infinity.")
        if reset:
            estimator.n_features_in_ = found.shape[1]
        elif found.shape[1] != estimator.n_features_in_:
            raise ValueError(f"Expected vectors of D = {estimator.n_features_in_}; got D = {found.shape[1]}.")
        return found

    def targets(y: Any) -> NDArray[Any]:
        """Return labels as an array (n,)."""
        found = np.asarray(y)
        if found.ndim != 1:
            raise ValueError(f"Expected labels of shape (n,); got {found.shape}.")
        return found


__all__ = ["BaseEstimator", "ClassifierMixin", "NotFittedError", "targets", "vectors"]
