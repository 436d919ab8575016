"""The same evidence, beside the others: fine-tuning, latent constraints, CycleGAN, FUNIT, pix2pix, neural style.

    python benchmarks/beside/run.py --data DATA --drawn DRAWN --folder beside -o beside.json
    python benchmarks/beside/run.py --data DATA --drawn DRAWN --folder beside --quick -o beside.json

Each method (a file of this folder) gets 24 pictures of a kind, or all there are, trains for at most --minutes, and
makes pictures, which benchmarks/judge.py and cases.py measure. A run that was stopped goes on by the same command; one
that diverged is a row of the table. --quick takes less than two hours on two cores, all of it more than half a day.
Needs what benchmarks/fewshot_generation.py needs, dlib-bin and face_recognition_models.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

KINDS = ("moustache", "grey hair", "paintings", "notionists", "greyscale")
QUICK = ("moustache", "notionists")
MINUTES, COUNT, SEEDS = 30.0, 100, (0, 1, 2)
QUICK_MINUTES, QUICK_COUNT, QUICK_SEEDS = 5.0, 48, (0,)


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str) -> list[int]:
    return [int(word) for word in words(text)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of what benchmarks/kinds.py names")
    parser.add_argument("--drawn", type=Path, default=Path("drawn"), help="folder of more drawn faces, by style")
    parser.add_argument("--folder", type=Path, default=Path("beside"), help="for what lets a run go on")
    parser.add_argument(
        "--only", type=words, default=[], help="files (fine_tune), or words of names (CycleGAN), by commas"
    )
    parser.add_argument("--kinds", type=words, help=f"by commas (default: {', '.join(KINDS)})")
    parser.add_argument("--seeds", type=numbers, help="by commas (default: 0,1,2)")
    parser.add_argument("--quick", action="store_true", help="two kinds, one seed, 5 minutes a method, 48 pictures")
    parser.add_argument("--minutes", type=float, help=f"of training of a method and kind (default: {MINUTES:g})")
    parser.add_argument("--count", type=int, help=f"pictures that each makes (default: {COUNT})")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-large", dest="large", action="store_false", help="no sheet of 128 x 128")
    parser.add_argument("-o", "--output", type=Path, default=Path("beside.json"))
    options = parser.parse_args()
    options.kinds = options.kinds or list(QUICK if options.quick else KINDS)
    options.seeds = options.seeds or list(QUICK_SEEDS if options.quick else SEEDS)
    options.minutes = options.minutes or (QUICK_MINUTES if options.quick else MINUTES)
    options.count = options.count or (QUICK_COUNT if options.quick else COUNT)
    sys.path.insert(0, str(Path(__file__).parent.parent))  # where what is shared with other benchmarks is
    from flow import run

    try:
        return run(options)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on")
        return 130


if __name__ == "__main__":
    sys.exit(main())
