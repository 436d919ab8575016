"""More like these: a flow of heightmaps, repurposed with a handful of one's own terrain, beside the handful's maker.

    python benchmarks/own_terrain.py --minutes 10 --picture docs/terrain.png

The flow is trained once, on the mix of `terrain`, and then never again. The evidence is a handful of 8 maps: of each of
one's own kinds, which lie outside of the mix, and of two kinds of the mix, eight maps that it has not seen. What it
makes is compared with maps that the same maker makes anew, by

    spectrum     root mean square difference of the radially averaged power under a Hann window, dB
    height       Wasserstein-1 distance of all heights, grey levels of 255
    slope        the same of the lengths of slopes, grey levels a cell
    sea          difference of the shares under water, %
    direction    distance of the mean structure vectors, sum (gx^2 - gy^2, 2 gx gy) / sum (gx^2 + gy^2): 0 to 2
    nearest      root mean square distance to the nearest map of the maker, grey levels
    copies       the same to the nearest map of the handful

and beside it stand the maker's own further maps, the handful itself, the flow's prior, and the same combinations of
maps made of their pixels, without a flow. Each handful is one seed.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common import setting, table, write_json
from terrain import OWN, SIZE, own
from terrain_colours import SEA, relief, slopes
from terrain_models import MAPS, trained
from transflow import Gaussian, Model
from transflow.pictures import grids
from transflow.store.files import write_bytes

Array = NDArray[np.float64]
WAYS: dict[str, dict[str, Any]] = {
    "parents": {"learn": "parents"},
    "parents, novelty 0.3": {"learn": "parents", "novelty": 0.3},
    "covariance": {"learn": "covariance"},
    "the paper's mean": {"learn": "mean"},
}
MEASURES = ("spectrum", "height", "slope", "sea", "direction", "nearest", "copies")
KINDS = (*OWN, "dunes", "craters")
FEW, TRUE = 8, 256  # maps of a handful, and of its maker to compare with
ANEW = 1000  # added to a handful's seed, for the maker's maps to compare with


class Pixels:
    """No flow at all: a map's latent is its pixels, moved and scaled."""

    shape = (1, SIZE, SIZE)
    prior = Gaussian.standard(SIZE * SIZE)

    def encode(self, pictures: Tensor) -> Tensor:
        """Return latents (n, D) of maps, uint8."""
        return (pictures.flatten(1).float() / 255 - 0.5) / 0.2

    def decode(self, latents: Tensor) -> Tensor:
        """Return maps, 0 to 1."""
        return (0.5 + 0.2 * latents.float()).clamp(0, 1).view(-1, *self.shape)


