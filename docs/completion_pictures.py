"""Make the pictures of docs/completion.md: ``python docs/completion_pictures.py``.

What is completed is a sample of the bundled model, and a face drawn by code; no photograph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from transflow import load
from transflow.conditioning.operators import Grey, Known, Operator, Smaller, shown
from transflow.library.names import DEFAULT
from transflow.pictures import grids
from transflow.pictures.drawn import synthetic_pictures
from transflow.store.files import write_bytes

HERE = Path(__file__).parent
SHOWN = 6
FACES = (2, 5)  # of the samples of seed 0


def painted(size: int) -> torch.Tensor:
    """A hole as a hand would paint it: over the eyes."""
    picture = Image.new("L", (size, size))
    ImageDraw.Draw(picture).line([(7, 15), (12, 13), (19, 15), (25, 14)], 255, width=6, joint="curve")
    return torch.from_numpy(np.asarray(picture) == 0)


def main() -> None:
    model = load(DEFAULT)
    size = model.shape[-1]
    own = grids.to_uint8(model.pictures(model.prior, 8, seed=0, temperature=0.7))
    ways: dict[str, Operator] = {
        "a half": Known.without_half("left", size, size),
        "a hole": Known(painted(size)),
        "grey": Grey(),
        "8 x 8": Smaller(4),
    }
    rows, words = [], []
    for face in FACES:
        for name, operator in ways.items():
            found = model.complete(own[face : face + 1], operator, n=SHOWN, seed=1)
            known = shown(operator, found.observed, model.shape)
            rows += [own[face : face + 1] / 255, known, found.pictures, found.mean[None]]
            words.append(name)
            print(name, f"{found.errors.mean().item():.3f}", flush=True)
    heads = ("sample", "known", *["completed"] * SHOWN, "mean")
    sheet = grids.grid(torch.cat(rows), SHOWN + 3, rows=words, heads=heads, zoom=3)
    write_bytes(HERE / "completion.png", grids.encode_image(sheet, ".png"))

    drawn = model.condition(synthetic_pictures("drawn", own[:1].expand(24, -1, -1, -1), 0))
    half = Known.without_half("left", size, size)
    found = model.complete(own[FACES[0] : FACES[0] + 1], half, n=4, seed=1, prior=drawn)
    sheet = grids.grid(torch.cat([shown(half, found.observed, model.shape), found.pictures]), 5, zoom=3)
    write_bytes(HERE / "completion-evidence.png", grids.encode_image(sheet, ".png"))


if __name__ == "__main__":
    main()
