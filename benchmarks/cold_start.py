"""The whole process of `transflow sample` beside `python -c "import torch"`, and what reading as a copy costs.

python benchmarks/cold_start.py -o cold_start.json

By turns, medians. The file that is read has 40 MB of weights, and is in the cache of the system; each way has a process
of its own, and "memory" is by how much its largest resident size grew while it read (Linux).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from common import setting, table, write_json
from transflow.store import container

MEGABYTES = 40
PREPARE = """
import re, sys, time, torch
from pathlib import Path
from safetensors.torch import load_file
from transflow.store import container, tensors
path, kind = sys.argv[1], container.Schema("weights")
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
def ours(path):
    with tensors.opened(path) as file:
        return tensors.read_tensors(file, tensors.read_head(file)[0])
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before, begin = peak(), time.perf_counter()
"""
ENDS = "\nprint(time.perf_counter() - begin, peak() - before)"
TOUCHED = "; sum(float(t.sum()) for t in found.values())"
READING = {
    "mapped, untouched": "found = load_file(path)",
    "mapped, every weight used": "found = load_file(path)" + TOUCHED,
    "mapped, then cloned": "found = {k: t.clone() for k, t in load_file(path).items()}" + TOUCHED,
    "read as a copy, every weight used": "found = ours(path)" + TOUCHED,
    "a whole file of ours: copy, checksum, finiteness": "found = container.read(path, kind)[0]" + TOUCHED,
}


def reading(folder: Path, repeats: int) -> dict[str, tuple[float, float]]:
    """Seconds and megabytes of each way to read a file."""
    generator = torch.Generator().manual_seed(0)
    weights = {f"w{i}": torch.randn(512, 512, generator=generator) for i in range(MEGABYTES)}
    path = folder / "weights.safetensors"
    container.write(path, "weights", weights, {})
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in READING}
    for _ in range(repeats):
        for name, words in READING.items():
            command = [sys.executable, "-c", PREPARE + words + ENDS, str(path)]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            found[name].append((float(out[0]), float(out[1])))
    return {name: tuple(map(statistics.median, zip(*pairs, strict=True))) for name, pairs in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--output", default="cold_start.json")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sample = [sys.executable, "-m", "transflow", "sample", "faces-32", "-n", "16", "--seed", "0"]
        sample += ["-o", str(Path(folder) / "grid.png")]
        ways = {
            "import torch": [sys.executable, "-c", "import torch"],
            "sample 16, float32": sample,
            "sample 16, bfloat16": [*sample, "--dtype", "bfloat16"],
        }
        read = reading(Path(folder), a.repeats)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for i in range(a.repeats + 1):
            for name, words in ways.items():
                begin = time.perf_counter()
                subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
                if i:
                    times[name].append(time.perf_counter() - begin)
    seconds = {name: statistics.median(ts) for name, ts in times.items()}
    base = seconds["import torch"]
    print(table(("whole process", "seconds", "of import torch"), [(n, s, s / base) for n, s in seconds.items()]))
    print(table((f"reading {MEGABYTES} MB", "seconds", "memory, MB"), [(n, s, m) for n, (s, m) in read.items()]))
    write_json(a.output, setting(0) | {"seconds": seconds, "reading": read})


if __name__ == "__main__":
    main()
