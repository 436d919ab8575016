"""Training, read from top to bottom: a model of any family, a loop, and files from which the run resumes.

Each step draws a batch of pictures, adds uniform noise within the bins of their pixels, and goes down the gradient of
the family's loss, for a flow the mean of ``-log p(x) / D``; the model that is kept is an exponential moving average of
the weights. All that a run needs to go on is one safetensors file beside the model, written whole or not at all, so a
killed run loses at most the last interval.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transflow.conditioning.model import Model
from transflow.devices import faster_precision, find_device
from transflow.library.load import load
from transflow.metrics import bits_per_dim
from transflow.pictures import decode
from transflow.pictures.given import Source, as_list
from transflow.store.files import PathLike
from transflow.store.locks import locked
from transflow.training.adversarial import AdversarialState
from transflow.training.begin import config_from, weights_for
from transflow.training.config import PICTURES_PER_OUTLIER, TrainConfig
from transflow.training.data import check_pictures, draw_inputs, epoch_order, read_groups, split
from transflow.training.losses import BatchLoss
from transflow.training.output import RunFiles, facts
from transflow.training.output import read_config as read_config
from transflow.training.ranks import Ranks, process_group
from transflow.training.state import LOWER, TrainingState, read_device

INITIALISED_ON = 256  # pictures
RECENT = 100  # steps whose mean loss is reported


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step.

    Attributes:
        step: steps taken.
        seen: pictures shown.
        share: of the budget that is spent, 0 to 1.
        bits_per_dim: mean of the last 100 steps; NaN for a family whose loss is no likelihood.
        pictures_per_second: of this step.
        minutes_left: at that rate.
        skipped: steps whose loss was not finite.
        held_out: the last validation, in bits per dimension or as the family's loss is; None before the first.
        loss: mean of the last 100 steps, nats per dimension or as the family's loss is.
        precision: of the networks, chosen where the config says "auto".
        compiled: whether steps go through torch.compile.
    """

    step: int
    seen: int
    share: float
    bits_per_dim: float
    pictures_per_second: float
    minutes_left: float
    skipped: int
    held_out: float | None = None
    loss: float = math.nan
    precision: str = ""
    compiled: bool = False


