"""The state of a training run, all of it in one safetensors file, from which it resumes as if never stopped.

That is the weights, their moving average, the optimiser's moments and a few counters. Whatever is random in a step is
a function of the seed and of the counters (`training.data`). The model that is kept is the average,

    average <- average + (1 - ema) (weights - average),    ema smaller in the first steps,

of running statistics (of a batch norm, say) as of weights; what cannot be averaged, such as a flag, is copied.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn

from transflow.devices import full_float32
from transflow.generative.picture_model import PictureModel
from transflow.own_random import OwnRandom
from transflow.pictures.pixels import PixelFormat
from transflow.pictures.preprocess import BATCH
from transflow.store import container
from transflow.store.files import PathLike
from transflow.store.identity import digest
from transflow.training.adam import Adam
from transflow.training.config import TrainConfig, check_resumable, from_header, to_header

Number = (int, float)
SCHEMA = container.Schema(
    "training",
    {"config": dict},
    optional={
        **dict.fromkeys(("step", "seen", "skipped", "count"), int),
        **{"family": str, "architecture": dict, "seconds": Number, "held_out": (*Number, NoneType)},
        **{"pictures": str, "card": dict},
    },
)
FITTED = 20_000  # training pictures at most that a family measures something on
PATIENCE = 50  # steps skipped in a row before a run is given up
LOWER = "The last good checkpoint, if there was one, is kept: resume from it with a lower learning rate."
COUNTERS = ("step", "seen", "skipped", "seconds", "held_out", "count", "pictures", "card")


class TrainingState:
    """The state of a training run: weights, their average, the optimiser, and counters.

    Attributes:
        flow: what is trained.
        average: its moving average; both on ``device``.
        step: steps taken, the skipped ones too.
        seen: pictures shown.
        skipped: steps whose loss or gradient was not finite.
        seconds: of training, all calls together.
        held_out: the last validation (see `training.output.validate`).
        count: pictures an epoch shows.
        pictures: a hash of their pixels.
        card: what is known of the model.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        with OwnRandom(config.seed):
            flow = config.family.build(config.architecture)
        self.flow: nn.Module = flow.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.flow).requires_grad_(False).eval()
        self.weights = [p for p in self.flow.parameters() if p.requires_grad]
        self.optimiser = Adam(self.weights, config.weight_decay)
        both = list(zip(_tensors(self.average), _tensors(self.flow), strict=True))
        self.averaged = [pair for pair in both if pair[0].is_floating_point()]
        self.copied = [pair for pair in both if not pair[0].is_floating_point()]
        self.step = self.seen = self.skipped = self.skipped_in_a_row = 0
        self.seconds = 0.0
        self.count = 0
        self.pictures = ""
        self.held_out: float | None = None
        self.pixels = PixelFormat(config.bits)
        self.card: dict[str, Any] = {}

    @property
    def progress(self) -> float:
        """The part of the budget that is spent, 0 to 1."""
        if self.config.epochs is not None:
            return min(1.0, self.seen / (self.config.epochs * max(self.count, 1)))
        return min(1.0, self.seconds / 60 / max(self.config.minutes, 1e-9))

    @property
    def step_seed(self) -> int:
        """The seed of what is random in the next step."""
        return (self.config.seed * 1_000_003 + self.step + 1) % 2**63

    @contextmanager
    def randomness(self, rank: int = 0, *, compiled: bool = False) -> Iterator[None]:
        """Draw what modules themselves draw in the next step, such as dropout, from a seed of the step and the rank.

        What is compiled, and CUDA, draw from the global generators, whose state is put back.
        """
        cuda = self.device.type == "cuda"
        if not cuda and not compiled:
            with OwnRandom((self.step_seed + 7_368_787 * rank) % 2**63):
                yield
            return
        with torch.random.fork_rng(devices=[self.device] if cuda else []):
            seed = (self.step_seed + 7_368_787 * rank) % 2**63
            (torch.manual_seed if cuda else torch.default_generator.manual_seed)(seed)
            yield

    def bind(self, pixels: Tensor) -> None:
        """Bind the run to its training pictures, uint8 (B, C, H, W).

        A resumed run must get the same, or held-out pictures would leak into training.

        Raises:
            ValueError: the run was begun with others.
        """
        found = digest(pixels.contiguous().numpy())
        if self.pictures not in ("", found):
            raise ValueError("Expected the pictures, and the groups, that the run was begun with; got others.")
        self.count, self.pictures = len(pixels), found

    def initialise(self, pixels: Tensor) -> None:
        """Set the weights that the family sets by the first pictures, uint8 (B, C, H, W)."""
        family = self.config.family
        if family.initialise is None:
            return
        x = self.pixels.dequantise(pixels, torch.Generator().manual_seed(self.config.seed)).to(self.device)
        generator = torch.Generator(self.device).manual_seed(self.config.seed)
        family.initialise(self.flow, *family.prepare(self.flow, x, generator))
        self.average.load_state_dict(self.flow.state_dict())

    @torch.no_grad()
    def fit(self, pixels: Tensor) -> None:
        """Measure what the family measures on training pictures, uint8 (B, C, H, W), and keeps with the average."""
        if self.config.family.fit is not None:
            some = pixels[:: -(-len(pixels) // FITTED)].split(BATCH)
            with full_float32(self.device):
                self.config.family.fit(self.average, (self.pixels.centre(part).to(self.device) for part in some))

    def begin_from(self, weights: Mapping[str, Tensor], path: PathLike) -> None:
        """Take the weights of a model in place of those drawn; the optimiser begins anew.

        Args:
            weights: by name; those that the model does not have stay as they are.
            path: of the model.

        Raises:
            ValueError: they are of another architecture.
        """
        own = self.flow.state_dict()
        known = all(name in own and own[name].shape == value.shape for name, value in weights.items())
        if not known or {name for name, _ in self.flow.named_parameters()} - weights.keys():
            raise ValueError(f"Expected a model of the architecture that is to be trained; got another: {path}")
        for module in (self.flow, self.average):
            module.load_state_dict({**own, **weights})

    def learning_rate(self) -> float:
        """Rising through warm-up, level, and falling from the middle of the budget on."""
        rise = min(1.0, (self.step + 1) / max(1, self.config.warmup))
        return self.config.learning_rate * rise * min(1.0, max(0.01, 2 * (1 - self.progress)))

    def update(self, loss: Tensor) -> bool:
        """Take one step down the gradient; skip it, and count, if loss or gradient is not finite."""
        self.step += 1
        self.optimiser.clear()
        finite = bool(torch.isfinite(loss))
        if finite:
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.weights, self.config.clip)
            finite = bool(torch.isfinite(norm))
        if not finite:
            self.skipped += 1
            self.skipped_in_a_row += 1
            if self.skipped_in_a_row >= PATIENCE:
                raise FloatingPointError(f"Expected a finite loss; got {PATIENCE} steps in a row without one. {LOWER}")
            return False
        self.skipped_in_a_row = 0
        self.optimiser.step(self.learning_rate())
        self._average()
        return True

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_([a for a, _ in self.averaged], [b for _, b in self.averaged], 1 - decay)
        if self.copied:
            torch._foreach_copy_([a for a, _ in self.copied], [b for _, b in self.copied])

    @property
    def model(self) -> PictureModel:
        """The averaged model, with what its card says by now."""
        minutes = round(self.seconds / 60, 1)
        measure = "bits_per_dim" if self.config.family.likelihood else "held_out_loss"
        now = {measure: self.held_out, "pictures_seen": self.seen, "minutes": minutes, "skipped": self.skipped}
        return PictureModel(self.average, self.pixels, self.card | now)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that is needed to go on but the counters."""
        tensors = {f"flow.{k}": v for k, v in self.flow.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        return tensors | self.optimiser.tensors("optimiser")

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on."""
        counters = {name: getattr(self, name) for name in COUNTERS}
        container.write(path, SCHEMA.kind, self.tensors(), to_header(self.config) | counters)

    @classmethod
    def resume(cls, path: Path, config: TrainConfig | None, device: torch.device) -> TrainingState:
        """Return the state in a file.

        Args:
            path: the file.
            config: how to go on; it differs from the run's at most in budget, learning rate, outliers, interval,
                precision, compile and reversible. None is the run's.
            device: where.

        Raises:
            ValueError: the file is none of a run, or was begun with other settings.
        """
        was = read_config(path)
        config = config or was
        check_resumable(was, config)
        tensors, header = container.read(path, SCHEMA)
        damaged = f"Expected a whole training file; got a damaged one ({{}}): {path}"
        if any(header.get(name, 0) < 0 for name in ("step", "seen", "skipped", "seconds", "count")):
            raise ValueError(damaged.format("a negative count"))
        if 2 * config.family.fewest(config.architecture) > sum(tensor.numel() for tensor in tensors.values()):
            raise ValueError(damaged.format("its weights do not fit its architecture"))
        state = cls(config, device)
        try:
            state._take(tensors)
        except (KeyError, IndexError, ValueError, RuntimeError) as error:
            raise ValueError(damaged.format(" ".join(str(error).split())[:100])) from None
        for name in COUNTERS:
            setattr(state, name, header.get(name, getattr(state, name)))
        return state

    def _take(self, tensors: dict[str, Tensor]) -> None:
        """Take weights, average and moments from a file's tensors."""
        for name, module in (("flow", self.flow), ("average", self.average)):
            module.load_state_dict(
                {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name + ".")}
            )
        self.optimiser.load_tensors("optimiser", tensors)


def read_config(path: Path) -> TrainConfig:
    """Return the config of the run in a file.

    Raises:
        OSError, ValueError: the file is not there, or none of a run.
    """
    return from_header(container.header(path, SCHEMA), path)


def read_device(path: Path) -> str | None:
    """Return the device that the run in a file was begun on, "cpu" or "cuda"; None where the file does not have it."""
    device = container.header(path, SCHEMA).get("card", {}).get("device")
    return None if device is None else str(device)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
