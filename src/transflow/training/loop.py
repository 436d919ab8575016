"""Training a Glow by maximum likelihood: a model and a loop, read from top to bottom.

Each step draws a batch of pictures, adds uniform noise within the bins of their pixels, and goes
down the gradient of the mean of ``-log p(x) / D``; the model that is kept is an exponential moving
average of the weights. Everything that a run needs to go on is one safetensors file beside the
model, written whole or not at all, so a killed run loses at most the last interval.
"""

from __future__ import annotations

import csv
import json
import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from transflow._version import __version__
from transflow.gaussians.gaussian import Gaussian
from transflow.generative.bijections import ConvNet
from transflow.generative.glow_fused import full_float32
from transflow.generative.glow_reversible import reversible
from transflow.generative.model_file import load_model, save_model
from transflow.generative.picture_model import PictureModel
from transflow.metrics import bits_per_dim
from transflow.pictures import decode as data
from transflow.pictures import grids as figures
from transflow.pictures import sources as listing
from transflow.pictures.files import Source, as_list
from transflow.pictures.preprocess import BATCH
from transflow.store import container as checkpoint
from transflow.training import ranks as parallel
from transflow.training.outliers import penalty
from transflow.training.state import EVERY, Run, TrainConfig, begun, order


@dataclass(frozen=True)
class Progress:
    """Where a run stands, told after each step."""

    step: int
    seen: int
    share: float
    bits_per_dim: float
    pictures_per_second: float
    minutes_left: float
    skipped: int
    held_out: float | None = None


