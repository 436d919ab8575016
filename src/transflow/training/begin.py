"""A run that begins with the weights of a model: of its file alone, where the state of its training is lost.

The optimiser's moments begin at zero, and the learning rate is warmed up anew. Of a pyramid's file a run takes the part
that it trains: the base, or the level of its pictures' size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from transflow.generative import model_file
from transflow.generative.detail_level import DetailLevelConfig
from transflow.generative.families import name_of
from transflow.generative.pyramid import PyramidConfig
from transflow.library.names import find_file
from transflow.store import container
from transflow.store.files import PathLike
from transflow.training.config import TrainConfig


def config_from(name: PathLike, family: str | None = None, size: int | None = None) -> TrainConfig:
    """Return the settings of a run that goes on with a model: its architecture, its bits, else those of the family.

    Args:
        name: a model's file, or its name.
        family: of the part of a pyramid that is to be trained: the base's, or "details".
        size: of the level's pictures.

    Raises:
        ValueError: the model is of another family, or a pyramid without such a part.
        OSError: there is no such file.
    """
    path = find_file(name)
    config, pixels = model_file.read_config(path, container.header(path, model_file.SCHEMA))
    if isinstance(config, PyramidConfig):
        config = _part(config, family, size, path)
    elif family not in (None, name_of(config)):
        raise ValueError(f"Expected a model of the family {family}; got one of {name_of(config)}: {path}")
    return TrainConfig.of(config, bits=pixels.bits)


def weights_for(name: PathLike, config: TrainConfig) -> Mapping[str, Tensor]:
    """Return the weights of a model, or of the part of a pyramid, that a run trains, by their names in the run.

    Raises:
        ValueError, OSError: as `config_from`.
    """
    path = find_file(name)
    flow: Any = model_file.load_model(path).flow
    size = config.architecture.shape[1]
    found = config_from(path, config.family_name, size).architecture  # raises where it is of another kind
    if not isinstance(flow.config, PyramidConfig):
        return flow.state_dict()
    if isinstance(found, DetailLevelConfig):
        level = flow.levels[_heights(flow.config).index(size)]
        return {f"details.{key}": value for key, value in level.state_dict().items()}
    return flow.base.state_dict()


def _part(pyramid: PyramidConfig, family: str | None, size: int | None, path: PathLike) -> Any:
    heights = _heights(pyramid)
    if family == "details" and size in heights:
        return DetailLevelConfig(**asdict(pyramid.levels[heights.index(size)]), size=size)
    if family == pyramid.family and size in (None, pyramid.base.shape[1]):
        return pyramid.base
    parts = [f"{pyramid.family} of size {pyramid.base.shape[1]}", *(f"details of size {height}" for height in heights)]
    got = " ".join([family or "no family", *([f"of size {size}"] if size else [])])
    raise ValueError(f"Expected a part of the pyramid to train ({', '.join(parts)}); got {got}: {path}")


def _heights(pyramid: PyramidConfig) -> list[int]:
    return [pyramid.base.shape[1] << (i + 1) for i in range(len(pyramid.levels))]
