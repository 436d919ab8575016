"""Training a Glow by maximum likelihood: a model and a loop, read from top to bottom.

Each step draws a batch of pictures, adds uniform noise within the bins of their pixels, and goes
down the gradient of the mean of ``-log p(x) / D``; the model that is kept is an exponential moving
average of the weights. Everything that a run needs to go on is one safetensors file beside the
model, written whole or not at all, so a killed run loses at most the last interval.
"""

from __future__ import annotations

import copy
import csv
import json
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transflow import checkpoint, data, figures
from transflow.gaussian import Gaussian
from transflow.generative.base import PictureFlow, PixelFormat
from transflow.generative.bijections import ConvNet
from transflow.generative.glow import Glow, GlowConfig
from transflow.metrics import bits_per_dim

PATIENCE = 50  # steps skipped in a row before a run is given up


@dataclass(frozen=True)
class TrainConfig:
    """How a Glow is trained.

    Attributes:
        glow: the architecture.
        bits: bits a pixel and channel, 1 to 8.
        minutes: time budget of all runs together; the learning rate falls to zero towards its end.
        batch: pictures a step.
        learning_rate: of Adam, after warm-up and before the fall, which begins half way.
        warmup: steps of rising learning rate.
        clip: largest norm of the gradient.
        ema: decay of the weights' moving average, a step.
        flip: show half of the pictures mirrored.
        held_out: share of the pictures (of the groups, where there are any) kept for validation.
        interval: minutes between checkpoints.
        precision: of the coupling networks: "float32", "bfloat16", or "auto", which times both.
        compile: use torch.compile where it works.
        seed: of weights, split, order and noise.
    """

    glow: GlowConfig = field(default_factory=GlowConfig)
    bits: int = 5
    minutes: float = 60.0
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.999
    flip: bool = True
    held_out: float = 0.1
    interval: float = 3.0
    precision: str = "auto"
    compile: bool = True
    seed: int = 0


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
    note: str = ""


