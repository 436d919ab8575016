"""Repurpose invertible generative models with a handful of pictures, without training.

    >>> import transflow
    >>> model = transflow.load("faces-32")                                   # doctest: +SKIP
    >>> posterior = model.condition("my-pictures/", noise="0.5m")            # doctest: +SKIP
    >>> new = posterior.pictures(16, seed=0)                                 # doctest: +SKIP

Method: Gambardella, Baydin and Torr 2019, *Transflow Learning: Repurposing Flow Models Without
Retraining*, arXiv 1911.13270.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from transflow.estimator import FewShotClassifier
    from transflow.evidence import Evidence
    from transflow.gaussian import Gaussian
    from transflow.generative.glow import Glow, GlowConfig
    from transflow.showcase import demo
    from transflow.training import TrainConfig, train
    from transflow.transfer import Model, Posterior, load, load_posterior, models

_HOMES = {
    "Evidence": "transflow.evidence",
    "FewShotClassifier": "transflow.estimator",
    "Gaussian": "transflow.gaussian",
    "Glow": "transflow.generative.glow",
    "GlowConfig": "transflow.generative.glow",
    "Model": "transflow.transfer",
    "Posterior": "transflow.transfer",
    "TrainConfig": "transflow.training",
    "demo": "transflow.showcase",
    "load": "transflow.transfer",
    "load_posterior": "transflow.transfer",
    "models": "transflow.transfer",
    "train": "transflow.training",
}

__all__ = [
    "Evidence",
    "FewShotClassifier",
    "Gaussian",
    "Glow",
    "GlowConfig",
    "Model",
    "Posterior",
    "TrainConfig",
    "__version__",
    "demo",
    "load",
    "load_posterior",
    "models",
    "train",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562), so that importing transflow does not import torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'transflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
