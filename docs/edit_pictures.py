"""Make the pictures of docs/edits.md with the bundled model: ``python docs/edit_pictures.py``.

What is edited are the model's own samples, and what they are edited by its samples, changed, and faces drawn by code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from transflow import load
from transflow.conditioning import edits
from transflow.conditioning.model import Model
from transflow.library.names import DEFAULT
from transflow.pictures import grids
from transflow.pictures.drawn import synthetic_pictures
from transflow.store.files import write_bytes

HERE = Path(__file__).parent
SET, SHOWN = 24, 3  # pictures of each set, and of those that are edited
STEPS = 8


def write(name: str, content: bytes) -> None:
    write_bytes(HERE / name, content)


def strips(rows: list[tuple[str, edits.Edit, Tensor]], strengths: list[float]) -> Tensor:
    """Pictures at each strength, row by row."""
    return torch.cat([edit.strip(x, strengths).transpose(0, 1).flatten(0, 1) for _, edit, x in rows])


def sheet(name: str, rows: list[tuple[str, edits.Edit, Tensor]], strengths: list[float]) -> None:
    words = [word if i == 0 else "" for word, _, x in rows for i in range(len(x))]
    heads = [f"{strength:g}" for strength in strengths]
    picture = grids.grid(strips(rows, strengths), len(strengths), rows=words, heads=heads, zoom=3)
    write(name, grids.encode_image(picture, ".png"))


def arithmetic(model: Model, a: Tensor, b: Tensor, c: Tensor) -> None:
    """Three pictures of each mean, the mean itself, and the sum: of latents above, of pixels below."""
    means = [model.decode(model.encode(x).double().mean(0, keepdim=True).float()) for x in (a, b, c)]
    pixels = [model.quantise(x).mean(0, keepdim=True) for x in (a, b, c)]
    sums = [edits.arithmetic(model, a, b, c, pixels=pixels) for pixels in (False, True)]
    rows = [[*means, sums[0]], [*pixels, sums[1]]]
    shown = [torch.cat([x[i : i + 1] for x in (a, b, c)] + [torch.full_like(a[:1], 255)]) for i in range(3)]
    tiles = torch.cat([*shown, *(grids.to_uint8(torch.cat(row)) for row in rows)])
    heads = ["a", "b", "c", "a - b + c"]
    words = ["three of each", "", "", "means of latents", "means of pixels"]
    write("edit-arithmetic.png", grids.encode_image(grids.grid(tiles, 4, rows=words, heads=heads, zoom=3), ".png"))


def main() -> None:
    model = load(DEFAULT)
    own = grids.to_uint8(model.pictures(model.prior, 2 * SET + SHOWN, seed=0, temperature=0.7))
    others, more, mine = own[:SET], own[SET : 2 * SET], own[2 * SET :]
    grey, drawn, covered = (synthetic_pictures(kind, others, 0) for kind in ("grey", "drawn", "covered"))
    in_grey = model.condition(grey, learn="mean")
    sheet(
        "edit-towards.png",
        [
            ("drawn, covariance", edits.towards(model.condition(drawn, learn="covariance")), mine),
            ("drawn, mean", edits.towards(model.condition(drawn, learn="mean")), mine),
            ("grey, covariance", edits.towards(model.condition(grey, learn="covariance")), mine[:2]),
            ("grey, mean", edits.towards(in_grey), mine[:2]),
            (
                "from grey to coloured",
                edits.towards(model.condition(more, learn="mean"), in_grey),
                synthetic_pictures("grey", mine[:2], 0),
            ),
        ],
        [0, 0.25, 0.5, 0.75, 1],
    )
    red, red_bar = (synthetic_pictures("tinted", x, 0) for x in (others, covered))
    sheet(
        "edit-attribute.png",
        [
            ("a bar", edits.attribute(model, covered, more), mine),
            ("a bar, in red", edits.attribute(model, red_bar, more), mine),
            ("the same, and red stays", edits.attribute(model, red_bar, more, [(red, others)]), mine),
        ],
        [-0.5, 0, 0.5, 0.75, 1, 1.25],
    )
    ways = [edits.between(model, mine[:1], drawn[:1], STEPS, path)[:, 0] for path in edits.PATHS]
    ways += [edits.between(model, mine[1:2], mine[2:3], STEPS, path)[:, 0] for path in edits.PATHS]
    picture = grids.grid(torch.cat(ways), STEPS, rows=edits.PATHS * 2, zoom=3)
    write("edit-between.png", grids.encode_image(picture, ".png"))
    frames = torch.stack([edits.between(model, mine[1:2], mine[2:3], STEPS + 4, path)[:, 0] for path in edits.PATHS], 1)
    heads = list(edits.PATHS)
    write("edit-between.gif", grids.animation([grids.grid(frame, 4, heads=heads, zoom=2) for frame in frames]))
    arithmetic(model, covered[:3], more[:3], drawn[:3])


if __name__ == "__main__":
    main()
