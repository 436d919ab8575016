"""Make the pictures of the documentation with the bundled model: ``python docs/pictures.py``.

The evidence is the demo's: the model's own samples, changed, and faces drawn by code.
"""

from __future__ import annotations

from pathlib import Path

import torch

from transflow import load
from transflow.pictures import grids as figures
from transflow.showcase.demo import EVIDENCE, evidence
from transflow.store import container as checkpoint

HERE = Path(__file__).parent
SHOWN = 8
NOISES = ("evidence", "0.2m", "0.5m", "1m", "typical:0.6", "typical:0.7", "typical:0.8")


def write(name: str, content: bytes) -> None:
    checkpoint.write_bytes(HERE / name, content)


def main() -> None:
    model = load("faces-32")
    own = figures.to_uint8(model.pictures(model.prior, EVIDENCE, seed=0, temperature=0.7))
    drawn = evidence("drawn", own, 0)
    new = figures.to_uint8(model.condition(drawn).pictures(SHOWN, seed=1))
    sheet = figures.grid(torch.cat([drawn[:SHOWN], new]), SHOWN, rows=("evidence", "new"), zoom=3)
    write("drawn.png", figures.encode_image(sheet, ".png"))
    for kind in ("grey", "drawn"):
        pictures = evidence(kind, own, 0)
        sweep = model.sweep(pictures, NOISES, SHOWN, seed=3)
        words = [f"{said} ({model.condition(pictures, said).noise.per_count:.2f}m)" for said in NOISES]
        write(
            f"noise-{kind}.png",
            figures.encode_image(figures.grid(sweep.flatten(0, 1), SHOWN, rows=words, zoom=3), ".png"),
        )
    tinted, grey = (model.condition(evidence(kind, own, 0)) for kind in ("tinted", "grey"))
    frames = tinted.strip(grey, 16, SHOWN, seed=2)
    write("interpolation.gif", figures.animation([figures.grid(f, SHOWN, zoom=3) for f in frames]))


if __name__ == "__main__":
    main()
