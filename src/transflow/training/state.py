"""A training run that can be stopped and gone on with: its settings and its state.

Everything that a run needs to go on is one safetensors file: weights, their moving average, the
optimiser's moments and a few counters. The order of the pictures, the mirroring and the noise
are functions of the seed and of the counters, so a resumed run is the run that was not stopped.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transflow.generative.glow import Glow, GlowConfig
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat
from transflow.store import container as checkpoint
from transflow.store.identity import digest
from transflow.training.outliers import strange

SCHEMA = checkpoint.Schema("training", {"config": dict})
PATIENCE = 50  # steps skipped in a row before a run is given up
NUMBERS = ("step", "seen", "skipped", "seconds", "held_out", "count", "pictures", "card")
EVERY = 8  # a strange picture for so many others
FREE = {"minutes", "epochs", "learning_rate", "strange", "interval", "precision", "compile", "reversible"}


@dataclass(frozen=True)
class TrainConfig:
    """How a Glow is trained.

    Attributes:
        glow: the architecture.
        bits: bits a pixel and channel, 1 to 8.
        minutes: time budget of all runs together; the learning rate falls to a hundredth towards its end.
        epochs: how often each picture is shown, as the budget in place of minutes: as many steps on any machine.
        batch: pictures a step.
        learning_rate: of Adam, after warm-up and before the fall, which begins half way.
        warmup: steps of rising learning rate.
        clip: largest norm of the gradient.
        ema: decay of the weights' moving average, a step.
        flip: show half of the pictures mirrored.
        strange: weight of a penalty on how unlikely pictures unlike any photograph are (see `strange`), of which one
            is shown with every eight; 0 shows none.
        held_out: share of the pictures (of the groups, where there are any) kept for validation.
        interval: minutes between checkpoints.
        precision: of the coupling networks: "float32", "bfloat16", or "auto", which times both.
        compile: use torch.compile where it works.
        reversible: keep no activations but compute them back: memory that does not grow with depth, for more
            time (docs/training.md); goes without torch.compile.
        seed: of weights, split, order and noise.
    """

    glow: GlowConfig = field(default_factory=GlowConfig)
    bits: int = 5
    minutes: float = 60.0
    epochs: float | None = None
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.999
    flip: bool = True
    strange: float = 0.0
    held_out: float = 0.1
    interval: float = 3.0
    precision: str = "auto"
    compile: bool = True
    reversible: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        PixelFormat(self.bits)
        for name in ("minutes", "epochs", "batch", "learning_rate", "clip", "interval"):
            value = getattr(self, name)
            if not (name == "epochs" and value is None) and not 0 < value < float("inf"):
                raise ValueError(f"Expected {name.replace('_', ' ')} above 0; got {value}.")
        if not 0 <= self.strange < float("inf"):
            raise ValueError(f"Expected a weight of strange pictures of 0 or more; got {self.strange}.")
        if self.strange and self.batch < EVERY:
            raise ValueError(f"Expected batches of {EVERY} or more with strange pictures; got {self.batch}.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"Expected a held-out share between 0 and 1; got {self.held_out}.")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"Expected precision auto, float32 or bfloat16; got {self.precision}.")


class Run:
    """The state of a training run: weights, their average, the optimiser, and counters."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            flow = Glow(config.glow)
        self.flow = flow.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.flow).requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.flow.parameters(), config.learning_rate, betas=(0.9, 0.99), fused=True)
        self.step = self.seen = self.skipped = self.skipped_in_a_row = 0
        self.seconds = 0.0
        self.count = 0  # pictures an epoch shows
        self.pictures = ""  # hash of their pixels
        self.held_out: float | None = None
        self.pixels = PixelFormat(config.bits)
        self.card: dict[str, Any] = {}

    @property
    def share(self) -> float:
        """The part of the budget that is spent, 0 to 1."""
        if self.config.epochs is not None:
            return min(1.0, self.seen / (self.config.epochs * max(self.count, 1)))
        return min(1.0, self.seconds / 60 / max(self.config.minutes, 1e-9))

    def take(self, pixels: Tensor) -> None:
        """Say what it trains on, uint8 (B, C, H, W): always the same, or held-out pictures would slip in.

        Raises:
            ValueError: the run was begun with others.
        """
        found = digest(pixels.contiguous().numpy())
        if self.pictures not in ("", found):
            raise ValueError("Expected the pictures, and the groups, that the run was begun with; got others.")
        self.count, self.pictures = len(pixels), found

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
            torch._foreach_lerp_(list(self.average.parameters()), list(self.flow.parameters()), 1 - decay)
        return True

    @property
    def model(self) -> PictureModel:
        """The averaged model, with what its card says by now."""
        minutes = round(self.seconds / 60, 1)
        now = {"bits_per_dim": self.held_out, "pictures_seen": self.seen, "minutes": minutes, "skipped": self.skipped}
        return PictureModel(self.average, self.pixels, self.card | now)

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on."""
        tensors = {f"flow.{k}": v for k, v in self.flow.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for i, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": v for k, v in state.items()}
        numbers = {k: getattr(self, k) for k in NUMBERS}
        checkpoint.write(path, "training", tensors, {"config": asdict(self.config), **numbers})

    @classmethod
    def resume(cls, path: Path, config: TrainConfig | None, device: torch.device) -> Run:
        """Return the run in a file.

        Args:
            path: the file.
            config: how to go on; it differs from the run's at most in budget, learning rate, strange, interval,
                precision, compile and reversible. None is the run's.
            device: where.

        Raises:
            ValueError: the file is none of a run, or was begun with other settings.
        """
        was = begun(path)
        said = _settings(config or was)
        for name, value in _settings(was).items():
            if name not in FREE and said[name] != value:
                word = name.replace("_", " ")
                raise ValueError(f"Expected {word} {value}, as the run was begun with; got {said[name]}.")
        tensors, header = checkpoint.read(path, SCHEMA)
        run = cls(config or was, device)
        for name, module in (("flow", run.flow), ("average", run.average)):
            module.load_state_dict(
                {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name + ".")}
            )
        states: dict[int, dict[str, Tensor]] = {}
        weights = list(run.flow.parameters())
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, i, name = key.split(".")
                like = weights[int(i)]  # in memory, too: the fused Adam goes by places
                states.setdefault(int(i), {})[name] = torch.empty_like(like).copy_(value) if value.ndim else value
        groups = run.optimiser.state_dict()["param_groups"]
        run.optimiser.load_state_dict({"state": states, "param_groups": groups})
        for name in NUMBERS:
            setattr(run, name, header.get(name, getattr(run, name)))
        return run

    @property
    def step_seed(self) -> int:
        """The seed of what is random in the next step."""
        return (self.config.seed * 1_000_003 + self.step + 1) % 2**63

    def batch(self, pixels: Tensor) -> Tensor:
        """Return the next batch of floats: of seed and pictures seen alone, so that a resumed run goes on alike.

        It is made, and its noise drawn, on the run's device.
        """
        count, config = len(pixels), self.config
        first, last = self.seen, self.seen + config.batch
        epochs = range(first // count, (last - 1) // count + 1)
        parts = [order(count, e, config.seed)[max(0, first - e * count) : last - e * count] for e in epochs]
        seed = self.step_seed
        generator = torch.Generator().manual_seed(seed)
        batch = pixels[torch.cat(parts)]
        if config.flip:
            mirrored = torch.rand(len(batch), generator=generator) < 0.5
            batch = torch.where(mirrored[:, None, None, None], batch.flip(-1), batch)
        if self.device.type != "cpu":
            batch, generator = batch.to(self.device), torch.Generator(self.device).manual_seed(seed)
        return self.pixels.dequantise(batch, generator)

    def strange(self, batch: Tensor) -> Tensor:
        """Return the strange pictures that go with a batch, a function of the same; none where none are asked for."""
        if not self.config.strange:
            return batch[:0]
        generator = torch.Generator(batch.device).manual_seed(self.step_seed)
        return strange(batch, len(batch) // EVERY, generator)


def _settings(config: TrainConfig) -> dict[str, Any]:
    settings = asdict(config)
    return settings | settings.pop("glow")


def begun(path: Path) -> TrainConfig:
    """Return the settings of the run in a file."""
    settings = checkpoint.header(path, SCHEMA)["config"]
    return TrainConfig(**settings | {"glow": GlowConfig(**settings["glow"])})


def order(count: int, epoch: int, seed: int) -> Tensor:
    """Return the order in which an epoch shows its pictures, a permutation of count."""
    return torch.randperm(count, generator=torch.Generator().manual_seed((seed * 100_003 + epoch) % 2**63))
