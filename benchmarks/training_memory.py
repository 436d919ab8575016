"""Memory and time of a training step by depth, plainly and with activations computed back.

    python benchmarks/training_memory.py -o training_memory.json

A Glow of three levels of K steps on pictures that the bundled model drew, after a few steps of training.
The peak is that of the allocator during forward and backward, less the gradients; what weights, gradients,
Adam's two moments and the moving average take grows with K either way, and stands beside it. Times of a
row are taken in turn. "apart" is the relative distance of the two gradients, "bf16 apart" that of the plain
gradients in bfloat16 and in float32. "drift" is the largest error in what comes into a level, computed back
from what goes out of it; "in single" what it would be if the way back were not kept in double. The few steps
of training are without warm-up and leave a rough flow, on purpose.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from common import setting, table, write_json
from transflow import GlowConfig, TrainConfig, load
from transflow.generative.bijections import Coupling, squeeze
from transflow.generative.glow import Glow
from transflow.generative.glow_reversible import _back, _forth, reversible
from transflow.pictures import grids as figures
from transflow.training.data import draw_batch
from transflow.training.losses import negative_log_likelihood
from transflow.training.state import TrainingState

MIB = 2**20


def gradients(flow: Glow, x: Tensor, precision: str) -> list[Tensor]:
    """Gradients of the training loss by each weight; nothing is left behind."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        loss = negative_log_likelihood(flow, x).mean()
    return list(torch.autograd.grad(loss, list(flow.parameters())))


def peak(flow: Glow, x: Tensor, precision: str) -> float:
    """Most bytes held during forward and backward beyond those held before and the gradients, in MiB."""
    size = sum(p.numel() * p.element_size() for p in flow.parameters())
    gc.collect()
    if x.is_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        gradients(flow, x, precision)
        return (torch.cuda.max_memory_allocated() - before - size) / MIB
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as told:
        gradients(flow, x, precision)
    events = [e for e in told.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return (most - size) / MIB


@torch.no_grad()
def drift(flow: Glow, x: Tensor, precision: str) -> tuple[float, float]:
    """Largest error of what came into a level, computed back as `reversible` does it, and in single precision."""
    half = precision == "bfloat16"
    most, plainly = 0.0, 0.0
    for level in flow.levels:
        x = squeeze(x)
        z = x.double()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half, cache_enabled=False):
            for layer in level:
                z, _ = _forth(layer, z)
            for layer in reversed(level):
                z, *_ = _back(layer, z, torch.zeros_like(z, dtype=x.dtype), x.new_zeros(len(x)), [])
            back = out = level(x)[0]
            for layer in reversed(level):
                with torch.autocast(x.device.type, torch.bfloat16, enabled=half and isinstance(layer, Coupling)):
                    back = layer.inverse(back)
        most = max(most, float((z - x).abs().max()))
        plainly = max(plainly, float((back - x).abs().max()))
        x = out.chunk(2, 1)[0]
    return most, plainly


def distance(a: list[Tensor], b: list[Tensor]) -> float:
    apart = sum((x - y).double().square().sum() for x, y in zip(a, b, strict=True))
    return float((apart / sum(y.double().square().sum() for y in b)).sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", default="8,16,32,64", help="K, by commas")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--train", type=int, default=20, help="steps of training before anything is measured")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="training_memory.json")
    a = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load("faces-32")
    pixels = figures.to_uint8(model.pictures(model.prior, 256, seed=a.seed, temperature=0.7))
    rows, content = [], []
    for depth in map(int, a.depths.split(",")):
        glow = GlowConfig(steps=(depth,) * 3, width=(a.width,) * 3)
        run = TrainingState(TrainConfig(glow=glow, batch=a.batch, seed=a.seed, warmup=a.train), device)
        run.initialise(pixels)
        for _ in range(a.train):
            run.update(negative_log_likelihood(run.flow, draw_batch(pixels, run)).mean())
            run.seen += a.batch
        run.optimiser.zero_grad(set_to_none=True)
        x = draw_batch(pixels, run)
        flows = {"plain": run.flow, "reversible": reversible(run.flow)}
        state = sum(5 * p.numel() * p.element_size() for p in run.flow.parameters()) / MIB
        row: dict[str, float] = {"K": depth, "state_mib": state}
        for precision in ("float32", "bfloat16"):
            found = {name: gradients(flow, x, precision) for name, flow in flows.items()}
            row[f"{precision}_apart"] = distance(found["reversible"], found["plain"])
            if precision == "float32":
                exact = found["plain"]
            else:
                row["bfloat16_error"] = distance(found["plain"], exact)
            del found
            for name, flow in flows.items():
                row[f"{precision}_{name}_mib"] = peak(flow, x, precision)
            times: dict[str, list[float]] = {name: [] for name in flows}
            for _ in range(a.repeats):
                for name, flow in flows.items():
                    begin = time.perf_counter()
                    gradients(flow, x, precision)
                    if x.is_cuda:
                        torch.cuda.synchronize()
                    times[name].append(time.perf_counter() - begin)
            plain, back = (statistics.median(times[name]) for name in flows)
            row |= {f"{precision}_seconds": plain, f"{precision}_time_ratio": back / plain}
            row[f"{precision}_drift"], row[f"{precision}_drift_single"] = drift(run.flow, x, precision)
        content.append(row)
        print(f"K = {depth} done", flush=True)
    for precision in ("float32", "bfloat16"):
        rows = [
            (
                str(row["K"]),
                *(row[f"{precision}_{what}"] for what in ("plain_mib", "reversible_mib")),
                row["state_mib"],
                *(row[f"{precision}_{what}"] for what in ("time_ratio", "drift", "drift_single", "apart")),
                *([row["bfloat16_error"]] if precision == "bfloat16" else []),
            )
            for row in content
        ]
        last = ["bf16 apart"] if precision == "bfloat16" else []
        print(f"\n{precision}, {a.batch} pictures of 3 x 32 x 32, {a.width} hidden channels, 3 levels of K steps\n")
        print(
            table(
                (
                    "K",
                    "plain, MiB",
                    "reversible, MiB",
                    "weights etc.",
                    "time ratio",
                    "drift",
                    "in single",
                    "apart",
                    *last,
                ),
                rows,
            )
        )
    write_json(a.output, setting(a.seed) | {"batch": a.batch, "width": a.width, "rows": content})


if __name__ == "__main__":
    main()
