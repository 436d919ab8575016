"""Likely is not typical: blank pictures, noise and occluded faces against reference photographs.

    python benchmarks/typicality.py --reference photos/ --portraits portraits/ -o typicality.json

For each kind of picture: the log likelihood (nats, at the bin centres), and the two p-values that
`transflow score --reference` prints. Of --portraits (a folder of a few faces) there are also
versions with a black bar and with a bar of coloured noise, as in the paper's figure of occlusion.
"""

from __future__ import annotations

import argparse

import torch

from bundled import extremes
from common import setting, table, write_json
from transflow import load
from transflow.conditioning.typicality import compare
from transflow.pictures import decode as data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="faces-32")
    parser.add_argument("--reference", required=True, help="a folder or tar of photographs")
    parser.add_argument("--count", type=int, default=200, help="reference pictures, the first so many")
    parser.add_argument("--portraits", help="a folder of faces to occlude")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="typicality.json")
    a = parser.parse_args()
    model = load(a.model)
    channels, size, _ = model.shape
    photos = data.read(a.reference, (channels, size, size)).pixels
    kinds = {"other photographs": photos[a.count : a.count + 50], **extremes(model.shape, a.seed)}
    if a.portraits:
        whole = data.read(a.portraits, (channels, size, size)).pixels
        bar, noisy = whole.clone(), whole.clone()
        rows = slice(size * 3 // 8, size * 5 // 8)
        bar[:, :, rows] = 0
        generator = torch.Generator().manual_seed(a.seed)
        noisy[:, :, rows] = torch.randint(0, 256, noisy[:, :, rows].shape, generator=generator).to(torch.uint8)
        kinds |= {"portraits": whole, "with a black bar": bar, "with a bar of noise": noisy}
    lines, content = [], setting(a.seed) | {"model": a.model, "reference": min(a.count, len(photos)), "kinds": {}}
    for name, pictures in kinds.items():
        if not len(pictures):
            continue
        found = compare(model, pictures, photos[: a.count])
        log_prob = found.scores.log_prob
        figures = (log_prob.mean(), log_prob.min(), log_prob.max(), found.by_likelihood.mean())
        figures = (*figures, found.by_typicality.mean(), found.by_typicality.min())
        content["kinds"][name] = [x.item() for x in figures]
        lines.append(
            (name, f"{figures[0]:,.0f}", f"{figures[1]:,.0f}", f"{figures[2]:,.0f}", *content["kinds"][name][3:])
        )
    heads = ("", "log p, mean", "least", "most", "p likelihood, mean", "p typicality, mean", "least")
    print(table(heads, lines))
    write_json(a.output, content)


if __name__ == "__main__":
    main()
