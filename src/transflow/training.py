"""Training a Glow by maximum likelihood: a model and a loop, read from top to bottom.

Each step draws a batch of pictures, adds uniform noise within the bins of their pixels, and goes
down the gradient of the mean of ``-log p(x) / D``; the model that is kept is an exponential moving
average of the weights. Everything that a run needs to go on is one safetensors file beside the
model, written whole or not at all, so a killed run loses at most the last interval.
"""

from __future__ import annotations

import csv
import json
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transflow import __version__, checkpoint, data, figures
from transflow.gaussian import Gaussian
from transflow.generative.base import PictureFlow
from transflow.generative.bijections import ConvNet
from transflow.metrics import bits_per_dim
from transflow.run import Run, TrainConfig, order


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
    """The files of a run, beside the model's."""

    def __init__(self, output: Path) -> None:
        self.state = output.with_suffix(".training.safetensors")
        self.metrics = output.with_suffix(".metrics.jsonl")
        self.samples = output.with_suffix(".samples.png")


def train(
    pictures: data.Source | Iterable[data.Source],
    output: checkpoint.PathLike,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    groups: checkpoint.PathLike | None = None,
    card: dict[str, Any] | None = None,
    skip_bad: bool = False,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> PictureFlow:
    """Train a Glow on pictures and write it; return it.

    Beside ``output`` (say ``m.safetensors``) stand ``m.metrics.jsonl``, one line a checkpoint,
    ``m.samples.png``, and ``m.training.safetensors``, from which ``resume`` goes on.

    Args:
        pictures: a folder, a tar, or files.
        output: the model file to write.
        config: how; the defaults train a small 32x32 model for an hour.
        resume: go on from the last checkpoint, up to ``config.minutes`` in all.
        groups: a CSV whose first two columns are file name and group; groups are held out whole.
        card: what to write into the model's card: name, data, licence.
        skip_bad: leave out files that are no pictures.
        device: where; the default is CUDA if there is one.
        report: called after each step.

    Raises:
        FileExistsError: a run to this output could be resumed, and ``resume`` was not said.
        FloatingPointError: the loss is not finite, step after step.
    """
    config = config or TrainConfig()
    output = Path(output)
    checkpoint.check_writable(output)
    files = Files(output)
    where = find_device(device)
    if resume:
        run = Run.resume(files.state, config.minutes, where)
        config = run.config
    elif files.state.exists():
        raise FileExistsError(f"Expected a new output, or --resume; got one whose run can go on: {files.state}")
    read = data.read(pictures, config.glow.channels, config.glow.size, skip_bad=skip_bad)
    training, held_out = split(read, config, groups)
    if not resume:
        run = Run(config, where)
        run.start(training[order(len(training), 0, config.seed)[:256]])
    lines = kept_lines(files.metrics, run.step) if resume else []
    precision = faster_precision(config, where) if config.precision == "auto" else config.precision
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

    def keep(bits: float) -> None:
        run.held_out = held_out_bits(run.model, held_out[:1024])
        line = {"step": run.step, "pictures": run.seen, "minutes": round(run.seconds / 60, 3), "bits_per_dim": bits}
        line |= {"held_out": run.held_out, "learning_rate": run.learning_rate(), "skipped": run.skipped}
        lines.append(json.dumps(line))
        run.save(files.state)
        checkpoint.save_model(output, run.model)
        checkpoint.write_bytes(files.metrics, ("\n".join(lines) + "\n").encode())
        checkpoint.write_bytes(files.samples, sample_sheet(run.model))

    loss_of = loss_function(run, precision)
    recent: deque[float] = deque(maxlen=100)
    saved = time.monotonic()
    compiling = True
    while run.share < 1:
        begin = time.monotonic()
        x = run.batch(training).to(where).contiguous(memory_format=torch.channels_last)
        loss = loss_of(x)
        run.update(loss)
        run.seen += len(x)
        recent.append(bits_per_dim(-loss.item(), 1, config.bits))
        took = time.monotonic() - begin
        run.seconds += 0.0 if compiling else took
        compiling = False
        bits = sum(recent) / len(recent)
        if time.monotonic() - saved > config.interval * 60 or run.share >= 1:
            keep(bits)
            saved = time.monotonic()
        if report:
            left = config.minutes - run.seconds / 60
            report(Progress(run.step, run.seen, run.share, bits, len(x) / took, left, run.skipped, run.held_out))
    model = checkpoint.load_model(output)
    measured = {"bits_per_dim": held_out_bits(model, held_out), "round_trip": round_trip(model, held_out[:256])}
    model = replace(model, card=run.model.card | measured)
    checkpoint.save_model(output, model)
    return model


def find_device(name: str | None) -> torch.device:
    """Return the device of a name; without one, CUDA if there is one."""
    cuda = torch.cuda.is_available()
    try:
        device = torch.device(name or ("cuda" if cuda else "cpu"))
    except RuntimeError:
        raise ValueError(f"Expected a device such as cpu or cuda; got {name}.") from None
    if device.type == "cuda" and not cuda:
        raise ValueError(f"Expected a device that is there; got {name}, and this torch sees no CUDA.")
    return device


def split(pictures: data.Pictures, config: TrainConfig, groups: checkpoint.PathLike | None) -> tuple[Tensor, Tensor]:
    """Return training and held-out pixels; with groups (identities, say), no group is in both."""
    if groups is None:
        members: Sequence[str] = pictures.names
    else:
        with open(groups, newline="") as file:
            table = {row[0]: row[1] for row in csv.reader(file) if len(row) > 1}
        try:
            members = [table[Path(name).name] for name in pictures.names]
        except KeyError as error:
            raise ValueError(f"Expected each picture in {groups}; it has no line for {error.args[0]}.") from None
    names = sorted(set(members))
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(names), generator=generator).tolist()
    chosen = {names[i] for i in order[: max(1, round(len(names) * config.held_out))]}
    held_out = torch.tensor([member in chosen for member in members])
    if held_out.all():
        raise ValueError(f"Expected pictures to train on beside the held-out ones; got {len(names)} in all.")
    return pictures.pixels[~held_out], pictures.pixels[held_out]


