"""The whole process of `transflow sample` beside `python -c "import torch"`, by turns, medians.

python benchmarks/cold_start.py -o cold_start.json
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import setting, table, write_json


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
    write_json(a.output, setting(0) | {"seconds": seconds})


if __name__ == "__main__":
    main()
