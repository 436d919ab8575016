"""The price of training: samples of the model fine-tuned on the evidence for minutes of one processor.

    python benchmarks/fine_tuning.py --data DATA --minutes 1 --seeds 0 -m 24
    python benchmarks/fewshot_generation.py --data DATA --trained -o runs/look/trained.jsonl

The same draws of evidence as in fewshot_generation.py; samples at several temperatures, kept for it in the cache. Time
is that of the processor, one thread, so that other programs do not count. The digits' own flow is left out.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import kinds
from judge import broken
from transflow import Model, TrainConfig, load
from transflow.pictures import grids
from transflow.training.loop import take_step
from transflow.training.losses import BatchLoss
from transflow.training.ranks import Ranks
from transflow.training.state import TrainingState

TEMPERATURES = (0.7, 0.9, 1.0)
SAVED_EVERY = 60.0  # seconds


def fine_tuned(
    model: Model, pictures: Tensor, seconds: float, seed: int, rate: float = 1e-4, path: Path | None = None
) -> tuple[Model, int]:
    """Return a model of the house trained on with pictures (m, C, H, W), uint8, for seconds of the processor.

    Adam from the trained weights, all pictures in each step, mirrored at random, with a moving average, as the
    project's training goes; the rate falls in the second half of the time. How many steps it took is returned, too.
    With a path, the state of it is written there every minute, and a run that was stopped goes on from there.
    """
    source = model.source
    config = TrainConfig(
        model=source.flow.config,
        bits=source.bits,
        batch=min(24, len(pictures)),
        learning_rate=rate,
        warmup=10,
        ema=0.98,
        minutes=seconds / 60,
        precision="float32",
        compile=False,
        seed=seed,
    )
    device = torch.device("cpu")
    if path and path.exists():
        state = TrainingState.resume(path, config, device)
    else:
        state = TrainingState(config, device)
        state.flow.load_state_dict(source.flow.state_dict())
        state.average.load_state_dict(source.flow.state_dict())
    state.bind(pictures)
    ranks = Ranks()
    loss_of = BatchLoss(state, ranks)
    begun = time.process_time() - state.seconds
    saved = time.monotonic()
    while state.progress < 1:
        take_step(state, pictures, loss_of, ranks)
        state.seconds = time.process_time() - begun
        if path and (time.monotonic() - saved > SAVED_EVERY or state.progress >= 1):
            state.save(path)
            saved = time.monotonic()
    return replace(
        model, source=replace(source, flow=copy.deepcopy(state.average)), name=f"{model.name}, tuned"
    ), state.step


def slug(name: str, m: int, seed: int) -> str:
    """What the samples' files of a draw begin with."""
    return f"tuned-{name.replace(' ', '-')}-{m}-{seed}"


def samples(cache: Path, name: str, m: int, seed: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield way, pictures, uint8, and which are broken, of what is kept for a draw."""
    for path in sorted(cache.glob(f"{slug(name, m, seed)}-*.pt")):
        minutes, temperature = path.stem.rsplit("-", 2)[1:]
        kept = torch.load(path, weights_only=True)
        yield f"fine-tuned {minutes} min, T = {temperature}", kept["pictures"], kept["broken"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--drawn", type=Path, default=Path("drawn"))
    parser.add_argument("--kinds", default=",".join(k for k in kinds.names() if "own flow" not in k))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("-m", type=int, default=24)
    parser.add_argument("-n", type=int, default=150)
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[0])
    parser.add_argument("--cache", type=Path, default=Path("runs/look/cache"))
    a = parser.parse_args()
    torch.set_num_threads(1)
    model = load("faces-32")
    photos = kinds.photographs(a.data, "faces-32", a.cache)
    for name in a.kinds.split(","):
        kind = kinds.make(name, photos, a.data, a.drawn, model.shape)
        for seed in a.seeds:
            drawn = kinds.draw(kind, a.m, seed, 300)
            last = a.cache / f"{slug(name, a.m, seed)}-{a.minutes:g}-{TEMPERATURES[-1]:g}.pt"
            if drawn is None or last.exists():
                continue
            tuned, steps = fine_tuned(model, kind.pictures[drawn.evidence], 60 * a.minutes, seed)
            for temperature in TEMPERATURES:
                z = tuned.prior.sample(a.n, seed=seed, temperature=temperature)
                unclamped = tuned.source.decode_unclamped(z)
                kept = {"pictures": grids.to_uint8(unclamped), "broken": broken(unclamped)}
                torch.save(kept, last.with_stem(f"{slug(name, a.m, seed)}-{a.minutes:g}-{temperature:g}"))
            print(f"{name}, seed {seed}: {steps} steps in {a.minutes:g} min", flush=True)


if __name__ == "__main__":
    main()
