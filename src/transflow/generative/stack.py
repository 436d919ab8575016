"""A pyramid put together of its parts: a base, and levels of details that were each trained alone.

The averages of a level, which alone are independent normal numbers (see `detail_level`), become the pictures of the
level below, and at last the base's. What the parts' cards say goes into one card: data and licences joined, who was
held out where all say the same, the parameters summed, the bits a detail of the finest level (of the others under
"sizes", see `model_file.stopped`), and, under "parts", what was measured of each.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from transflow.generative.detail_level import DetailLevel
from transflow.generative.picture_model import PictureModel
from transflow.generative.pyramid import BASES, Pyramid, PyramidConfig

JOINED = ("data", "licence")  # of cards
SHARED = ("held_out_share", "seed")  # who was held out, where it was the same for all parts
KEPT = (
    "held_out_loss", "pictures_seen", "minutes", "skipped", "training_pictures", "held_out_pictures", "seed",
    "made_with",
)  # fmt: skip
BITS = "bits_per_detail"  # what a level calls its bits per dimension: they are of its details alone


def stack(base: PictureModel, levels: Sequence[PictureModel]) -> PictureModel:
    """Return the pyramid of a base and levels, the coarsest level first.

    Args:
        base: of pictures of S x S.
        levels: of pictures of 2S x 2S, 4S x 4S and so on, each a `DetailLevel`.

    Raises:
        ValueError: there is no level; the base can be none; or a part is no level, or does not fit on the one below.
    """
    family = base.family
    if family not in BASES:
        raise ValueError(f"Expected a base of a family of {', '.join(BASES)}; got {family}.")
    if not levels:
        raise ValueError("Expected a base and at least one level of details; got a base alone.")
    channels, height, width = base.shape
    for level in levels:
        if not isinstance(level.flow, DetailLevel):
            raise ValueError(f"Expected levels of the family details above the base; got one of {level.family}.")
        expected = (channels, 2 * height, 2 * width)
        if level.shape != expected:
            below = "the base" if (height, width) == base.shape[1:] else "the level below"
            raise ValueError(
                f"Expected a level of {_words(expected)} above {below}, whose pictures are "
                f"{_words((channels, height, width))}; got one of {_words(level.shape)}."
            )
        if (level.pixels.low, level.pixels.high) != (base.pixels.low, base.pixels.high):
            raise ValueError(f"Expected parts with one range of pixels; got {base.pixels} and {level.pixels}.")
        height, width = 2 * height, 2 * width
    config = PyramidConfig(family, base.flow.config, tuple(level.flow.config.flow for level in levels))
    parts = copy.deepcopy([level.flow.details for level in levels])
    flow = Pyramid(copy.deepcopy(base.flow), parts, config).requires_grad_(False).eval()
    return PictureModel(flow, levels[-1].pixels, _card(base, levels, flow))


def _card(base: PictureModel, levels: Sequence[PictureModel], flow: Pyramid) -> dict[str, Any]:
    """What is known of the whole, and, under "sizes", of the pyramid stopped at a lower level."""
    cards = [base.card, *(level.card for level in levels)]
    joined = {key: "; ".join(dict.fromkeys(str(card[key]) for card in cards if card.get(key))) for key in JOINED}
    card: dict[str, Any] = {key: value for key, value in joined.items() if value}
    card |= {key: base.card[key] for key in SHARED if key in base.card and len({part.get(key) for part in cards}) == 1}
    if base.temperature is not None:
        card["temperature"] = base.temperature
    sizes, parameters = {}, _count(base.flow)
    for level in levels:
        parameters += _count(level.flow.details)
        sizes[str(level.shape[1])] = {"parameters": parameters, **_facts(level.card, {"bits_per_dim": BITS})}
    names = [f"base of {base.shape[1]}", *(f"level of {level.shape[1]}" for level in levels)]
    kept = dict(zip(KEPT, KEPT, strict=True))
    parts = {name: _facts(part, kept | {"bits_per_dim": BITS}) for name, part in zip(names[1:], cards[1:], strict=True)}
    parts = {names[0]: _facts(base.card, kept | {"bits_per_dim": "bits_per_dim"}), **parts}
    _, finest = sizes.popitem()
    return card | finest | {"parts": parts} | ({"sizes": sizes} if sizes else {})


def _facts(card: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What a card has of these entries, under other names."""
    return {new: card[old] for old, new in names.items() if card.get(old) is not None}


def _count(flow: nn.Module) -> int:
    return sum(p.numel() for p in flow.parameters())


def _words(shape: tuple[int, int, int]) -> str:
    return f"{' x '.join(map(str, shape[1:]))} pixels and {shape[0]} channel{'s' if shape[0] > 1 else ''}"
