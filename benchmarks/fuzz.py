"""Damaged files of every kind, tried one by one: how many were refused in one line, and what else became of them.

    python benchmarks/fuzz.py --trials 10000

"changed" counts files without a checksum, as other versions wrote them, whose numbers differ but are of the right kind;
"changed, checked" those with one, of which there must be none.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from PIL import Image

from mutations import Kinds
from transflow import Glow, GlowConfig
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    a = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        kinds = prepared(Path(name))
        counts, reasons = Counter(), Counter()
        for number in range(a.first, a.first + a.trials):
            kind = list(kinds.good)[number % len(kinds.good)]
            outcome, why = kinds.trial(kind, number)
            counts[kind, outcome] += 1
            if why:
                reasons[f"{kind} {outcome} {why} (such as {number})" if (kind, why) not in reasons else why] += 1
    outcomes = sorted({outcome for _, outcome in counts})
    print(f"{'':<12}" + "".join(f"{outcome:>14}" for outcome in outcomes))
    for kind in kinds.good:
        print(f"{kind:<12}" + "".join(f"{counts[kind, outcome]:>14}" for outcome in outcomes))
    for why, count in reasons.most_common():
        print(f"{count:>6}  {why}")


def prepared(folder):
    torch.manual_seed(0)
    flow = Glow(GlowConfig(size=8, steps=(1, 1), width=(4, 4)))
    pixels = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        flow.initialise(pixels.float() / 255 - 0.5)
    save_model(folder / "tiny.safetensors", PictureModel(flow, card={"name": "tiny"}))
    (folder / "pictures").mkdir()
    for i, picture in enumerate(pixels):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / "pictures" / f"{i}.png")
    return Kinds(folder, folder / "tiny.safetensors", pixels, folder / "pictures")


if __name__ == "__main__":
    main()
