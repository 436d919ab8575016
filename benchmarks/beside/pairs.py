"""Textures for one's own heightmap: a flow of pairs given one half, beside a regression from heights to colours.

    python benchmarks/beside/pairs.py --folder runs/beside/pairs --minutes 5

`terrain.pairs` makes heightmaps with a texture each by a rule, in a climate that the heightmap does not tell: how dry
the grass is, where snow begins, how red the rock is. A flow of both is trained on such pairs, and asked with partial
evidence,

    z ~ p(z | height of f(z) = height + noise),   texture of f(z),

for textures of heightmaps that are not of its training, one's own among them. The regression goes down
|g(height) - texture|^2 and so gives the average colour of all climates. RMS in grey levels of 255:

    truth     to the rule's own texture of the heightmap, in some climate, with its noise: the regression's own measure
    rule      to the nearest of the rule's textures without noise, over climates: whether it is one of those at all
    spread    of one texture from another of the same heightmap, over sqrt(2)
    given     of the height, from what was given
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parent.parent))

from common import setting, table, write_json
from method import Task
from regression import UNet, answers, fit
from terrain import OWN, heightmaps, own, pairs
from terrain_colours import climates, relief, textures
from terrain_models import MAPS, apart, as_pair, height_known, trained
from transflow import Model
from transflow.pictures import grids
from transflow.store.files import write_bytes

EACH, DRAWN = 2, 4  # heightmaps of each own kind, and textures of each heightmap
NEW = 1000  # added to the seed, for heightmaps that nothing was trained on
CLIMATES = 300  # among which the nearest is looked for
MEASURES = ("truth", "rule", "spread")


def drawn(model: Model, height: Tensor, n: int, seed: int) -> tuple[Tensor, float]:
    """Return textures (n, 3, H, W), uint8, of a height (1, H, W), and their heights' RMS from it, grey levels."""
    blank = torch.zeros(1, 3, *height.shape[1:], dtype=torch.uint8)
    found = model.complete(as_pair(height[None], blank), height_known(), n=n, seed=seed)
    return grids.to_uint8(apart(found.pictures)[1]), 255 * found.errors.mean().item()


def rms(first: Tensor, second: Tensor) -> Tensor:
    """Return the root mean square distances of pictures that broadcast, grey levels."""
    return (first.double() - second.double()).square().mean((-3, -2, -1)).sqrt()


def measured(made: Tensor, height: Tensor, truth: Tensor, seed: int) -> dict[str, float]:
    """Return the measures of textures (k, 3, H, W) of a height (1, H, W) whose truths are (m, 3, H, W)."""
    many = climates(CLIMATES, np.random.default_rng(seed))
    clean = textures(height.expand(CLIMATES, -1, -1, -1), many)
    spread = rms(made[:, None], made[None]).square().sum() / max(1, len(made) * (len(made) - 1))
    return {
        "truth": rms(made[:, None], truth[None]).mean().item(),
        "rule": rms(made[:, None], clean[None]).amin(1).mean().item(),
        "spread": (spread / 2).sqrt().item(),
    }


def compare(model: Model, network: UNet, heights: Tensor, colour: Tensor, seed: int) -> dict[str, Any]:
    """Return measures by name, means over heightmaps (n, 1, H, W); the height's RMS; and the pictures, by name."""
    rng = np.random.default_rng([seed, NEW])
    found: dict[str, list[dict[str, float]]] = {}
    shown: dict[str, list[Tensor]] = {}
    given, seconds = [], 0.0
    for i, height in enumerate(heights):
        several = height.expand(2 * DRAWN, -1, -1, -1)
        rule = textures(several, climates(2 * DRAWN, rng), rng)
        begun = time.perf_counter()
        flow, error = drawn(model, height, DRAWN, seed + i)
        seconds += time.perf_counter() - begun
        given.append(error)
        average = answers(network, height[None])
        made = {
            "the rule, other climates": rule[:DRAWN],
            "flow, partial evidence": flow,
            "mean of its textures": flow.double().mean(0, keepdim=True).round().to(torch.uint8),
            "regression": average,
            "average colour": colour.expand(1, 3, *height.shape[1:]),
        }
        for name, pictures in made.items():
            found.setdefault(name, []).append(measured(pictures, height, rule[DRAWN:], seed))
            shown.setdefault(name, []).append(pictures)
    rows = {name: {m: float(np.mean([x[m] for x in each])) for m in MEASURES} for name, each in found.items()}
    return {
        "figures": rows,
        "given": float(np.mean(given)),
        "seconds_for_one": seconds / (len(heights) * DRAWN),
        "shown": shown,
    }