class Files:
    """The files of a run: the model, and beside it metrics, samples, and all that is needed to go on."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.state = output.with_suffix(".training.safetensors")
        self.metrics = output.with_suffix(".metrics.jsonl")
        self.samples = output.with_suffix(".samples.png")
        self.lines: list[str] = []

    def truncate(self, step: int) -> None:
        """Keep the metrics up to a step: what a killed run wrote after its last checkpoint is dropped."""
        lines = self.metrics.read_text().splitlines() if self.metrics.exists() else []
        self.lines = [line for line in lines if json.loads(line)["step"] <= step]

    def keep(self, run: Run, held_out: Tensor, bits: float) -> None:
        """Write a checkpoint."""
        run.held_out = held_out_bits(run.model, held_out[:1024])
        line = {"step": run.step, "pictures": run.seen, "minutes": round(run.seconds / 60, 3), "bits_per_dim": bits}
        line |= {"held_out": run.held_out, "learning_rate": run.learning_rate(), "skipped": run.skipped}
        self.lines.append(json.dumps(line))
        run.save(self.state)
        save_model(self.output, run.model)
        checkpoint.write_bytes(self.metrics, ("\n".join(self.lines) + "\n").encode())
        checkpoint.write_bytes(self.samples, sample_sheet(run.model))


def settings(output: checkpoint.PathLike) -> TrainConfig:
    """Return the settings that the run of a model file was begun with.

    Raises:
        OSError, ValueError: there is no run of this file to go on with.
    """
    return begun(Files(Path(output)).state)


def train(
    pictures: Source | Iterable[Source],
    output: checkpoint.PathLike,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    stop_after: float | None = None,
    groups: checkpoint.PathLike | None = None,
    card: dict[str, Any] | None = None,
    on_bad: Callable[[str], None] | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> PictureModel:
    """Train a Glow on pictures and write it; return it.

    Beside ``output`` (say ``m.safetensors``) stand ``m.metrics.jsonl``, one line a checkpoint,
    ``m.samples.png``, and ``m.training.safetensors``, from which ``resume`` goes on. Started by ``torchrun``,
    all processes train one model together; the folder of ``output`` must be one that all of them see.

    Args:
        pictures: a folder, a tar, or files.
        output: the model file to write; a new one, but with ``resume``, and not among the pictures.
        config: how; the defaults train a small 32x32 model for an hour, or go on as the run was begun.
        resume: go on from the last checkpoint. A config then has the budget of the whole run, not what is to be
            added, and is otherwise the one that the run was begun with (see `Run.resume`).
        stop_after: minutes by the clock after which this call stops, for ``resume`` to go on; the learning rate
            falls towards the end of the budget all the same.
        groups: a CSV whose first two columns are file name and group; groups are held out whole.
        card: what to write into the model's card: name, data, licence.
        on_bad: is told, in the first process, of each file that is no picture, which is left out; without it, that
            is an error.
        device: where; the default is CUDA if there is one.
        report: called after each step, in the first process.

    Raises:
        FileExistsError: there is such a file, or a run to it could go on, and ``resume`` was not said.
        FloatingPointError: the loss is not finite, step after step.
    """
    begun = time.monotonic()
    if stop_after is not None and not stop_after > 0:
        raise ValueError(f"Expected to stop after more than 0 minutes; got {stop_after}.")
    output = Path(output)
    checkpoint.check_writable(output)
    pictures = as_list(pictures)
    files = Files(output)
    listing.check_apart((output, files.state, files.metrics, files.samples), pictures)
    table = read_groups(groups) if groups is not None else None
    with parallel.joined(parallel.find_device(device)) as (ranks, where):
        if resume:
            run = Run.resume(files.state, config, where)
            files.truncate(run.step)
        elif files.state.exists():
            raise FileExistsError(f"Expected a new output, or --resume; got one whose run can go on: {files.state}")
        elif output.exists():
            raise FileExistsError(f"Expected a new output; got a file that is there: {output}")
        else:
            run = Run(config or TrainConfig(), where)
        config = run.config
        ranks.check(config.batch)
        if config.strange:
            ranks.check(config.batch // EVERY)
        tell = on_bad if on_bad is None or ranks.first else lambda _: None
        read = data.read(pictures, (config.glow.channels, config.glow.size, config.glow.size), on_bad=tell)
        training, held_out = split(read, config, table)
        run.take(training)
        if not resume:
            run.start(training[order(run.count, 0, config.seed)[:256]])
        precision = config.precision
        if precision == "auto" and run.card.get("device") == where.type:
            precision = run.card["precision"]  # what it was begun in
        if precision == "auto":
            (half,) = ranks.told(faster_precision(config, where) == "bfloat16" if ranks.first else 0.0)
            precision = "bfloat16" if half else "float32"
        run.card |= {key: value for key, value in (card or {}).items() if value}
        run.card |= {
            "parameters": sum(p.numel() for p in run.flow.parameters()),
            "precision": precision,
            "device": where.type,
            "training_pictures": len(training),
            "held_out_pictures": len(held_out),
            "held_out_share": config.held_out,
            "seed": config.seed,
            "made_with": f"transflow {__version__}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}",
        }
        loss_of = loss_function(run, precision, ranks)
        recent: deque[float] = deque(maxlen=100)
        saved = time.monotonic()
        compiling = True
        over = False
        while run.share < 1 and not over:
            begin = time.monotonic()
            recent.append(bits_per_dim(-take_step(run, training, loss_of, ranks), 1, config.bits))
            now = time.monotonic()
            took, past = ranks.told(now - begin, stop_after is not None and now - begun > 60 * stop_after)
            over = bool(past)
            run.seconds += 0.0 if compiling else took
            compiling = False
            bits = sum(recent) / len(recent)
            if ranks.first and (time.monotonic() - saved > config.interval * 60 or run.share >= 1 or over):
                files.keep(run, held_out, bits)
                saved = time.monotonic()
            if ranks.first and report:
                rate = config.batch / took
                left = config.minutes - run.seconds / 60
                if config.epochs is not None:
                    left = (config.epochs * run.count - run.seen) / rate / 60
                report(Progress(run.step, run.seen, run.share, bits, rate, left, run.skipped, run.held_out))
        if ranks.first and run.share >= 1:
            save_model(output, run.model)  # it may be older than the state: a run can be killed between both
            model = load_model(output)
            measured = {"bits_per_dim": held_out_bits(model, held_out), "round_trip": round_trip(model, held_out[:256])}
            save_model(output, replace(model, card=run.model.card | measured))
        ranks.wait()
        return load_model(output)


Loss: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]  # what is made small, and the negative log-likelihood


def take_step(run: Run, pixels: Tensor, loss_of: Loss, ranks: parallel.Ranks) -> float:
    """Take a step with this rank's share of the next batch; return the mean -log p of all of it, nats per dimension."""
    batch = run.batch(pixels)
    x = torch.cat([ranks.share(batch), ranks.share(run.strange(batch))]).contiguous(memory_format=torch.channels_last)
    loss, nll = map(ranks.mean, loss_of(x))
    run.update(loss)
    run.seen += run.config.batch
    return nll.item()


def read_groups(path: checkpoint.PathLike) -> dict[str, str]:
    """Return the group of each file name, of a CSV whose first two columns they are.

    Raises:
        OSError, ValueError: the file cannot be read, is no CSV, or has a name in two groups.
    """
    table: dict[str, str] = {}
    try:
        with open(path, newline="") as file:
            for row in csv.reader(file):
                if len(row) > 1 and table.setdefault(row[0], row[1]) != row[1]:
                    told = f"{row[0]} in {table[row[0]]} and in {row[1]}"
                    raise ValueError(f"Expected each file name in one group; got {told}: {path}")
    except OSError as error:
        raise OSError(f"Expected a CSV of file names and groups; got {path} ({error.strerror})") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"Expected a CSV of file names and groups; got another file ({error}): {path}") from None
    return table


