"""Flows of heightmaps, and of heightmaps with their textures, each by one call of recipes/terrain-32.sh.

A pair is one grey picture twice as wide and high, whose blocks of 2 x 2 are height, red, green and blue of a place. A
Glow squeezes such blocks to channels first of all, so its couplings see a height beside its colours; a mask of every
other row and column is all that partial evidence needs to draw textures for a heightmap.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from common import write_tar
from terrain import SIZE, heightmaps, pairs
from transflow import Model, load

RECIPE = Path(__file__).parent.parent / "recipes" / "terrain-32.sh"
MAPS = 20_000


def as_pair(heights: Tensor, textures: Tensor) -> Tensor:
    """Return pairs (n, 1, 2H, 2W) of heights (n, 1, H, W) and textures (n, 3, H, W)."""
    return F.pixel_shuffle(torch.cat([heights, textures], 1), 2)


def apart(pair: Tensor) -> tuple[Tensor, Tensor]:
    """Return heights and textures of pairs."""
    both = F.pixel_unshuffle(pair, 2)
    return both[:, :1], both[:, 1:]


def height_known() -> Tensor:
    """Return the mask (2H, 2W) of a pair's height."""
    known = torch.zeros(2 * SIZE, 2 * SIZE, dtype=torch.bool)
    known[::2, ::2] = True
    return known


def trained(part: str, folder: Path, minutes: float, seed: int, words: Sequence[str] = (), maps: int = MAPS) -> Model:
    """Return the flow of "heights" or "pairs", trained for minutes; a run that was stopped goes on, one done is read.

    Args:
        part: "heights" or "pairs".
        folder: of maps and models, and what the runs say, in *.log.
        minutes: of training.
        seed: of maps and weights.
        words: more words of `transflow train`.
        maps: how many to train on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / f"terrain-{part}-{seed}.safetensors"
    if not output.exists() or "round_trip" not in load(output).card:
        data = folder / f"{part}-{seed}.tar"
        if not data.exists():
            write_tar(heightmaps(maps, seed) if part == "heights" else as_pair(*pairs(maps, seed)), data)
        call = [
            str(RECIPE),
            part,
            str(data),
            "-",
            str(output),
            "--minutes",
            f"{minutes:g}",
            "--seed",
            str(seed),
            *words,
        ]
        with output.with_suffix(".log").open("ab") as log:
            subprocess.run(
                call,
                check=True,
                stdout=log,
                stderr=log,
                env=os.environ | {"TRANSFLOW": f"{sys.executable} -m transflow"},
            )
    return load(output)
