"""What networks in bfloat16 cost: latents, bits per dimension, round trip, and few-shot accuracy.

    python benchmarks/precision.py --photos faces-64.tar --groups faces-64.csv --digits mnist.npz -o precision.json

Photographs are those of identities that the model never saw. Digits, as examples and as queries, are
training digits; the test digits are not touched.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from common import parted, setting, table, write_json
from transflow import FewShotClassifier, Model, load
from transflow.gaussians.gaussian import Gaussian
from transflow.generative.glow_fused import fuse
from transflow.generative.picture_model import PictureModel
from transflow.metrics import bits_per_dim
from transflow.training.output import round_trip

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@torch.no_grad()
def bits(model: PictureModel, pixels: torch.Tensor, seed: int) -> float:
    """Mean bits per dimension of the form in use, of pixels dequantised uniformly."""
    flow, generator, total = fuse(model.flow, model.networks), torch.Generator().manual_seed(seed), 0.0
    prior = Gaussian.standard(model.dim)
    for part in pixels.split(64):
        z, log_det = flow(model.pixels.dequantise(part, generator).to(next(model.flow.parameters())))
        total += (prior.log_prob(z) + log_det.double()).sum().item()
    return float(bits_per_dim(total / len(pixels), model.dim, model.bits))


def accuracy(model: Model, digits: Any, counts: list[int], queries: int, seed: int) -> dict[int, float]:
    """Share of queries told right from m examples a class; both are drawn from the training digits."""
    x, y = digits["x_train"], digits["y_train"]
    order = np.random.default_rng(seed).permutation(len(y))
    asked, rest = order[:queries], order[queries:]
    found = {}
    for m in counts:
        support = np.concatenate([rest[y[rest] == c][:m] for c in range(10)])
        classifier = FewShotClassifier(model).fit(x[support], y[support])
        found[m] = float((classifier.predict(x[asked]) == y[asked]).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="faces-32")
    parser.add_argument("--photos", required=True, help="the photographs it was trained on")
    parser.add_argument("--groups", required=True, help="CSV: file, identity")
    parser.add_argument("--digits", help="an .npz of x_train, y_train")
    parser.add_argument("--pictures", type=int, default=2048, help="held-out photographs, at most")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--counts", default="1,5,30", help="examples a class")
    parser.add_argument("--dtypes", default="float32,bfloat16,float64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="precision.json")
    a = parser.parse_args()
    models = {name: load(a.model, dtype=DTYPES[name]) for name in a.dtypes.split(",")}
    exact = next(iter(models.values()))
    photos = parted(exact, a.photos, a.groups)[1].pixels[: a.pictures]
    reference = exact.encode(photos).double()
    rows, accuracies = [], {}
    for name, model in models.items():
        z = model.encode(photos).double()
        change = (z - reference).norm().item() / reference.norm().item(), (z - reference).abs().max().item()
        crossed = (exact.decode(z.float()) - exact.source.quantise(photos)).abs().max().item()
        rows.append((name, *change, bits(model.source, photos, a.seed), round_trip(model.source, photos), crossed))
        print(f"{name}: done", flush=True)
        if a.digits and name != "float64":
            counts = list(map(int, a.counts.split(",")))
            accuracies[name] = accuracy(model, np.load(a.digits), counts, a.queries, a.seed)
    heads = ("", "|dz|/|z|", "largest dz", "bits/dim", "round trip", f"decoded in {next(iter(models))}")
    print(f"\n{a.model}, {len(photos)} photographs of people it never saw, against {next(iter(models))}:")
    print(table(heads, rows))
    if accuracies:
        print(f"\naccuracy on {a.queries} training digits of MNIST, examples a class:")
        counts = list(accuracies["float32" if "float32" in accuracies else next(iter(accuracies))])
        print(table(("", *map(str, counts)), [(n, *(f"{v:.2%}" for v in f.values())) for n, f in accuracies.items()]))
    content = setting(a.seed) | {"settings": vars(a), "rows": [dict(zip(heads, r, strict=True)) for r in rows]}
    write_json(a.output, content | {"accuracy": accuracies})


if __name__ == "__main__":
    main()