def held_out_bits(model: PictureFlow, pixels: Tensor, seed: int = 0) -> float:
    """Return mean bits per dimension of uint8 pixels (B, C, H, W), dequantised uniformly."""
    generator = torch.Generator().manual_seed(seed)
    prior, like = Gaussian.standard(model.dim), next(model.flow.parameters())
    total = 0.0
    with torch.no_grad():
        for part in pixels.split(64):
            z, log_det = model.flow(model.pixels.dequantise(part, generator).to(like))
            total += (prior.log_prob(z.cpu()) + log_det.cpu()).sum().item()
    return float(bits_per_dim(total / len(pixels), model.dim, model.bits))


def round_trip(model: PictureFlow, pixels: Tensor) -> float:
    """Return the largest difference after encode and decode of uint8 pixels; a picture's range is 1."""
    return (model.decode(model.encode(pixels)) - model.quantised(pixels)).abs().max().item()


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


def loss_function(run: Run, precision: str) -> Callable[[Tensor], Tensor]:
    """Return the function from a batch to the mean negative log-likelihood, in nats per dimension."""
    half_log_two_pi = 0.9189385332046727

    def nll(x: Tensor) -> Tensor:
        z, log_det = run.flow(x)
        return (z.square().mean(1) / 2 + half_log_two_pi - log_det / z.shape[1]).mean()

    compiled: Callable[[Tensor], Tensor] = torch.compile(nll) if run.config.compile else nll
    state = {"function": compiled}

    def loss(x: Tensor) -> Tensor:
        with (
            torch.autocast(run.device.type, torch.bfloat16, enabled=precision == "bfloat16"),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", FutureWarning)  # torch.compile warns of its own insides
            try:
                return state["function"](x)
            except Exception:
                if state["function"] is nll:
                    raise
                state["function"] = nll  # no compiler on this machine: the plain path is as exact
                return nll(x)

    return loss


def sample_sheet(model: PictureFlow) -> bytes:
    """Return a PNG of samples at two temperatures, of the same draws each time."""
    rows = [model.decode(model.prior.sample(8, seed=0, temperature=t)) for t in (0.7, 1.0)]
    return figures.encode_image(figures.grid(torch.cat(rows), 8, rows=("T = 0.7", "T = 1")), ".png")


def kept_lines(path: Path, step: int) -> list[str]:
    """Return the metrics up to a step: what a killed run wrote after its last checkpoint is dropped."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if json.loads(line)["step"] <= step]
