"""Fine-tuning: faces-32 trained on with the evidence by its loss, for a while, or until pictures left out get worse.

    least over weights   - mean log p(x_i) / D,   from the trained weights, by Adam (benchmarks/fine_tuning.py)

Early stopping: a quarter of the evidence is left out; after every half minute its bits per dimension are measured, and
training ends when they were not less for three in a row; the weights of the best are kept. Each half minute begins with
new moments, and its rate falls in the second half of it. Samples are drawn at temperature 0.9.

Minutes are those of the processor on all threads, as if nothing else ran; the seconds in the table are by the clock.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

import fine_tuning
from method import Diverged, Meter, Method, Result, Task, timed
from transflow import Model, load
from transflow.pictures import grids
from transflow.store import container
from transflow.training.output import held_out_bits
from transflow.training.state import SCHEMA

TEMPERATURE = 0.9
SLICE, PATIENCE, LEFT_OUT = 0.5, 3, 4  # minutes; slices; one in so many pictures


def processor_seconds(minutes: float) -> float:
    return 60 * minutes * torch.get_num_threads()


def result(task: Task, tuned: Model, seconds: float, evaluations: float, meter: Meter) -> Result:
    """Return samples of a tuned model; seconds are those of its training in runs before this one and in this."""
    n = len(task.sources)
    made, drawing = timed(
        lambda: grids.to_uint8(tuned.pictures(tuned.prior, n, seed=task.seed, temperature=TEMPERATURE))
    )
    return Result(made, False, seconds + drawing / n, drawing / n, evaluations + 1, meter.gigabytes)


def for_minutes(task: Task, minutes: float) -> Result:
    """Tune for so many minutes, at most the task's."""
    meter = Meter()
    model, path = load("faces-32"), task.folder / "tuned.safetensors"
    before = spent_before(path)
    task.folder.mkdir(parents=True, exist_ok=True)
    seconds = processor_seconds(min(minutes, task.minutes))
    try:
        tuned, steps = fine_tuning.fine_tuned(model, task.evidence, seconds, task.seed, path=path)
    except FloatingPointError as error:
        raise Diverged(str(error)) from None
    return result(task, tuned, before + meter.seconds, 3 * steps * len(task.evidence), meter)


def stopped_early(task: Task, minutes: float) -> Result:
    """Tune until pictures left out get worse; each slice is kept, so that an interrupted run goes on after the last."""
    meter = Meter()
    model = load("faces-32")
    order = torch.randperm(len(task.evidence), generator=torch.Generator().manual_seed(task.seed))
    held_out, rest = task.evidence[order].tensor_split([len(order) // LEFT_OUT])
    task.folder.mkdir(parents=True, exist_ok=True)
    best, tuned, least, at = model, model, held_out_bits(model.source, held_out), 0
    spent, evaluations, k = 0.0, float(len(held_out)), 0
    share = min(SLICE, task.minutes / 4)
    while k - at < PATIENCE and (k + 1) * share <= min(minutes, task.minutes):
        k += 1
        path, begun = task.folder / f"slice-{k}.pt", time.perf_counter()
        if path.exists():
            kept = torch.load(path, weights_only=True)
            tuned = _with_weights(model, kept.pop("weights"))
        else:
            try:
                tuned, steps = fine_tuning.fine_tuned(tuned, rest, processor_seconds(share), task.seed + 1000 * k)
            except FloatingPointError as error:
                raise Diverged(str(error)) from None
            kept = {"bits": held_out_bits(tuned.source, held_out), "steps": steps}
            kept["seconds"] = time.perf_counter() - begun
            half = path.with_suffix(".part")
            torch.save(kept | {"weights": tuned.source.flow.state_dict()}, half)
            half.replace(path)
        spent += kept["seconds"]
        evaluations += 3 * kept["steps"] * len(rest) + len(held_out)
        if kept["bits"] < least:
            best, least, at = tuned, kept["bits"], k
    return result(task, best, spent, evaluations, meter)


def _with_weights(model: Model, weights: dict[str, torch.Tensor]) -> Model:
    """Return the model with other weights."""
    other = copy.deepcopy(model.source.flow)
    other.load_state_dict(weights)
    return replace(model, source=replace(model.source, flow=other))


def spent_before(path: Path) -> float:
    """Return the seconds by the clock, had nothing else run, of the state of a run that was interrupted."""
    seconds = container.header(path, SCHEMA)["seconds"] if path.exists() else 0.0
    return float(seconds) / torch.get_num_threads()


HOUSE = "benchmarks/fine_tuning.py"
KEPT = frozenset({"likelihood", "interpolation"})
METHODS = (
    Method(
        "fine-tuned 1 min, 24 pictures", HOUSE, partial(for_minutes, minutes=1.0), "minutes, rate, temperature", KEPT
    ),
    Method(
        "fine-tuned 10 min, 24 pictures", HOUSE, partial(for_minutes, minutes=10.0), "minutes, rate, temperature", KEPT
    ),
    Method(
        "fine-tuned, stopped early, 24 pictures", HOUSE, partial(stopped_early, minutes=10.0), "rate, temperature", KEPT
    ),
)
