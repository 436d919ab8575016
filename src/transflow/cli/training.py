"""The configuration of a run, of the options of ``transflow train``: which family has which options, and what they are.

Options of an architecture have the names of its configuration's fields, but for those in `OPTIONS` with another; a run
begins with the settings that its family has, those of the run that is resumed, or those of the model that it goes on
from.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transflow.training.config import TrainConfig

OPTIONS: dict[str, dict[str, str]] = {  # of each family: options of the command, and fields of the configuration
    "glow": {name: name for name in ("steps", "width", "coupling", "permutation")},
    "flow-matching": {
        "width": "widths", "attention": "attention", "depth": "depth", "dropout": "dropout", "steps": "steps",
        "power": "power",
    },
    "details": {name: name for name in ("steps", "width", "seen", "coarser", "crop", "whole")},
    "real-nvp": {name: name for name in ("steps", "width", "depth", "net", "batch_norm")},
    "tarflow": {
        "steps": "blocks", "depth": "layers", **{name: name for name in ("width", "patch", "head", "noise")},
    },
    "flow++": {name: name for name in ("steps", "width", "depth", "components", "attention", "dequantiser")},
    "nice": {name: name for name in ("steps", "width", "depth", "prior", "whiten")},
    "vae": {"width": "widths", "latent": "latent"},
    "wae": {"width": "widths", "latent": "latent", "matching": "matching"},
    "autoencoder": {"width": "widths", "latent": "latent"},
    "bigan": {"width": "widths", "latent": "latent", "penalty": "penalty"},
    "gan": {"width": "widths", "latent": "latent", "penalty": "penalty"},
}  # fmt: skip
ARCHITECTURE = tuple(dict.fromkeys(name for table in OPTIONS.values() for name in table))
AS_TYPED = {"batch_norm": "no-batch-norm", "whiten": "no-whiten"}  # options whose words differ from their names
RUN = (
    "minutes", "epochs", "batch", "learning_rate", "warmup", "ema", "weight_decay", "interval", "held_out", "flip",
    "outliers", "seed", "bits", "precision", "compile", "reversible",
)  # fmt: skip


def config_of(options: argparse.Namespace) -> TrainConfig:
    """Return the configuration: that which the run begins or goes on with, with the options given."""
    base = _begun_with(options)
    architecture = replace(base.architecture, **_shape(options, base.architecture), **_options(options, base))
    where = "glow" if base.model is None else "model"
    rest = _given(options, RUN) | ({"epochs": None} if options.minutes is not None else {})
    return replace(base, **{where: architecture}, **rest)


def _begun_with(options: argparse.Namespace) -> TrainConfig:
    from transflow.generative.families import FAMILIES
    from transflow.training import begin, loop
    from transflow.training.config import TrainConfig

    family = options.family
    if options.resume:
        found = loop.read_config(options.output)
        if family in (None, found.family_name):
            return found  # else the run says that it is of another family
    elif options.begin_from is not None:
        return begin.config_from(options.begin_from, family, options.size)
    return TrainConfig.of(FAMILIES[family or "glow"].config())


def _shape(options: argparse.Namespace, architecture: Any) -> dict[str, Any]:
    """The fields that hold channels and size, which families have by two kinds of name."""
    channels, size = 1 if options.grey else None, options.size
    if "size" not in {part.name for part in fields(architecture)}:
        _, height, width = architecture.shape
        return {"shape": (channels or architecture.shape[0], size or height, size or width)}
    found = {"channels": channels, "size": size}
    return {name: value for name, value in found.items() if value is not None}


def _options(options: argparse.Namespace, base: TrainConfig) -> dict[str, Any]:
    """The other fields of the architecture; one number where the family has one."""
    table, found = OPTIONS[base.family_name], dict[str, Any]()
    for name, value in _given(options, ARCHITECTURE).items():
        if name not in table:
            got = AS_TYPED.get(name, name)
            raise ValueError(f"Expected options of the family {base.family_name}; got --{got}. See docs/training.md.")
        if isinstance(value, tuple) and isinstance(getattr(base.architecture, table[name]), int):
            if len(value) != 1:
                got = ",".join(map(str, value))
                raise ValueError(f"Expected one number for --{name} of the family {base.family_name}; got {got}.")
            (value,) = value
        found[table[name]] = value
    return found


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}
