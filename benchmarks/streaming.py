"""The rate of encoding files, as a share of the model's own rate on pixels in memory, and peak memory.

    python benchmarks/streaming.py -o streaming.json
    python benchmarks/streaming.py --pictures 5000 --segments 4 -o streaming.json

Picture files (samples of the model, each with a few pixels of its own) are written to a temporary
folder. The rates are of segments that alternate: so many files through `Model.stream`, then as many
pictures in memory through the model's `encode`. The share is the median of the pairs' ratios. Peak
memory is that of a process of its own that conditions the model on all files, at several numbers of
them. With --segments 0, memory alone; --small takes a random model of the same D that encodes at
once, so that a large set takes a minute: memory and reading are the same.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from common import setting, table, write_json
from transflow import Encoded, Glow, GlowConfig, Model, load
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.pictures import grids as figures
from transflow.pictures.pixels import PixelFormat
from transflow.pictures.preprocess import BATCH


def draw(model: Model, folder: Path, count: int, suffix: str, seed: int) -> list[Path]:
    """Picture files, all different."""
    own = figures.to_uint8(model.pictures(model.prior, 256, seed=seed, temperature=0.7))
    own = own.permute(0, 2, 3, 1).numpy()
    rng = np.random.default_rng(seed)
    files = []
    for i in range(count):
        pixels = own[i % len(own)].copy()
        pixels[:4, :4] = rng.integers(0, 256, (4, 4, pixels.shape[2]), dtype=np.uint8)
        files.append(folder / f"{i // 10_000:03d}" / f"{i:07d}{suffix}")
        if i % 10_000 == 0:
            files[-1].parent.mkdir()
        Image.fromarray(pixels.squeeze()).save(
            files[-1], **({"compress_level": 1} if suffix == ".png" else {"quality": 90})
        )
    return files


def rates(model: Model, files: list[Path], segment: int, segments: int) -> list[tuple[float, float]]:
    """Pictures a second by stream and in memory, of alternate segments."""
    pixels = model.preprocess(files[:segment])
    model.encode(pixels[:128])
    found = []
    for i in range(segments):
        part = files[i * segment % len(files) :][:segment]
        times = {}
        for way in ("stream", "memory") if i % 2 == 0 else ("memory", "stream"):
            begin = time.perf_counter()
            if way == "stream":
                count = sum(map(len, model.stream(part)))
            else:
                count = sum(len(model.source.encode(batch)) for batch in pixels.split(BATCH))
            times[way] = count / (time.perf_counter() - begin)
        found.append((times["stream"], times["memory"]))
    return found


def peaks(name: str, files: list[Path], marks: set[int], threads: int, queue: multiprocessing.Queue) -> None:
    """Pictures conditioned on by now, peak memory in MiB and seconds, at each mark."""
    torch.set_num_threads(threads)
    model = load(name)
    begin = time.perf_counter()

    def watched() -> Iterator[Encoded]:
        count = 0
        for part in model.stream(files):
            yield part
            before, count = count, count + len(part)
            if any(before < mark <= count for mark in marks):
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                queue.put((count, peak, time.perf_counter() - begin))

    assert model.condition(watched()).evidence.count == len(files)
    queue.put(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="faces-32")
    parser.add_argument("--small", action="store_true", help="take a small random model instead")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--segment", type=int, default=1024, help="pictures of each timed segment")
    parser.add_argument("--segments", type=int, default=12, help="pairs of segments")
    parser.add_argument("--suffix", choices=[".png", ".jpg"], default=".png")
    parser.add_argument("--shares", default="0.1,0.25,0.5,1", help="of the pictures, for peak memory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="streaming.json")
    a = parser.parse_args()
    if a.small:
        a.model = tempfile.mkstemp(suffix=".safetensors")[1]
        torch.manual_seed(a.seed)
        save_model(a.model, PictureModel(Glow(GlowConfig(steps=(1, 1), width=(4, 4))), PixelFormat(5), {}))
    model = load(a.model)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        files = draw(model, Path(folder), a.pictures, a.suffix, a.seed)
        found = rates(model, files, min(a.segment, len(files)), a.segments)
        share = statistics.median(stream / memory for stream, memory in found) if found else None
        if found:
            rows = [(str(i), stream, memory, stream / memory) for i, (stream, memory) in enumerate(found)]
            print(table(("segment", "files/s", "in memory/s", "share"), rows))
            print(f"share of the model's own rate, median of {len(found)} pairs: {share:.1%}\n", flush=True)
        memory = []
        queue = context.Queue()
        marks = {round(float(share) * len(files)) for share in a.shares.split(",")}
        process = context.Process(target=peaks, args=(a.model, files, marks, torch.get_num_threads(), queue))
        process.start()
        while (told := queue.get()) is not None:
            memory.append(told)
            print("{:,} pictures: peak {:.0f} MiB, {:.0f} s".format(*told), flush=True)
        process.join()
    print("\n" + table(("pictures", "peak MiB", "seconds"), [(f"{n:,}", *rest) for n, *rest in memory]))
    write_json(a.output, setting(a.seed) | {"rates": found, "share": share, "memory": memory})


if __name__ == "__main__":
    main()
