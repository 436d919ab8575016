"""Make the pictures of the documentation with the bundled model: ``python docs/pictures.py``.

The evidence is the demo's: the model's own samples, changed, and faces drawn by code.
"""

from __future__ import annotations

from pathlib import Path

import torch

from transflow import load
from transflow.library.names import DEFAULT
from transflow.pictures import grids
from transflow.pictures.drawn import synthetic_pictures
from transflow.store.files import write_bytes

HERE = Path(__file__).parent
EVIDENCE, SHOWN = 24, 8  # pictures of each kind, and of those in a row
NOISES = ("evidence", "0.2m", "0.5m", "1m", "typical:0.6", "typical:0.7", "typical:0.8")


def write(name: str, content: bytes) -> None:
    write_bytes(HERE / name, content)


def main() -> None:
    model = load(DEFAULT)
    own = grids.to_uint8(model.pictures(model.prior, EVIDENCE, seed=0, temperature=0.7))
    drawn = synthetic_pictures("drawn", own, 0)
    new = grids.to_uint8(model.condition(drawn).pictures(SHOWN, seed=1))
    sheet = grids.grid(torch.cat([drawn[:SHOWN], new]), SHOWN, rows=("evidence", "new"), zoom=3)
    write("drawn.png", grids.encode_image(sheet, ".png"))
    for kind in ("grey", "drawn"):
        pictures = synthetic_pictures(kind, own, 0)
        sweep = model.sweep(pictures, NOISES, SHOWN, seed=3)
        words = [f"{noise} ({model.condition(pictures, noise).noise.per_count:.2f}m)" for noise in NOISES]
        write(
            f"noise-{kind}.png",
            grids.encode_image(grids.grid(sweep.flatten(0, 1), SHOWN, rows=words, zoom=3), ".png"),
        )
    tinted, grey = (model.condition(synthetic_pictures(kind, own, 0)) for kind in ("tinted", "grey"))
    frames = tinted.strip(grey, 16, SHOWN, seed=2)
    write("interpolation.gif", grids.animation([grids.grid(f, SHOWN, zoom=3) for f in frames]))


if __name__ == "__main__":
    main()