@torch.inference_mode(False)  # a run has gradients wherever it is called
@torch.enable_grad()
def train(
    pictures: Source | Iterable[Source],
    output: PathLike,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    begin_from: PathLike | None = None,
    stop_after: float | None = None,
    groups: PathLike | None = None,
    card: dict[str, Any] | None = None,
    on_bad: decode.OnBad | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Model:
    """Train a model on pictures and write it; return what `load` returns of it.

    Beside ``output``, for example ``m.safetensors``, stand ``m.metrics.jsonl``, one line a checkpoint,
    ``m.samples.png``, and ``m.training.safetensors``, from which ``resume`` goes on. Started by ``torchrun``,
    all processes train one model together; the folder of ``output`` must be one that all of them see.

    Args:
        pictures: a folder, a tar, or files.
        output: the model file to write; a new one, but with ``resume``, and not among the pictures.
        config: how; the defaults train a small 32x32 Glow for an hour, or go on as the run was begun.
        resume: go on from the last checkpoint. A config then has the budget of the whole run, not what is to be
            added, and is otherwise the one that the run was begun with (see `TrainingState.resume`).
        begin_from: a model's file or name, whose weights the run begins with, the optimiser's moments lost and the
            learning rate warmed up anew. Without a config, its architecture is trained. Of a pyramid's file, the
            part of the config's family and size is taken.
        stop_after: minutes by the clock after which this call stops, for ``resume`` to go on; the learning rate
            falls towards the end of the budget all the same.
        groups: a CSV whose first two columns are file name and group; groups are held out whole.
        card: what to write into the model's card: name, data, licence.
        on_bad: called, in the first process, with a message for each file that is not a picture; the file is skipped.
            Without it, such a file is an error.
        device: where; by default the processor, as everywhere, or where the run was begun that is resumed.
        report: called after each step, in the first process.

    Raises:
        FileExistsError: the output exists, or a run for it can be resumed, and ``resume`` is False.
        FloatingPointError: the loss is not finite, step after step.
    """
    begun = time.monotonic()
    if config is not None and not isinstance(config, TrainConfig):
        raise TypeError(f"Expected a TrainConfig; got {type(config).__name__}.")
    if stop_after is not None and not stop_after > 0:
        raise ValueError(f"Expected to stop after more than 0 minutes; got {stop_after}.")
    if resume and begin_from is not None:
        raise ValueError("Expected a run to resume or a model to begin from; got both.")
    pictures, files = as_list(pictures), RunFiles(output)
    files.check(pictures)
    config = config_from(begin_from) if begin_from is not None and config is None else config
    table = read_groups(groups) if groups is not None else None
    device = device or (read_device(files.state) if resume else None)
    with process_group(find_device(device)) as (ranks, where), locked(files.output, *files.all):
        state = open_run(files, config, resume, where)
        config = state.config
        ranks.check_divisible(config.batch)
        ranks.check_enough(config.batch, config.family.together)
        if ranks.size > 1 and config.family.adversary:
            raise ValueError(f"Expected one process for the family {config.family_name}; got {ranks.size}.")
        if config.outliers:
            ranks.check_divisible(config.batch // PICTURES_PER_OUTLIER)
        on_bad = on_bad if on_bad is None or ranks.first else lambda _: None
        read = decode.read(pictures, config.architecture.shape, on_bad=on_bad)
        training, held_out = split(read, config, table)
        state.bind(training)
        if not resume:
            check_pictures(training, config)
            state.initialise(training[epoch_order(state.count, 0, config.seed)[:INITIALISED_ON]])
        if begin_from is not None:
            state.begin_from(weights_for(begin_from, config), begin_from)
            state.card["begun_from"] = Path(begin_from).name
        state.config = replace(config, precision=choose_precision(state, ranks))
        state.card |= {key: value for key, value in (card or {}).items() if value}
        state.card |= facts(state, training, held_out)
        until = begun + 60 * (math.inf if stop_after is None else stop_after)
        run_steps(state, training, held_out, files, ranks, until, report)
        if ranks.first and state.progress >= 1:
            files.write_final(state, held_out)
        ranks.wait()
    return load(files.output)


def open_run(files: RunFiles, config: TrainConfig | None, resume: bool, device: torch.device) -> TrainingState:
    """Return the state of a new run, or that of the one in the files."""
    if not resume:
        files.check_new()
    begun = read_config(files.output) if resume else config or TrainConfig()
    kind = AdversarialState if begun.family.adversary else TrainingState
    if not resume:
        return kind(begun, device)
    state = kind.resume(files.state, config, device)
    files.truncate(state.step)
    return state


def choose_precision(state: TrainingState, ranks: Ranks) -> str:
    """Return the precision of a run: where the config leaves it open, the one it was begun in or the faster one."""
    if state.config.precision != "auto":
        return state.config.precision
    if state.config.family.adversary:
        return "float32"
    if state.card.get("device") == state.device.type:
        return str(state.card["precision"])
    (half,) = ranks.broadcast(faster_precision(state.device) == "bfloat16")
    return "bfloat16" if half else "float32"


def run_steps(
    state: TrainingState,
    training: Tensor,
    held_out: Tensor,
    files: RunFiles,
    ranks: Ranks,
    until: float,
    report: Callable[[Progress], None] | None,
) -> None:
    """Take steps, and write checkpoints, to the end of the budget or until the clock, of `time.monotonic`, says so."""
    config = state.config
    loss_of = BatchLoss(state, ranks)
    recent: deque[float] = deque(maxlen=RECENT)
    saved = time.monotonic()
    first, over = True, False
    while state.progress < 1 and not over:
        begin = time.monotonic()
        if isinstance(state, AdversarialState):
            step_loss = state.take_step(training)
        else:
            step_loss = take_step(state, training, loss_of, ranks)
        recent += [step_loss] if math.isfinite(step_loss) else []
        now = time.monotonic()
        seconds, past = ranks.broadcast(now - begin, now > until)
        over = bool(past)
        state.seconds += 0.0 if first else seconds  # the first step compiles
        first = False
        if not ranks.first:
            continue
        loss = sum(recent) / len(recent) if recent else math.nan
        bits = float(bits_per_dim(-loss, 1, config.bits)) if config.family.likelihood else math.nan
        last, due = state.progress >= 1 or over, time.monotonic() - saved > config.interval * 60
        if last or (due and not state.skipped_in_a_row):
            state.fit(training)
            if isinstance(state, AdversarialState):
                state.check(training)
            written = files.write_checkpoint(state, held_out, bits if config.family.likelihood else loss)
            if last and not written:
                raise FloatingPointError(
                    f"Expected a finite loss at the end; got {state.skipped} skipped steps. {LOWER}"
                )
            saved = time.monotonic()
        if report:
            rate = config.batch / seconds
            left = config.minutes - state.seconds / 60
            if config.epochs is not None:
                left = (config.epochs * state.count - state.seen) / rate / 60
            where = (state.step, state.seen, state.progress, bits, rate, left, state.skipped, state.held_out)
            report(Progress(*where, loss, config.precision, loss_of.compiles))


def take_step(state: TrainingState, pixels: Tensor, loss_of: BatchLoss, ranks: Ranks) -> float:
    """Take a step with this rank's share of the next batch; return the mean loss of all its pictures but outliers."""
    batch = state.config.batch

    def share(rows: Tensor) -> Tensor:
        if ranks.size > 1:
            rows = torch.cat([ranks.share(rows[:batch]), ranks.share(rows[batch:])])
        return rows.contiguous(memory_format=torch.channels_last) if rows.ndim == 4 else rows

    inputs = map(share, draw_inputs(pixels, state))
    with state.randomness(ranks.rank, compiled=loss_of.compiles):
        loss, mean = map(ranks.mean, loss_of(*inputs))
    state.update(loss)
    state.seen += batch
    return mean.item()
