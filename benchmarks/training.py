"""Pictures a second in training, beside normflows' Glow of the same architecture, in one run and in turn.

    python benchmarks/training.py -o training.json

Both train three levels of K steps on 3 x 32 x 32 pictures. transflow takes whole steps of its own loop: the
batch, the loss, clipping, Adam, the moving average. normflows is trained as its Glow example does it:
`forward_kld`, Adamax. transflow's model has one more coupling at each split, the learned prior of what leaves
there. Needs `pip install normflows`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version

import normflows as nf
import torch

from common import setting, table, write_json
from transflow import GlowConfig, TrainConfig, load
from transflow.pictures import grids as figures
from transflow.training.data import draw_batch
from transflow.training.loop import take_step
from transflow.training.losses import BatchLoss
from transflow.training.ranks import Ranks
from transflow.training.state import TrainingState


def normflows_glow(steps: int, levels: int, width: int) -> nf.MultiscaleFlow:
    """The model of normflows' Glow example, without classes."""
    bases, flows, merges = [], [], []
    for i in range(levels):
        channels = 3 * 2 ** (levels + 1 - i)
        blocks = [nf.flows.GlowBlock(channels, width, split_mode="channel", scale=True) for _ in range(steps)]
        flows.append([*blocks, nf.flows.Squeeze()])
        if i > 0:
            merges.append(nf.flows.Merge())
            shape = (3 * 2 ** (levels - i), 32 // 2 ** (levels - i), 32 // 2 ** (levels - i))
        else:
            shape = (3 * 2 ** (levels + 1), 32 // 2**levels, 32 // 2**levels)
        bases.append(nf.distributions.DiagGaussian(shape))
    return nf.MultiscaleFlow(bases, flows, merges, class_cond=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-K", "--steps", type=int, default=8)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="training.json")
    a = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load("faces-32")
    pixels = figures.to_uint8(model.pictures(model.prior, 512, seed=a.seed, temperature=0.8))
    glow = GlowConfig(steps=(a.steps,) * 3, width=(a.width,) * 3)
    base = TrainConfig(glow=glow, batch=a.batch, seed=a.seed, compile=False)

    def ours(precision: str = "float32", **changes: bool) -> Callable[[], float]:
        run = TrainingState(replace(base, precision=precision, **changes), device)
        run.initialise(pixels[:256])
        loss_of = BatchLoss(run, Ranks())
        return lambda: take_step(run, pixels, loss_of, Ranks())

    torch.manual_seed(a.seed)
    theirs = normflows_glow(a.steps, 3, a.width).to(device)
    optimiser = torch.optim.Adamax(theirs.parameters(), lr=1e-3, weight_decay=1e-5)
    batches = TrainingState(base, device)

    def their_step() -> float:
        x = draw_batch(pixels, batches)
        batches.seen += a.batch
        optimiser.zero_grad()
        loss = theirs.forward_kld(x)
        if ~(torch.isnan(loss) | torch.isinf(loss)):
            loss.backward()
            optimiser.step()
        return loss.item()

    methods = {
        "normflows": their_step,
        "eager, float32": ours(),
        "eager, bfloat16": ours("bfloat16"),
        "compiled, float32": ours(compile=True),
        "compiled, bfloat16": ours("bfloat16", compile=True),
        "reversible, float32": ours(reversible=True),
        "reversible, bfloat16": ours("bfloat16", reversible=True),
    }
    times: dict[str, list[float]] = {name: [] for name in methods}
    for i in range(-2, a.rounds):  # the first two are not counted: compiling, and data-dependent starts
        for name, step in methods.items():
            begin = time.perf_counter()
            step()
            if i >= 0:
                times[name].append(time.perf_counter() - begin)
    seconds = {name: statistics.median(t) for name, t in times.items()}
    rows = []
    for name, t in seconds.items():
        ratios = [b / c for b, c in zip(times["normflows"], times[name], strict=True)]
        rows.append([name, a.batch / t, statistics.median(ratios), min(ratios), max(ratios)])
    count = sum(p.numel() for p in theirs.parameters()), sum(p.numel() for p in batches.flow.parameters())
    print(f"3 levels of {a.steps} steps, {a.width} hidden channels, batches of {a.batch}, on {device.type}")
    print(f"parameters: normflows {count[0]:,}, transflow {count[1]:,}\n")
    print(table(("training", "images/s", "times normflows", "least", "most"), rows))
    print("\nRatios are medians, least and most of those within each round.\n")
    content = setting(a.seed) | {"steps": a.steps, "width": a.width, "batch": a.batch, "parameters": count}
    write_json(a.output, content | {"normflows": version("normflows"), "seconds": times, "table": rows})


if __name__ == "__main__":
    main()
