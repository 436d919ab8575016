"""Which adapter a foreign object needs: by the names of its classes, nothing imported but the adapter.

The rows are tried in order, as some objects are several things: a zuko distribution is a torch.Distribution too, a
torchflows base a Distribution and a Module at once. What can be recognised and cannot work is refused with the reason.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from transflow.adapters.modules import is_a

TABLE = (  # class by top package and name -> adapter
    ("zuko.Flow", "zuko"),
    ("zuko.NormalizingFlow", "zuko"),
    ("normflows.MultiscaleFlow", "normflows"),
    ("normflows.ConditionalNormalizingFlow", "normflows"),
    ("normflows.NormalizingFlow", "normflows"),
    ("normflows.ClassCondFlow", "normflows"),
    ("nflows.Flow", "nflows"),
    ("FrEIA.InvertibleModule", "freia"),
    ("torchflows.BaseFlow", "torchflows"),
    ("torch.TransformedDistribution", "torch_distributions"),
    ("diffusers.DiffusionPipeline", "diffusers"),
    ("diffusers.AutoencoderKL", "diffusers"),
    ("diffusers.SchedulerMixin", "diffusers"),  # the last of (unet, scheduler)
)
REFUSED = {  # tried before the table
    "zuko.Mixture": "a mixture is no single bijection, so a picture has no one latent; give a zuko.Flow",
    "zuko.GMM": "a mixture is no single bijection, so a picture has no one latent; give a zuko.Flow",
    "torchflows.FlowMixture": "a mixture of flows is no single bijection; wrap one of its flows",
    "normflows.NormalizingFlowVAE": "its posterior is a flow and its decoder is not; give encode= and decode=",
    "torch.MixtureSameFamily": "a mixture is no single bijection, so a picture has no one latent; give a flow",
}


def recognise(thing: Any) -> ModuleType | None:
    """Return the adapter module of a foreign object, which has `adapt(thing, shape, **options)`; None for unknown ones.

    Raises:
        ValueError: it is known, and cannot work.

    >>> recognise(3) is None
    True
    """
    if isinstance(thing, tuple) and thing:
        thing = thing[-1]
    for name, reason in REFUSED.items():
        if is_a(thing, name):
            raise ValueError(f"Expected an invertible model; got a {type(thing).__name__}: {reason}.")
    for name, adapter in TABLE:
        if is_a(thing, name):
            return import_module(f"transflow.adapters.{adapter}")
    if is_a(thing, "zuko.LazyDistribution") or is_a(thing, "torch.Distribution"):
        raise ValueError(
            f"Expected an invertible model; got a {type(thing).__name__}: a distribution without a bijection to a "
            "Gaussian; give a flow, or a TransformedDistribution."
        )
    return None