def split(pictures: data.PictureBatch, config: TrainConfig, groups: dict[str, str] | None) -> tuple[Tensor, Tensor]:
    """Return training and held-out pixels; with groups (identities, say) of file names, no group is in both."""
    if groups is None:
        members: Sequence[str] = pictures.names
    else:
        try:
            members = [groups[Path(name).name] for name in pictures.names]
        except KeyError as error:
            raise ValueError(f"Expected each picture in a group; got none for {error.args[0]}.") from None
    names = sorted(set(members))
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(names), generator=generator).tolist()
    chosen = {names[i] for i in order[: max(1, round(len(names) * config.held_out))]}
    held_out = torch.tensor([member in chosen for member in members])
    if held_out.all():
        raise ValueError(f"Expected pictures to train on beside the held-out ones; got {len(names)} in all.")
    return pictures.pixels[~held_out], pictures.pixels[held_out]


def held_out_bits(model: PictureModel, pixels: Tensor, seed: int = 0) -> float:
    """Return mean bits per dimension of uint8 pixels (B, C, H, W), dequantised uniformly."""
    generator = torch.Generator().manual_seed(seed)
    prior, like = Gaussian.standard(model.dim), next(model.flow.parameters())
    total = 0.0
    with torch.no_grad(), full_float32(like.device):
        for part in pixels.split(BATCH):
            z, log_det = model.flow(model.pixels.dequantise(part, generator).to(like))
            total += (prior.log_prob(z.cpu()) + log_det.cpu()).sum().item()
    return float(bits_per_dim(total / len(pixels), model.dim, model.bits))


def round_trip(model: PictureModel, pixels: Tensor) -> float:
    """Return the largest difference after encode and decode of uint8 pixels; a picture's range is 1."""
    return (model.decode(model.encode(pixels)) - model.pixels.unit(model.pixels.centre(pixels))).abs().max().item()


def faster_precision(config: TrainConfig, device: torch.device) -> str:
    """Return "bfloat16" if a coupling network of the finest level trains faster in it here, else "float32"."""
    channels, size = 4 * config.glow.channels, config.glow.size // 2
    net = ConvNet(channels // 2, config.glow.width[0], channels).to(device)
    x = torch.randn(config.batch, channels // 2, size, size, device=device)
    took: dict[str, float] = {}
    for name in ("float32", "bfloat16"):
        times = []
        for _ in range(4):
            begin = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16"):
                out = net(x).float().square().mean()
            out.backward()
            out.item()
            times.append(time.perf_counter() - begin)
        took[name] = min(times[1:])
    return min(took, key=took.__getitem__)


def each_nll(z: Tensor, log_det: Tensor) -> Tensor:
    """Return negative log-likelihoods, (B,), of latents (B, D) and log-determinants (B,), in nats per dimension."""
    return z.square().mean(1) / 2 + 0.5 * math.log(2 * math.pi) - log_det / z.shape[1]


def mean_nll(z: Tensor, log_det: Tensor) -> Tensor:
    """Return the mean of `each_nll`."""
    return each_nll(z, log_det).mean()


def loss_function(run: Run, precision: str, ranks: parallel.Ranks) -> Loss:
    """Return the function from this rank's share of a batch, strange pictures last, to its loss and `mean_nll`."""
    flow = ranks.distributed(reversible(run.flow) if run.config.reversible else run.flow)

    count, weight = run.config.batch // ranks.size, run.config.strange

    def losses(x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = flow(x)
        likely, strange = each_nll(z, log_det).split([count, len(x) - count])
        nll = likely.mean()
        return nll + weight * penalty(strange) if weight else nll, nll.detach()

    compiles = run.config.compile and not run.config.reversible  # it would trace through the way back, and not gain
    compiled: Loss = torch.compile(losses) if compiles else losses
    state = {"function": compiled}

    def loss(x: Tensor) -> tuple[Tensor, Tensor]:
        with (
            torch.autocast(run.device.type, torch.bfloat16, enabled=precision == "bfloat16"),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", FutureWarning)  # torch.compile warns of its own insides
            try:
                return state["function"](x)
            except Exception:
                if state["function"] is losses:
                    raise
                state["function"] = losses  # no compiler on this machine: the plain path is as exact
                return losses(x)

    return loss


def sample_sheet(model: PictureModel) -> bytes:
    """Return a PNG of samples at two temperatures, of the same draws each time."""
    rows = [model.decode(model.prior.sample(8, seed=0, temperature=t)) for t in (0.7, 1.0)]
    return figures.encode_image(figures.grid(torch.cat(rows), 8, rows=("T = 0.7", "T = 1")), ".png")