def sheet(heights: Tensor, shown: dict[str, list[Tensor]]) -> bytes:
    """Return a PNG, a row for each heightmap: its relief, with the flow's textures, the regression's, the rule's."""
    parts, heads = [], ["height", *["flow"] * DRAWN, "regression", "rule", "rule"]
    for i, height in enumerate(heights):
        of = (shown["flow, partial evidence"][i], shown["regression"][i], shown["the rule, other climates"][i][:2])
        laid = torch.cat(of)
        parts += [relief(height[None]), relief(height.expand(len(laid), -1, -1, -1), laid)]
    return grids.encode_image(grids.grid(torch.cat(parts), len(heads), heads=heads, zoom=1), ".png")


def run(folder: Path, minutes: float, seed: int, words: Sequence[str] = (), maps: int = MAPS) -> dict[str, Any]:
    """Train the flow and the regression if they are not in the folder, compare them, and write folder/pairs.png.

    Args:
        folder: of data, models and the picture.
        minutes: of the flow's training; the regression has as many up to five, then a fifth of them: it has converged.
        seed: of all that is random.
        words: more words of `transflow train`.
        maps: how many pairs to train on.

    Returns:
        Figures of "own" heightmaps and of further ones of the "mix", and what was spent: what JSON can hold.
    """
    model = trained("pairs", folder, minutes, seed, words, maps)
    heights, truth = pairs(maps, seed)
    nothing = truth[:0]
    long = max(minutes / 5, min(minutes, 5.0))
    task = Task("pairs", nothing, nothing, nothing, nothing, seed, long, folder / f"regression-{seed}")
    network, _ = fit(heights, truth, task, mirrored=False)
    colour = truth.double().mean((0, 2, 3)).round().to(torch.uint8)[None, :, None, None]
    asked = {
        "own": torch.cat([own(kind, EACH, seed + NEW) for kind in OWN]),
        "mix": heightmaps(EACH * len(OWN), seed + NEW),
    }
    results: dict[str, Any] = {}
    shown: dict[str, list[Tensor]] = {}
    for name, these in asked.items():
        results[name] = compare(model, network, these, colour, seed)
        for row, pictures in results[name].pop("shown").items():
            shown.setdefault(row, []).extend(pictures)
    write_bytes(folder / "pairs.png", sheet(torch.cat(list(asked.values())), shown))
    card = {key: model.card[key] for key in ("bits_per_dim", "round_trip", "training_pictures", "precision")}
    return {"minutes": minutes, "maps": maps, "textures_each": DRAWN, "model": card, **results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/beside/pairs"))
    parser.add_argument("--minutes", type=float, default=5.0, help="of the flow's training")
    parser.add_argument("--maps", type=int, default=MAPS, help="pairs to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-compile", action="store_true", help="train without torch.compile")
    a = parser.parse_args()
    found = run(a.folder, a.minutes, a.seed, ["--no-compile"] if a.no_compile else [], a.maps)
    for name in ("own", "mix"):
        part = found[name]
        rows = [[row, *values.values()] for row, values in part["figures"].items()]
        print(table([f"heightmaps: {name}", *MEASURES], rows))
        print(f"given: {part['given']:.2f}; {part['seconds_for_one']:.1f} s a texture")
    write_json(str(a.folder / "pairs.json"), setting(a.seed) | found)


if __name__ == "__main__":
    main()
