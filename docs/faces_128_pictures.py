"""Make the pictures of the page of faces-128: ``python docs/faces_128_pictures.py``.

Samples of a fixed seed, not chosen, and new faces of evidence that is drawn by code.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from transflow import load
from transflow.pictures import grids
from transflow.pictures.drawn import synthetic_pictures
from transflow.store.files import write_bytes

HERE = Path(__file__).parent
SAMPLES, EVIDENCE, SHOWN = 64, 24, 8


def main() -> None:
    model = load("faces-128")
    own = grids.to_uint8(model.pictures(model.prior, SAMPLES, seed=0))
    write_bytes(HERE / "faces-128.jpg", grids.encode_image(grids.grid(own, 8, zoom=1), ".jpg"))
    drawn = synthetic_pictures("drawn", own[:EVIDENCE], 0)
    posterior = model.condition(drawn)
    paper = replace(posterior.with_learn("mean"), spec="0.5m")
    rows = [drawn[:SHOWN], grids.to_uint8(posterior.pictures(2 * SHOWN, seed=1))]
    rows.append(grids.to_uint8(paper.pictures(SHOWN, seed=1)))
    words = ("evidence", "new", "new", "0.5m")
    write_bytes(
        HERE / "drawn-128.jpg", grids.encode_image(grids.grid(torch.cat(rows), SHOWN, rows=words, zoom=1), ".jpg")
    )


if __name__ == "__main__":
    main()