class Run:
    """The state of a training run: weights, their average, the optimiser, and counters."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            flow = Glow(config.glow)
        self.flow = flow.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.flow).requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.flow.parameters(), config.learning_rate, betas=(0.9, 0.99))
        self.step = self.seen = self.skipped = self.skipped_in_a_row = 0
        self.seconds = 0.0
        self.held_out: float | None = None
        self.pixels = PixelFormat(config.bits)
        self.card: dict[str, Any] = {}

    @property
    def share(self) -> float:
        """The part of the time budget that is spent, 0 to 1."""
        return min(1.0, self.seconds / 60 / max(self.config.minutes, 1e-9))

    def start(self, pixels: Tensor) -> None:
        """Data-dependent start of the channel affine maps."""
        x = self.pixels.dequantise(pixels, torch.Generator().manual_seed(self.config.seed))
        self.flow.initialise(x.to(self.device))
        self.average.load_state_dict(self.flow.state_dict())

    def learning_rate(self) -> float:
        """Rising through warm-up, level, and falling from the middle of the budget on."""
        rise = min(1.0, (self.step + 1) / max(1, self.config.warmup))
        return self.config.learning_rate * rise * min(1.0, max(0.01, 2 * (1 - self.share)))

    def update(self, loss: Tensor) -> bool:
        """Take one step down the gradient; skip it, and count, if loss or gradient is not finite."""
        self.step += 1
        self.optimiser.zero_grad(set_to_none=True)
        fine = bool(torch.isfinite(loss))
        if fine:
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.flow.parameters(), self.config.clip)
            fine = bool(torch.isfinite(norm))
        if not fine:
            self.skipped += 1
            self.skipped_in_a_row += 1
            if self.skipped_in_a_row >= PATIENCE:
                raise FloatingPointError(
                    f"Expected a finite loss; got {PATIENCE} steps in a row without one. "
                    "Resume from the last checkpoint with a lower learning rate."
                )
            return False
        self.skipped_in_a_row = 0
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.optimiser.step()
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            ours, theirs = list(self.average.parameters()), list(self.flow.parameters())
            torch._foreach_lerp_(ours, theirs, 1 - decay)
        return True

    @property
    def model(self) -> PictureFlow:
        """The averaged model, with what its card says by now."""
        minutes = round(self.seconds / 60, 1)
        now = {"bits_per_dim": self.held_out, "pictures_seen": self.seen, "minutes": minutes, "skipped": self.skipped}
        return PictureFlow(self.average, self.pixels, self.card | now)

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on."""
        tensors = {f"flow.{k}": v for k, v in self.flow.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for i, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": v for k, v in state.items()}
        numbers = {k: getattr(self, k) for k in ("step", "seen", "skipped", "seconds", "held_out", "card")}
        checkpoint.write(path, "training", tensors, {"config": asdict(self.config), **numbers})

    @classmethod
    def resume(cls, path: Path, minutes: float, device: torch.device) -> Run:
        """Return the run in a file, with a new time budget; all else is as it was begun."""
        tensors, header = checkpoint.read(path, "training")
        settings = header["config"] | {"glow": GlowConfig(**header["config"]["glow"]), "minutes": minutes}
        run = cls(TrainConfig(**settings), device)
        for name, module in (("flow", run.flow), ("average", run.average)):
            module.load_state_dict(
                {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name + ".")}
            )
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, i, name = key.split(".")
                states.setdefault(int(i), {})[name] = value
        groups = run.optimiser.state_dict()["param_groups"]
        run.optimiser.load_state_dict({"state": states, "param_groups": groups})
        for name in ("step", "seen", "skipped", "seconds", "held_out", "card"):
            setattr(run, name, header[name])
        return run


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
    """
    config = config or TrainConfig()
    output = Path(output)
    checkpoint.check_writable(output)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    state_file, metrics_file = output.with_suffix(".training.safetensors"), output.with_suffix(".metrics.jsonl")
    if resume:
        run = Run.resume(state_file, config.minutes, where)
        config = run.config
    read = data.read(pictures, config.glow.channels, config.glow.size, skip_bad=skip_bad)
    training, held_out = split(read, config, groups)
    if not resume:
        run = Run(config, where)
        run.start(training[_order(len(training), 0, config.seed)[:256]])
    lines = _kept_lines(metrics_file, run.step) if resume else []
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
    }
    loss_of = _loss(run, precision)
    recent: list[float] = []
    clock = saved = time.monotonic()
    while run.share < 1:
        x = _batch(training, run).to(where).contiguous(memory_format=torch.channels_last)
        loss = loss_of(x)
        run.update(loss)
        run.seen += len(x)
        now = time.monotonic()
        run.seconds += now - clock if run.step > 1 else 0.0  # the first step compiles
        took, clock = now - clock, now
        recent = [*recent[-99:], bits_per_dim(-loss.item(), 1, config.bits)]
        progress = Progress(
            run.step,
            run.seen,
            run.share,
            sum(recent) / len(recent),
            len(x) / max(took, 1e-9),
            config.minutes - run.seconds / 60,
            run.skipped,
            run.held_out,
        )
        if now - saved > config.interval * 60 or run.share >= 1:
            run.held_out = held_out_bits(run.model, held_out[:1024])
            line = {
                "step": run.step,
                "pictures": run.seen,
                "minutes": round(run.seconds / 60, 3),
                "bits_per_dim": progress.bits_per_dim,
                "held_out": run.held_out,
                "learning_rate": run.learning_rate(),
                "skipped": run.skipped,
            }
            lines.append(json.dumps(line))
            run.save(state_file)
            checkpoint.save_model(output, run.model)
            checkpoint.write_bytes(metrics_file, ("\n".join(lines) + "\n").encode())
            checkpoint.write_bytes(output.with_suffix(".samples.png"), _sample_sheet(run.model))
            clock = saved = time.monotonic()
        if report:
            report(replace(progress, held_out=run.held_out))
    model = checkpoint.load_model(output)
    model = replace(model, card=model.card | {"bits_per_dim": held_out_bits(model, held_out)})
    checkpoint.save_model(output, model)
    return model


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


def _loss(run: Run, precision: str) -> Callable[[Tensor], Tensor]:
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


def _order(count: int, epoch: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 100_003 + epoch))


def _batch(pixels: Tensor, run: Run) -> Tensor:
    """Return the next batch, a function of seed and pictures seen, so that a resumed run goes on alike."""
    count, config = len(pixels), run.config
    places = torch.arange(run.seen, run.seen + config.batch)
    orders = {e: _order(count, e, config.seed) for e in range(int(places[0]) // count, int(places[-1]) // count + 1)}
    chosen = torch.stack([orders[p // count][p % count] for p in places.tolist()])
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + run.step + 1)
    batch = pixels[chosen]
    if config.flip:
        mirrored = torch.rand(len(batch), generator=generator) < 0.5
        batch = torch.where(mirrored[:, None, None, None], batch.flip(-1), batch)
    return run.pixels.dequantise(batch, generator)


def _sample_sheet(model: PictureFlow) -> bytes:
    rows = [model.decode(model.prior.sample(8, seed=0, temperature=t)) for t in (0.7, 1.0)]
    return figures.encode_image(figures.grid(torch.cat(rows), 8, rows=("T = 0.7", "T = 1")), ".png")


def _kept_lines(path: Path, step: int) -> list[str]:
    """The metrics up to a step: what a killed run wrote after its last checkpoint is dropped."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if json.loads(line)["step"] <= step]
