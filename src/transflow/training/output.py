"""The files of a run: the model, and beside it metrics, samples, and the state; and what is measured for them."""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transflow._version import __version__
from transflow.devices import full_float32
from transflow.gaussians.gaussian import Gaussian
from transflow.generative.families import FAMILIES, name_of
from transflow.generative.model_file import load_model, save_model
from transflow.generative.picture_model import PictureModel
from transflow.metrics import bits_per_dim
from transflow.pictures import grids
from transflow.pictures.given import Source
from transflow.pictures.preprocess import BATCH
from transflow.pictures.sources import check_apart
from transflow.pictures.written import PICTURE, kind_of
from transflow.store.files import PathLike, at_home, check_writable, write_bytes
from transflow.training import state as states
from transflow.training.config import TrainConfig
from transflow.training.state import TrainingState

VALIDATED = 1024  # held-out pictures that a checkpoint looks at
FARTHEST = 1e5  # bits or nats per dimension from which on a loss says that a run has diverged


class RunFiles:
    """The files of a run, ``m.safetensors`` for example, ``m.metrics.jsonl``, ``m.samples.png``, and the state."""

    def __init__(self, output: PathLike) -> None:
        self.output = Path(at_home(output))
        self.state = self.output.with_suffix(".training.safetensors")
        self.metrics = self.output.with_suffix(".metrics.jsonl")
        self.samples = self.output.with_suffix(".samples.png")
        self.all = (self.output, self.state, self.metrics, self.samples)
        self.lines: list[str] = []

    def check(self, pictures: list[Source]) -> None:
        """Raise an error now if the files could not be written, or are among the pictures."""
        check_writable(self.output)
        check_apart(self.all, pictures)

    def check_new(self) -> None:
        """Raise `FileExistsError` if there is a model, or a run that can go on."""
        if self.state.exists():
            raise FileExistsError(f"Expected a new output, or --resume; got one whose run can go on: {self.state}")
        for path in (self.output, self.metrics, self.samples):
            if path.exists() and (path == self.output or not _ours(path)):
                raise FileExistsError(f"Expected a new output; got a file that is there: {path}")

    def truncate(self, step: int) -> None:
        """Keep the metrics up to a step: what a killed run wrote after its last checkpoint is dropped."""
        lines = self.metrics.read_text().splitlines() if self.metrics.exists() else []
        self.lines = [line for line in lines if json.loads(line)["step"] <= step]

    def write_checkpoint(self, state: TrainingState, held_out: Tensor, loss: float) -> bool:
        """Validate, and write everything; return False, and write nothing, where it would be nothing to go on from.

        That is while steps are skipped, or once the weights or their average have no loss worth the name: the
        checkpoint before, which was good, stays.

        Args:
            state: of the run.
            held_out: pixels, uint8 (B, C, H, W).
            loss: of the last steps: bits per dimension, or what the family's loss is in.
        """
        found = math.inf if state.skipped_in_a_row else validate(state.model, held_out[:VALIDATED])
        if not (abs(found) < FARTHEST and abs(loss_of_weights(state, held_out[:BATCH])) < FARTHEST):
            return False
        state.held_out = found
        measure = "bits_per_dim" if state.config.family.likelihood else "loss"
        line = {"step": state.step, "pictures": state.seen, "minutes": round(state.seconds / 60, 3), measure: loss}
        line |= {"held_out": state.held_out, "learning_rate": state.learning_rate(), "skipped": state.skipped}
        self.lines.append(json.dumps(line, allow_nan=False))
        write_bytes(self.metrics, ("\n".join(self.lines) + "\n").encode())  # before the state, by whose step it is cut
        write_bytes(self.samples, sample_sheet(state.model, held_out))
        state.save(self.state)
        save_model(self.output, state.model)
        return True

    def write_final(self, state: TrainingState, held_out: Tensor) -> None:
        """Write the model as it is read back, with what it measures on all held-out pictures in its card."""
        save_model(self.output, state.model)  # it may be older than the state: a run can be killed between both
        model = load_model(self.output)
        measure = "bits_per_dim" if state.config.family.likelihood else "held_out_loss"
        measured = {measure: validate(model, held_out)}
        with suppress(ValueError):  # a sampler that cannot be run backwards on some picture is kept all the same
            measured["round_trip"] = round_trip(model, held_out[: state.config.family.tried])
        save_model(self.output, replace(model, card=state.model.card | measured))


def _ours(path: Path) -> bool:
    """Whether metrics or samples are what an earlier run wrote, whose model is gone."""
    if path.suffix != ".jsonl":
        return kind_of(path) == PICTURE
    with path.open("rb") as file:
        return file.read(8) in (b"", b'{"step":')


def read_config(output: PathLike) -> TrainConfig:
    """Return the config that the run of a model file was begun with.

    Raises:
        OSError, ValueError: there is no run of this file to go on with.
    """
    return states.read_config(RunFiles(output).state)


def facts(state: TrainingState, training: Tensor, held_out: Tensor) -> dict[str, Any]:
    """Return what a model's card says of its training."""
    config = state.config
    return {
        "parameters": sum(p.numel() for p in state.flow.parameters()),
        "precision": config.precision,
        "device": state.device.type,
        "training_pictures": len(training),
        "held_out_pictures": len(held_out),
        "held_out_share": config.held_out,
        "seed": config.seed,
        "made_with": f"transflow {__version__}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}",
    }


def validate(model: PictureModel, pixels: Tensor) -> float:
    """Return the mean loss of uint8 pixels (B, C, H, W): bits per dimension where it is a likelihood."""
    family = FAMILIES[name_of(model.flow.config)]
    if family.loss is None:
        return held_out_bits(model, pixels)
    generator, like = torch.Generator().manual_seed(0), next(model.flow.parameters())
    total = 0.0
    with torch.no_grad(), full_float32(like.device):
        for part in pixels.split(BATCH):
            x = model.pixels.dequantise(part, generator)
            drawn = (t.to(like.device) for t in family.prepare(model.flow, x, generator))
            total += family.loss(model.flow, *drawn).double().sum().item()
    mean = total / len(pixels)
    return float(bits_per_dim(-mean, 1, model.bits)) if family.likelihood else mean


def loss_of_weights(state: TrainingState, pixels: Tensor) -> float:
    """Return what `validate` does, of the weights themselves: their average may still be good when they are not."""
    training = state.flow.training
    try:
        return validate(replace(state.model, flow=state.flow.eval()), pixels)
    finally:
        state.flow.train(training)


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


def sample_sheet(model: PictureModel, held_out: Tensor) -> bytes:
    """Return a PNG of samples at two temperatures, of the same draws each time.

    Args:
        model: what is trained.
        held_out: uint8 pixels (B, C, H, W), for a family whose samples are made on top of pictures.
    """
    on_top = FAMILIES[model.family].on_top
    count = 8 if on_top is None else min(8, len(held_out))
    rows = []
    for temperature in (0.7, 1.0):
        latents = model.prior.sample(count, seed=0, temperature=temperature)
        if on_top is not None:
            latents = on_top(model.flow, latents, model.encode(held_out[:count]))
        rows.append(model.decode(latents))
    return grids.encode_image(grids.grid(torch.cat(rows), count, rows=("T = 0.7", "T = 1")), ".png")