def spectrum(maps: Tensor) -> Array:
    """Return the mean power of maps at 1 to 15 cycles a map, dB, (15,)."""
    z = maps[:, 0].double().numpy()
    window = np.hanning(SIZE + 2)[1:-1]
    power = np.abs(np.fft.fft2((z - z.mean((1, 2), keepdims=True)) * window[:, None] * window)) ** 2
    line = np.fft.fftfreq(SIZE, 1 / SIZE)
    ring = np.rint(np.hypot(line[:, None], line)).astype(int)
    mean = power.mean(0)
    return 10 * np.log10([mean[ring == k].mean() + 1e-9 for k in range(1, SIZE // 2)])


def quantiles(values: Array) -> Array:
    """Return 200 of them: their mean difference is the Wasserstein-1 distance."""
    return np.quantile(values, (np.arange(200) + 0.5) / 200)


def directions(maps: Tensor) -> Array:
    """Return the mean structure vector: (1, 0) where all slopes go to left or right, (-1, 0) up or down."""
    p, q = slopes(maps[:, 0].double().numpy())
    total = (p * p + q * q).sum((1, 2)) + 1e-9
    vectors = np.stack([(p * p - q * q).sum((1, 2)), 2 * (p * q).sum((1, 2))], 1) / total[:, None]
    return vectors.mean(0)


def to_nearest(maps: Tensor, others: Tensor) -> float:
    """Return the mean of the maps' root mean square distances to the nearest of others."""
    return (torch.cdist(maps.flatten(1).double(), others.flatten(1).double()).amin(1).mean() / SIZE).item()


def compare(made: Tensor, true: Tensor, handful: Tensor) -> dict[str, float]:
    """Return how far maps are from the maker's own, by each of `MEASURES`; all uint8 (n, 1, 32, 32)."""

    def apart(values: list[Array]) -> float:
        return float(np.abs(quantiles(values[0]) - quantiles(values[1])).mean())

    both = [maps[:, 0].double().numpy() for maps in (made, true)]
    sea = [100 * float((z < 255 * SEA).mean()) for z in both]
    return {
        "spectrum": float(np.sqrt(np.square(spectrum(made) - spectrum(true)).mean())),
        "height": apart(both),
        "slope": apart([np.hypot(*slopes(z)) for z in both]),
        "sea": abs(sea[0] - sea[1]),
        "direction": float(np.hypot(*(directions(made) - directions(true)))),
        "nearest": to_nearest(made, true),
        "copies": to_nearest(made, handful),
    }


def more(model: Model, handful: Tensor, way: str, n: int, seed: int) -> Tensor:
    """Return maps like a handful, uint8 (n, 1, 32, 32)."""
    return grids.to_uint8(model.condition(handful, **WAYS[way]).pictures(n, seed=seed))


def figures(model: Model, kind: str, n: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the measures of one handful: of its maker's further maps, itself, each way of the flow, and its prior."""
    handful, anew = own(kind, FEW, seed), own(kind, TRUE + n, seed + ANEW)
    made = {
        "its maker": anew[TRUE:],
        "the handful": handful,
        **{f"more like these, {way}": more(model, handful, way, n, seed) for way in WAYS},
        "of pixels, parents": more(Model(Pixels(), "pixels"), handful, "parents", n, seed),
        "the prior": grids.to_uint8(model.pictures(model.prior, n, seed=seed)),
    }
    found = {name: compare(maps, anew[:TRUE], handful) for name, maps in made.items()}
    del found["the handful"]["copies"]
    return found


def picture(model: Model, seed: int, way: str, columns: int = 8) -> bytes:
    """Return a PNG: the prior, and for each kind the handful and more like these, as shaded relief."""
    rows, words = [grids.to_uint8(model.pictures(model.prior, columns, seed=seed))], ["the prior"]
    for kind in OWN:
        handful = own(kind, FEW, seed)
        rows += [handful[:columns], more(model, handful, way, columns, seed)]
        words += [kind, "more like these"]
    return grids.encode_image(grids.grid(relief(torch.cat(rows)), columns, rows=words, zoom=1).quantize(256), ".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/terrain"), help="of maps and models")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training")
    parser.add_argument("--maps", type=int, default=MAPS, help="to train on")
    parser.add_argument("--seed", type=int, default=0, help="of the flow, and of the first handful")
    parser.add_argument("--handfuls", type=int, default=5, help="of each kind, one a seed")
    parser.add_argument("-n", type=int, default=64, help="maps made from each")
    parser.add_argument("--way", choices=list(WAYS), default="parents", help="which the picture shows")
    parser.add_argument("--no-compile", action="store_true", help="train without torch.compile")
    parser.add_argument("-o", "--output", default="runs/terrain/own.json")
    parser.add_argument("--picture", type=Path, default=Path("runs/terrain/own.png"))
    a = parser.parse_args()
    model = trained("heights", a.folder, a.minutes, a.seed, ["--no-compile"] if a.no_compile else [], a.maps)
    print(f"{model.name}: {model.card['bits_per_dim']:.3f} bits/dim, round trip {model.card['round_trip']:.1g}")
    results = {kind: [figures(model, kind, a.n, seed) for seed in range(a.seed, a.seed + a.handfuls)] for kind in KINDS}
    for kind, found in results.items():
        rows = [
            [name, *(statistics.mean(each[name].get(m, float("nan")) for each in found) for m in MEASURES)]
            for name in found[0]
        ]
        print(table([f"{kind}, {a.handfuls} handfuls of {FEW}", *MEASURES], rows), flush=True)
    card = {key: model.card[key] for key in ("bits_per_dim", "round_trip", "training_pictures", "precision")}
    write_json(a.output, setting(a.seed) | {"minutes": a.minutes, "n": a.n, "model": card, "results": results})
    write_bytes(a.picture, picture(model, a.seed, a.way))
    print(f"written: {a.picture}")


if __name__ == "__main__":
    main()
