"""Make the pictures of docs/new-model.md with the bundled model: ``python docs/new_model_pictures.py``.

The evidence is the demo's: faces drawn by code, and the model's own samples, changed.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from transflow import load
from transflow.library.names import DEFAULT
from transflow.pictures import grids
from transflow.pictures.drawn import synthetic_pictures
from transflow.store.files import write_bytes

HERE = Path(__file__).parent
EVIDENCE, SHOWN, ZOOM = 24, 10, 2
WAYS = {
    "the paper": "mean",
    "covariance": "covariance",
    "6 parents": "parents:6",
    "4 parents": "parents:4",
    "2 parents": "parents:2",
    "mixture": "mixture",
}
NOVELTIES = (0.0, 0.3, 0.5, 0.6, 0.7, 1.0)


def write(file: str, pictures: Tensor, rows: dict[str, Tensor]) -> None:
    """Write evidence and, below, a row of pictures for each name."""
    made = [grids.to_uint8(row) for row in rows.values()]
    sheet = grids.grid(torch.cat([pictures[:SHOWN], *made]), SHOWN, rows=["evidence", *rows], zoom=ZOOM)
    content = grids.encode_image(sheet.quantize(256), ".png")
    write_bytes(HERE / file, content)
    print(f"{file}: {len(content) / 1000:.0f} kB")


def main() -> None:
    model = load(DEFAULT)
    own = grids.to_uint8(model.pictures(model.prior, EVIDENCE, seed=0, temperature=0.8))
    for kind in ("drawn", "tinted"):
        pictures = synthetic_pictures(kind, own, 0)
        posterior = model.condition(pictures)
        rows = {name: posterior.with_learn(way).pictures(SHOWN, seed=1) for name, way in WAYS.items()}
        rows["variations"] = model.decode(posterior.vary(0, SHOWN, seed=1).latents)
        write(f"new-model-{kind}.png", pictures, rows)
    pictures = synthetic_pictures("drawn", own, 0)
    sweep = model.sweep(pictures, n=SHOWN, novelty=NOVELTIES, seed=1)
    write("new-model-novelty.png", pictures, {f"novelty {n:g}": row for n, row in zip(NOVELTIES, sweep, strict=True)})


if __name__ == "__main__":
    main()
