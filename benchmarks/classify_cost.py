"""What few-shot classification costs with latents given, beside scikit-learn's, in one run.

    python benchmarks/classify_cost.py -o cost.json
    python benchmarks/classify_cost.py --dims 3072 --skip-lda --stream 100000

Fit and predict of 10 classes x 30 examples and 10,000 queries; 1,000 classes x 5 examples in one
process's peak memory; many latents streamed through `partial_fit`. LinearDiscriminantAnalysis
builds the D x D covariance; it runs once, and a limit of time is told where it passes it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable

import numpy as np
import psutil

from common import median_seconds, setting, table, write_json
from transflow import FewShotClassifier


def problem(classes: int, m: int, queries: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, dim), dtype=np.float32)
    y = np.repeat(np.arange(classes), m)
    x = centres[y] + rng.standard_normal((len(y), dim), dtype=np.float32)
    q = centres[rng.integers(classes, size=queries)] + rng.standard_normal((queries, dim), dtype=np.float32)
    return x, y, q


def lda(x: np.ndarray, y: np.ndarray, q: np.ndarray, queue: multiprocessing.Queue) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    begin = time.perf_counter()
    LinearDiscriminantAnalysis("lsqr", shrinkage="auto").fit(x, y).predict(q)
    queue.put(time.perf_counter() - begin)


def limited(function: Callable[..., None], arguments: tuple, seconds: float) -> float | None:
    """The time a function reports from a process of its own, or None past the limit."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=function, args=(*arguments, queue))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.terminate()
        return None
    return queue.get() if process.exitcode == 0 else None


def many_classes(dim: int, seed: int, queue: multiprocessing.Queue) -> None:
    x, y, q = problem(1000, 5, 1000, dim, seed)
    FewShotClassifier(noise="shared").fit(x, y).predict(q)
    info = psutil.Process().memory_info()
    queue.put(getattr(info, "peak_wset", 0) or peak())


def peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def stream(total: int, dim: int, seed: int) -> list[tuple[int, float]]:
    """Memory in MiB while latents go through `partial_fit` in batches."""
    rng = np.random.default_rng(seed)
    classifier, seen, memory = FewShotClassifier(noise="pooled"), 0, []
    marks = {round(total * share) for share in (0.1, 0.25, 0.5, 0.75, 1.0)}
    while seen < total:
        batch = min(1000, total - seen)
        y = np.arange(batch) % 10
        x = rng.standard_normal((batch, dim), dtype=np.float32) + y[:, None].astype(np.float32)
        classifier.partial_fit(x, y)
        seen += batch
        if any(seen - batch < mark <= seen for mark in marks):
            memory.append((seen, psutil.Process().memory_info().rss / 2**20))
    return memory


def main() -> None:
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", default="3072,12288")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lda-limit", type=float, default=900, help="seconds")
    parser.add_argument("--skip-lda", action="store_true")
    parser.add_argument("--stream", type=int, default=1_000_000, help="latents to stream; 0 for none")
    parser.add_argument("--stream-dim", type=int, default=256)
    parser.add_argument("--many-dim", type=int, default=12_288, help="D of 1,000 classes; 0 to leave out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="classify_cost.json")
    a = parser.parse_args()
    content = setting(a.seed) | {"seconds": {}}
    for dim in map(int, a.dims.split(",")):
        x, y, q = problem(10, 30, a.queries, dim, a.seed)
        ways = {
            "NearestCentroid": NearestCentroid(),
            "transflow, lambda I": FewShotClassifier(noise="0.5m"),
            "transflow, shared covariance": FewShotClassifier(noise="shared"),
            "transflow, auto": FewShotClassifier(),
            "KNeighborsClassifier": KNeighborsClassifier(1, algorithm="brute"),
        }
        seconds = {
            name: median_seconds(lambda w=way, x=x, y=y, q=q: w.fit(x, y).predict(q), a.repeats)
            for name, way in ways.items()
        }
        if not a.skip_lda:
            taken = limited(lda, (x, y, q), a.lda_limit)
            seconds["LinearDiscriminantAnalysis"] = taken if taken is not None else float("nan")
            if taken is None:
                print(f"LinearDiscriminantAnalysis did not finish within {a.lda_limit:.0f} s at D = {dim}")
        base = seconds["NearestCentroid"]
        print(f"D = {dim}, 10 classes x 30, {a.queries} queries: fit and predict")
        print(table(("", "seconds", "of NearestCentroid"), [(n, s, s / base) for n, s in seconds.items()]) + "\n")
        content["seconds"][dim] = seconds
    if a.many_dim:
        memory = limited(many_classes, (a.many_dim, a.seed), 3600)
        if memory is not None:
            print(f"1,000 classes x 5 at D = {a.many_dim}, shared covariance: peak {memory / 2**30:.2f} GiB\n")
        content["many_classes_bytes"] = memory
    if a.stream:
        content["stream"] = stream(a.stream, a.stream_dim, a.seed)
        print(f"streamed latents of D = {a.stream_dim} through partial_fit:")
        print(table(("latents", "MiB"), [(f"{n:,}", m) for n, m in content["stream"]]))
    write_json(a.output, content)


if __name__ == "__main__":
    main()
