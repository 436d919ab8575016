"""The bundled model in figures: size, bits/dim, round trip and length of latents, encode and decode rate.

    python benchmarks/bundled.py -o bundled.json
    python benchmarks/bundled.py --photos faces-64.tar --groups faces-64.csv -o bundled.json

With the photographs the model was trained on and their identities, bits/dim is measured anew on
the identities it never saw; without, the figure in the model's card is printed.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace

import torch

from common import median_seconds, parted, setting, table, write_json
from transflow import load
from transflow.generative.picture_model import PictureModel
from transflow.library import names as hub
from transflow.pictures import grids as figures
from transflow.training.output import held_out_bits, round_trip


def extremes(shape: tuple[int, int, int], seed: int) -> dict[str, torch.Tensor]:
    """Pictures that break flows: uint8, (1, C, H, W) each."""
    channels, size, _ = shape
    board = torch.zeros(size, size, dtype=torch.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    noise = torch.randint(0, 256, (8, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return {
        "black": torch.zeros(1, *shape, dtype=torch.uint8),
        "white": torch.full((1, *shape), 255, dtype=torch.uint8),
        "checkerboard": board.expand(1, channels, size, size).contiguous(),
        "uniform noise": noise,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="faces-32")
    parser.add_argument("--photos", help="the photographs it was trained on")
    parser.add_argument("--groups", help="CSV: file, identity")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="bundled.json")
    a = parser.parse_args()
    model = load(a.model)
    flow: PictureModel = model.source
    double = replace(flow, flow=copy.deepcopy(flow.flow).double())
    photos = figures.to_uint8(model.pictures(model.prior, 256, seed=a.seed, temperature=0.7))
    kind, bits = "own samples", float(model.card["bits_per_dim"])
    if a.photos:
        photos = parted(model, a.photos, a.groups)[1].pixels
        kind, bits = f"{len(photos)} held-out photographs", held_out_bits(flow, photos)
    trips = [
        (name, round_trip(flow, pixels), round_trip(double, pixels), model.score(pixels).radius.max().item())
        for name, pixels in {kind: photos, **extremes(model.shape, a.seed)}.items()
    ]
    latents = model.encode(photos[:256])
    rates = []
    for batch in (1, 16, 64, 256):
        x, z = photos[:batch], latents[:batch]
        encode = batch / median_seconds(lambda x=x: model.encode(x), a.repeats)
        decode = batch / median_seconds(lambda z=z: model.decode(z), a.repeats)
        rates.append((str(batch), encode, decode, decode / encode))
    size = hub.find_file(a.model).stat().st_size / 2**20
    parameters = sum(p.numel() for p in flow.flow.parameters())
    print(
        f"{a.model}: {size:.2f} MiB, {parameters:,} parameters, {bits:.4f} bits/dim ({kind if a.photos else 'card'})\n"
    )
    print(table(("round trip, largest error", "float32", "float64", "|z| / sqrt(D), largest"), trips))
    print()
    print(table(("batch", "encode/s", "decode/s", "ratio"), rates))
    print("Rates of a shared machine vary; the ratio of a row was measured side by side.\n")
    content = setting(a.seed) | {"model": a.model, "mebibytes": size, "parameters": parameters, "bits_per_dim": bits}
    content |= {"round_trip": [dict(zip(("pictures", "float32", "float64", "radius"), t, strict=True)) for t in trips]}
    content |= {"rates": [dict(zip(("batch", "encode", "decode", "ratio"), r, strict=True)) for r in rates]}
    write_json(a.output, content)


if __name__ == "__main__":
    main()
