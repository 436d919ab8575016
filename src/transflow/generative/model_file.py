"""A model of the house as one file: weights, configuration, pixel format and card."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from transflow.generative.families import FAMILIES
from transflow.generative.picture_model import PictureModel
from transflow.generative.pyramid import PyramidConfig
from transflow.own_random import OwnRandom
from transflow.pictures.pixels import PixelFormat
from transflow.plain_values import quoted
from transflow.store import container
from transflow.store.files import PathLike
from transflow.store.identity import newer, options, read_options

NUMBERS = ("temperature", "round_trip")  # of a card, which are used
SCHEMA = container.Schema("model", {"config": dict, "card": dict}, optional={"pixels": dict, "family": str})


def save_model(path: PathLike, model: PictureModel, *, half: bool = True) -> None:
    """Write a model: weights, architecture, pixel format and card.

    Args:
        path: the file to write.
        model: what to write.
        half: keep the weights in half precision that the family says may be. The model that is read back is a
            slightly different one, exact in itself: encoder and decoder share the weights.
    """
    halvable = FAMILIES[model.family].halvable
    weights = model.flow.state_dict()
    tensors = {name: tensor.half() if half and halvable(name, tensor) else tensor for name, tensor in weights.items()}
    extra = {"family": model.family, "config": options(model.flow.config), "pixels": options(model.pixels)}
    container.write(path, SCHEMA.kind, tensors, extra | {"card": model.card})


def read_config(path: PathLike, found: dict[str, Any]) -> tuple[Any, PixelFormat]:
    """Return the configuration of the family and the pixel format in the header of a model's file.

    Raises:
        ValueError: it is damaged, or has what only a newer version knows.
    """
    if (family := found.get("family", "glow")) not in FAMILIES:
        raise newer(f"a model of the family {family}", path)
    pixels = found.get("pixels")
    if pixels is None:  # as 0.1.0 wrote it
        low, high = found.get("pixel_range", (-0.5, 0.5))
        pixels = {"bits": found.get("bits", PixelFormat.bits), "low": low, "high": high}
    return read_options(FAMILIES[family].config, found["config"], path), read_options(PixelFormat, pixels, path)


@torch.inference_mode(False)  # weights that gradients may pass, wherever it is called
def load_model(
    path: PathLike,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    *,
    size: int | None = None,
) -> PictureModel:
    """Return the model in a file, ready for use, without gradients.

    Args:
        path: the file.
        dtype: float32 or float64, of all; or bfloat16, of the coupling networks in use, all else being float32.
        device: where it is to compute.
        size: of a pyramid, the height of the pictures at which it stops; without it, all levels.

    Raises:
        ValueError: the file is damaged, foreign, or of another kind, or has no such level; the message says which.
    """
    networks = torch.bfloat16 if dtype == torch.bfloat16 else None
    dtype = torch.float32 if networks else dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"Expected dtype float32, bfloat16 or float64; got {dtype}.")
    tensors, found = container.read(path, SCHEMA)
    config, pixels = read_config(path, found)
    if size is not None:
        config, tensors, found = stopped(path, size, config, tensors, found)
    family = FAMILIES[found.get("family", "glow")]
    if networks and family.fuse is None:
        raise ValueError(f"Expected float32 or float64 for a model of this family; got bfloat16: {path}")
    damaged = f"Expected a whole model file; got one whose weights do not fit its architecture: {path}"
    if family.fewest(config) > sum(t.numel() for t in tensors.values()):
        raise ValueError(damaged)
    for name in NUMBERS:
        if (value := found["card"].get(name)) is not None and type(value) not in (int, float):
            raise ValueError(f"Expected a whole model file; got a damaged one, whose {name} is {quoted(value)}: {path}")
    check_levels(path, config, found["card"])
    try:
        with OwnRandom(0):  # weights that are replaced; on "meta" it would load torch's compiler, a second or more
            flow = family.build(config)
        weights = {name: t if t.dtype == torch.bool else t.to(dtype) for name, t in tensors.items()}
        flow.load_state_dict(weights, assign=True)
        card = dict(found["card"])
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise ValueError(damaged) from None
    if not all(torch.isfinite(t).all() for t in weights.values()):  # float64 may go beyond float32
        raise ValueError(f"Expected finite weights; got NaN or infinity: {path}")
    flow.requires_grad_(False).eval()
    flow.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return PictureModel(flow, pixels, card, networks)


def check_levels(path: PathLike, config: Any, card: dict[str, Any]) -> None:
    """Raise `ValueError` unless a card's temperatures of levels are a pyramid's: of each level, and of the base."""
    if (found := card.get("level_temperatures")) is None:
        return
    count = len(config.levels) + 1 if isinstance(config, PyramidConfig) else 0
    right = isinstance(found, list) and len(found) == count
    if not right or not all(type(t) in (int, float) and 0 < t <= 1 for t in found):
        raise ValueError(
            f"Expected a whole model file; got a damaged one, whose level temperatures are {quoted(found)}: {path}"
        )


def stopped(
    path: PathLike, size: int, config: Any, tensors: dict[str, Tensor], found: dict[str, Any]
) -> tuple[Any, dict[str, Tensor], dict[str, Any]]:
    """Return configuration, weights and header of a pyramid without the levels above pictures of a height.

    What the card says of that height, in its entry "sizes", takes the place of what it says of the whole.

    Raises:
        ValueError: the model is no pyramid, or has no such level.
    """
    if not isinstance(config, PyramidConfig):
        raise ValueError(f"Expected no size for a model that is no pyramid; got {size}: {path}")
    less = config.stopped(size)
    gone = tuple(f"levels.{i}." for i in range(len(less.levels), len(config.levels)))
    card = {key: value for key, value in found["card"].items() if key != "sizes"}
    if isinstance(temperatures := card.get("level_temperatures"), list):
        card["level_temperatures"] = temperatures[len(gone) :]  # finest first
    if gone:
        card |= found["card"].get("sizes", {}).get(str(size), {})
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(gone)} if gone else tensors
    return less, kept, found | {"card": card}
