"""Ctrl-C at random moments of a command: how each run ended.

    python benchmarks/interrupts.py --runs 200 --seconds 8

A table of exit statuses. 130 is an interrupt that was obeyed; 0 a command that was done before; -2 one that came before
Python had run a line of ours, which a shell shows as 130 as well. Anything else is a fault.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter


def ended(words: list[str], seconds: float) -> tuple[int, str]:
    """Return status and last line of standard error of a command that is interrupted after so many seconds."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    lines = err.decode(errors="replace").strip().splitlines()
    return process.returncode, lines[-1][:80] if lines else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8.0, help="the latest moment, uniformly drawn from 0 on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "a.png")  # noqa: PTH118
        words = [sys.executable, "-m", "transflow", "sample", "faces-32", "-n", "4", "--overwrite", "-o", target]
        found = Counter(ended(words, draw.uniform(0, options.seconds)) for _ in range(options.runs))
    print("| status | last line | runs |\n|---:|---|---:|")
    for (status, line), count in sorted(found.items()):
        print(f"| {status} | {line} | {count} |")


if __name__ == "__main__":
    main()
