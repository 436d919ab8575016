"""The families of the house, a line each: what a model file, a fast form and a training run need to know of one.

Adding a family:

1. A file with a config, a frozen dataclass all of whose fields have defaults (they are part of a model's identity, so
   a default that has shipped never changes) and with ``shape``, (C, H, W); and a module built of it that has
   ``config``, ``shape``, ``level_sizes``, ``forward(x) -> (z, log_det)`` and ``inverse(z) -> x`` for pictures of
   floats x, (B, C, H, W), and flat standard-normal latents z, (B, D).
2. A line in `FAMILIES`. Its name is written into model files, and so are the names of the module's weights.
   A latent smaller than the picture, without a density: ``latents(x) -> z`` in place of ``forward``, and
   ``density=False``; one whose encoder is not sure has ``variance(x)``.
3. If it is not trained by ``-log p(x)`` of whole pictures: ``prepare`` and ``loss``. All that is random in a step is
   drawn in ``prepare``, from the generator it is given, so a resumed run is the run that was not stopped.
4. A line in the contract test, a recipe, a row in ``docs/families.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from transflow.generative import (
    autoencoder,
    bigan,
    codec,
    detail_level,
    flow_matching_loss,
    gan,
    standardised,
    tarflow,
    vae,
    wae,
)
from transflow.generative.detail_level import DetailLevel, DetailLevelConfig
from transflow.generative.details import DetailFlow
from transflow.generative.flow_matching import FlowMatching, FlowMatchingConfig
from transflow.generative.flow_plus_plus import FlowPlusPlus, FlowPlusPlusConfig
from transflow.generative.glow import Glow, GlowConfig
from transflow.generative.glow_fused import fuse
from transflow.generative.glow_reversible import reversible
from transflow.generative.nice import NICE, NICEConfig
from transflow.generative.pyramid import BASES, Pyramid, PyramidConfig
from transflow.generative.real_nvp import RealNVP, RealNVPConfig
from transflow.generative.tarflow import TarFlow, TarFlowConfig


def convolutions(name: str, weight: Tensor) -> bool:
    """Return whether a weight is a convolution's, the bulk of a convolutional model."""
    return weight.ndim == 4


def matrices(name: str, weight: Tensor) -> bool:
    """Return whether a weight is a convolution's or a linear map's."""
    return weight.ndim >= 2


def matrices_but_var(name: str, weight: Tensor) -> bool:
    """Return whether a weight is a matrix other than a TarFlow's variance, by whose root latents are divided."""
    return weight.ndim >= 2 and name != "var"


def matrices_but_whitening(name: str, weight: Tensor) -> bool:
    """Return whether a weight is a matrix of a NICE's networks: what whitens has to be orthogonal."""
    return weight.ndim >= 2 and not name.startswith("whitening.")


def none(name: str, weight: Tensor) -> bool:
    """Return False: every weight is kept in full."""
    return False


def no_bound(config: Any) -> int:
    """Return 0: nothing is known of the number of weights before the module is built."""
    return 0


def fewest_weights(config: Any) -> int:
    """Return what a configuration says itself."""
    return int(config.fewest_weights)


