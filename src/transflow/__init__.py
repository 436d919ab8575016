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

from transflow._version import __version__

if TYPE_CHECKING:
    from transflow.conditioning.model import Model
    from transflow.conditioning.posterior import Posterior
    from transflow.estimators.classifier import FewShotClassifier
    from transflow.estimators.transformer import TransflowTransformer
    from transflow.faces.align import align
    from transflow.gaussians.evidence import Evidence
    from transflow.gaussians.gaussian import Gaussian
    from transflow.generative.glow import Glow, GlowConfig
    from transflow.latents.encoded import Encoded
    from transflow.latents.folder import Latents
    from transflow.library.load import load, load_posterior, models
    from transflow.library.wrap import wrap
    from transflow.pictures.pixels import PixelFormat
    from transflow.showcase.demo import demo
    from transflow.showcase.paper import paper
    from transflow.training.config import TrainConfig
    from transflow.training.loop import train

_HOMES = {
    "Encoded": "transflow.latents.encoded",
    "Evidence": "transflow.gaussians.evidence",
    "FewShotClassifier": "transflow.estimators.classifier",
    "Gaussian": "transflow.gaussians.gaussian",
    "Glow": "transflow.generative.glow",
    "GlowConfig": "transflow.generative.glow",
    "Latents": "transflow.latents.folder",
    "Model": "transflow.conditioning.model",
    "PixelFormat": "transflow.pictures.pixels",
    "Posterior": "transflow.conditioning.posterior",
    "TrainConfig": "transflow.training.config",
    "TransflowTransformer": "transflow.estimators.transformer",
    "align": "transflow.faces.align",
    "demo": "transflow.showcase.demo",
    "load": "transflow.library.load",
    "load_posterior": "transflow.library.load",
    "models": "transflow.library.load",
    "paper": "transflow.showcase.paper",
    "train": "transflow.training.loop",
    "wrap": "transflow.library.wrap",
}

__all__ = [
    "Encoded",
    "Evidence",
    "FewShotClassifier",
    "Gaussian",
    "Glow",
    "GlowConfig",
    "Latents",
    "Model",
    "PixelFormat",
    "Posterior",
    "TrainConfig",
    "TransflowTransformer",
    "__version__",
    "align",
    "demo",
    "load",
    "load_posterior",
    "models",
    "paper",
    "train",
    "wrap",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562), so that importing transflow does not import torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'transflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
