"""The models of the families' table: one recipe and one budget for each, on faces and on digits.

    python benchmarks/families_trained.py --data DATA --folder families [--only vae,wae] [--stop-after 60]

Every run is one call of a recipe in ``recipes/``, in a process of its own, and nothing should run beside it: how much
of the processor a run had is written down with it. A run that is done is not done again; one that was stopped goes on.

    DATA: faces-64.tar, faces-64.csv (photographs, and who is on each), mnist.npz (x_train)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from common import write_tar
from transflow import load
from transflow.pictures.preprocess import preprocess

RECIPES = Path(__file__).parent.parent / "recipes"
MINUTES = {"faces": 15.0, "digits": 5.0}
FAMILIES = (
    "glow", "real-nvp", "nice", "flow++", "tarflow", "flow-matching", "pyramid", "vae", "wae", "autoencoder", "bigan",
    "gan",
)  # fmt: skip
ROUNDED = 0.01  # minutes, in a card
PARTS = {"base": 2 / 3, "details": 1 / 3}  # of a pyramid, and their share of the minutes


def digits(data: Path, folder: Path) -> Path:
    """Return a tar of the training digits, 32 x 32, made once; a pyramid's base halves them."""
    path = folder / "mnist-32.tar"
    if not path.exists():
        write_tar(preprocess(np.load(data / "mnist.npz")["x_train"], (1, 32, 32)), path)
    return path


def recipe(family: str, kind: str, data: Path, folder: Path, minutes: float, seed: int) -> list[list[str]]:
    """Return the calls of recipes that make a model."""
    given = [str(data / "faces-64.tar"), str(data / "faces-64.csv")]
    words = []
    if kind == "digits":
        given, words = [str(digits(data, folder)), "-"], ["--grey", "--no-flip"]
    parts = PARTS if family == "pyramid" else {family: 1.0}
    name = "pyramid-32.sh" if family == "pyramid" else "families-32.sh"
    calls = []
    for part, share in parts.items():
        output = str(folder / f"{family}-{kind}{'' if part == family else f'-{part}'}.safetensors")
        budget = ["--minutes", f"{share * minutes:g}", "--seed", str(seed)]
        calls.append([str(RECIPES / name), part, *given, output, *words, *budget])
    return calls


def run(call: list[str], log: Path) -> dict[str, object]:
    """Run a recipe to its end; return how long it took, and how much of the processor it had."""
    begun = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            call,
            stdout=output,
            stderr=output,
            env=os.environ | {"TRANSFLOW": f"{sys.executable} -m transflow"},
        )
        _, status, used = os.wait4(process.pid, 0)
    wall, processor = time.monotonic() - begun, used.ru_utime + used.ru_stime
    return {"status": os.waitstatus_to_exitcode(status), "seconds": wall, "processor_seconds": processor}


def train(family: str, kind: str, data: Path, folder: Path, minutes: float, seed: int) -> Path:
    """Return a family's model of faces or of digits, trained if it is not there.

    Raises:
        RuntimeError: its recipe failed; the line says where its log is.
    """
    calls = recipe(family, kind, data, folder, minutes, seed)
    for call in calls:
        output = Path(call[4])
        if done(output, float(call[call.index("--minutes") + 1]), seed):
            continue
        found = run(call, output.with_suffix(".log"))
        record = {"model": output.name, "call": [Path(call[0]).name, *call[1:2], *call[5:]], **found}
        with (folder / "runs.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)
        if found["status"]:
            raise RuntimeError(f"Expected {family} of {kind} to be trained; it was not: {output.with_suffix('.log')}")
    output = folder / f"{family}-{kind}.safetensors"
    if family == "pyramid":
        parts = [Path(call[4]) for call in calls]
        if not output.exists() or output.stat().st_mtime < max(part.stat().st_mtime for part in parts):
            subprocess.run(
                [sys.executable, "-m", "transflow", "stack", *map(str, parts), "-o", str(output)], check=True
            )
    return output


def done(output: Path, minutes: float, seed: int) -> bool:
    """Return whether a run of so many minutes, its parts' together, and of this seed has come to its end."""
    card = load(output).card if output.exists() else {}
    parts = list(card.get("parts", {}).values()) or [card]
    spent = sum(part.get("minutes", 0.0) for part in parts)
    return spent >= minutes - ROUNDED and all(part.get("seed") == seed for part in parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("families"))
    parser.add_argument("--only", default=",".join(FAMILIES))
    parser.add_argument("--kinds", default=",".join(MINUTES))
    parser.add_argument("--minutes", type=float, help="in place of 15 of faces and 5 of digits")
    parser.add_argument("--stop-after", type=float, default=1e9, help="minutes after which no run is begun")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    begun = time.monotonic()
    a.folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for family in a.only.split(","):
        for kind in a.kinds.split(","):
            if time.monotonic() - begun < 60 * a.stop_after:
                try:
                    train(family, kind, a.data, a.folder, a.minutes or MINUTES[kind], a.seed)
                except RuntimeError as error:
                    failed = 1
                    print(error, file=sys.stderr, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