def pictures_alone(module: nn.Module, x: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return the pictures: all that a likelihood needs."""
    return (x,)


@dataclass(frozen=True)
class Game:
    """What a model is trained against, in place of a loss (see `training.adversarial`).

    Attributes:
        build: makes the adversary of a config.
        loss: called with the adversary, the module and what ``prepare`` returned; returns what the adversary makes
            small, (B,).
        model_loss: likewise, what the module makes small.
        grow: called with the module and the share of the budget that is spent, before each step: sets how much of it
            is in use, in a buffer of whole numbers, which the average copies.
    """

    build: Callable[[Any], nn.Module]
    loss: Callable[..., Tensor]
    model_loss: Callable[..., Tensor]
    grow: Callable[[Any, float], None] | None = None


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        config: the dataclass of its architecture.
        build: makes the module of a config, its weights drawn from torch's global generator.
        halvable: called with the name and the tensor of each weight; whether a model file may keep it in half
            precision.
        fuse: makes a faster form of a trained module, for inference, with networks in a dtype (None: its own).
        reversible: makes a form that computes activations back instead of keeping them, with the same weights.
        initialise: sets weights by the first pictures: called with the module and what ``prepare`` makes of them.
        prepare: called with the module, pictures of floats (B, C, H, W) and a generator on their device; returns the
            tensors that the loss needs, B rows each, such as crops, times and noise.
        loss: called with the module and what ``prepare`` returned; returns each row's loss, (B,). None: the negative
            log-likelihood of the pictures in nats per dimension.
        fewest: called with a config; returns a number of weights that its module has at least, found without building
            it: a file with fewer is damaged, whatever its config says.
        likelihood: whether the loss is a negative log-likelihood in nats per dimension.
        settings: of `training.config.TrainConfig` that a run has unless others are given.
        on_top: called with the module, drawn latents and those of as many pictures; returns the latents of samples on
            top of these pictures, for a model that is a part and is nothing to look at by itself.
        tried: held-out pictures whose round trip is measured at the end of a run.
        trained: whether it is trained as a whole.
        lenient: whether a run may have fewer pictures than a batch, or grey ones for a model of colours.
        density: whether its latents are as many as a picture's numbers, each picture with its density.
        fit: called with the averaged module and batches of training pictures of floats, whenever a model is written:
            measures what is kept with the weights, but not learned.
        adversary: what it is trained against; its ``loss`` then is what held-out pictures are judged by, no more.
        encoder: whether latents are computed; else they are searched for, which is slow.
        together: pictures that have to be seen together, by each process, for its loss to mean anything.
        untrained: called with a config; returns what a run of it would leave as it is, or "" for nothing.
    """

    config: type[Any]
    build: Callable[[Any], nn.Module]
    halvable: Callable[[str, Tensor], bool] = none
    fuse: Callable[[Any, torch.dtype | None], nn.Module] | None = None
    reversible: Callable[[Any], nn.Module] | None = None
    initialise: Callable[..., None] | None = None
    prepare: Callable[[Any, Tensor, torch.Generator], tuple[Tensor, ...]] = pictures_alone
    loss: Callable[..., Tensor] | None = None
    likelihood: bool = True
    fewest: Callable[[Any], int] = no_bound
    settings: Mapping[str, Any] = field(default_factory=dict)
    on_top: Callable[[Any, Tensor, Tensor], Tensor] | None = None
    tried: int = 256
    trained: bool = True
    lenient: bool = False
    density: bool = True
    fit: Callable[[Any, Iterable[Tensor]], None] | None = None
    adversary: Game | None = None
    encoder: bool = True
    together: int = 1
    untrained: Callable[[Any], str] | None = None


FAMILIES: dict[str, Family] = {
    "glow": Family(
        GlowConfig, Glow, convolutions, fuse, reversible, Glow.initialise, fewest=fewest_weights, lenient=True
    ),
    "flow-matching": Family(
        FlowMatchingConfig,
        FlowMatching,
        matrices,
        prepare=flow_matching_loss.prepare,
        loss=flow_matching_loss.loss,
        fewest=fewest_weights,
        likelihood=False,
        settings={"bits": 8, "ema": 0.9995, "weight_decay": 0.01},
        tried=16,
    ),
    "real-nvp": Family(
        RealNVPConfig,
        RealNVP,
        convolutions,
        initialise=RealNVP.initialise,
        fewest=fewest_weights,
        settings={"bits": 8},
        together=2,
    ),
    "tarflow": Family(
        TarFlowConfig,
        TarFlow,
        matrices_but_var,
        prepare=tarflow.prepare,
        fewest=fewest_weights,
        settings={"bits": 8, "learning_rate": 5e-4, "weight_decay": 1e-4},
        untrained=tarflow.untrained,
    ),
    "flow++": Family(
        FlowPlusPlusConfig,
        FlowPlusPlus,
        convolutions,
        initialise=FlowPlusPlus.initialise,
        fewest=fewest_weights,
        settings={"bits": 8},
    ),
    "nice": Family(
        NICEConfig,
        NICE,
        matrices_but_whitening,
        initialise=NICE.initialise,
        fewest=fewest_weights,
        settings={"bits": 8},
    ),
}
BASES.update({name: family.config for name, family in FAMILIES.items()})


def build_pyramid(config: PyramidConfig) -> Pyramid:
    """Return a pyramid on a base of any family."""
    base: Any = FAMILIES[config.family].build(config.base)
    return Pyramid(base, [DetailFlow(level) for level in config.levels], config)


def halvable_in_pyramid(name: str, weight: Tensor) -> bool:
    """Return whether a weight of a pyramid may be kept in half precision: a convolution's, or a matrix of the base."""
    return weight.ndim == 4 or (name.startswith("base.velocity.") and weight.ndim >= 2)


FAMILIES["details"] = Family(
    DetailLevelConfig,
    DetailLevel,
    convolutions,
    initialise=DetailLevel.initialise,
    prepare=detail_level.prepare,
    loss=detail_level.loss,
    fewest=fewest_weights,
    on_top=detail_level.on_top,
    settings={"bits": 8, "ema": 0.9995},
)
FAMILIES["pyramid"] = Family(
    PyramidConfig, build_pyramid, halvable_in_pyramid, fewest=fewest_weights, likelihood=False, trained=False
)


CODEC: dict[str, Any] = {"fewest": fewest_weights, "likelihood": False, "density": False, "settings": {"bits": 8}}
AGAINST: dict[str, Any] = {"bits": 8, "batch": 32, "precision": "float32", "compile": False}
DRAWS = CODEC | {"prepare": codec.prepare}
FAMILIES["vae"] = Family(vae.VaeConfig, vae.Vae, convolutions, loss=vae.loss, **DRAWS)
FAMILIES["wae"] = Family(wae.WaeConfig, wae.Wae, convolutions, loss=wae.loss, fit=standardised.fit, together=2, **DRAWS)
FAMILIES["autoencoder"] = Family(
    autoencoder.AutoencoderConfig,
    autoencoder.Autoencoder,
    convolutions,
    loss=autoencoder.loss,
    fit=standardised.fit,
    **CODEC,
)
FAMILIES["bigan"] = Family(
    bigan.BiGanConfig,
    bigan.BiGan,
    convolutions,
    loss=bigan.loss,
    fit=bigan.fit,
    adversary=Game(bigan.Adversary, bigan.adversary_loss, bigan.model_loss),
    together=2,
    **DRAWS | {"settings": AGAINST},
)
FAMILIES["gan"] = Family(
    gan.GanConfig,
    gan.Gan,
    convolutions,
    prepare=gan.prepare,
    loss=gan.loss,
    adversary=Game(gan.Critic, gan.adversary_loss, gan.model_loss, gan.grow),
    encoder=False,
    together=2,
    tried=16,
    **CODEC | {"settings": AGAINST | {"learning_rate": 5e-3}},
)


def name_of(config: Any) -> str:
    """Return the name of the family that a config belongs to.

    Raises:
        TypeError: it belongs to none.

    >>> name_of(GlowConfig(size=8))
    'glow'
    """
    for name, family in FAMILIES.items():
        if type(config) is family.config:
            return name
    kinds = ", ".join(family.config.__name__ for family in FAMILIES.values())
    raise TypeError(f"Expected the configuration of a family ({kinds}); got {type(config).__name__}.")
