"""What commands read: models and posteriors by name or file, and pictures as latents beside a progress bar."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.cli.messages import note
from transflow.cli.progress import Progress
from transflow.conditioning import posterior_file
from transflow.conditioning.model import Model
from transflow.conditioning.posterior import Posterior
from transflow.devices import dtype_of, fresh_seed, is_emulated
from transflow.faces.align import largest_face
from transflow.latents import stream as latents
from transflow.latents.encoded import Encoded
from transflow.library import load as library
from transflow.library.names import find_file, places_of, split_prefix
from transflow.pictures.decode import Turn, read
from transflow.store import container


def load_model(options: argparse.Namespace, name: str) -> Model:
    """Return the model of a name or file, in the precision and on the device of the options."""
    with redirect_stdout(sys.stderr):  # what a user's module prints is no part of the result
        model = library.load(name, dtype=_dtype(options), device=options.device)
    note_emulated(model.precision, model.device)
    return model


def load_posterior(options: argparse.Namespace, path: str) -> Posterior:
    """Return the posterior in a file, on the model given by --model, or else the one named in the file."""
    return posterior_of(options, path, *posterior_file.read(path))


def posterior_of(
    options: argparse.Namespace, path: str, tensors: dict[str, Tensor], header: dict[str, Any]
) -> Posterior:
    """Return the posterior of a file that was read, likewise."""
    model = load_model(options, options.model) if options.model else None
    found = library.posterior_of(path, tensors, header, model, dtype=_dtype(options), device=options.device)
    if model is None:
        note_emulated(found.model.precision, found.model.device)
    return found


def note_emulated(precision: str, device: torch.device) -> None:
    """Say so where the hardware has no bfloat16 and it is asked for."""
    if is_emulated(precision, device):
        note(f"note: this {device.type} has no instructions for bfloat16, and emulates them; float32 is faster here")


def files_of(*names: str | None) -> list[Path]:
    """Return the files and folders of models and posteriors, and of the models that the posteriors name.

    Python code, a hub id, or a name without a readable file has none: loading it gives the error.
    """
    found = [path for name in names if name and (path := _path_of(name))]
    for path in list(found):
        with suppress(OSError, ValueError):
            model = str(container.header(path).get("model", ""))
            found += filter(None, [_path_of(place) for place in (model, *places_of(model, path))])
    return found


def _path_of(name: str) -> Path | None:
    prefixed = split_prefix(name)
    if prefixed is not None:
        return Path(prefixed[1]) if Path(prefixed[1]).exists() else None
    try:
        return find_file(name)
    except OSError:
        return None


def stream(
    options: argparse.Namespace,
    model: BaseModel,
    sources: Any = None,
    *,
    log_prob: bool = False,
    names: list[str] | None = None,
) -> Iterator[Encoded]:
    """Yield pictures as latents, a batch at a time, beside a bar of those that are encoded.

    Args:
        options: pictures, and whether bad files are skipped.
        model: the encoder.
        sources: other pictures than those of the options.
        log_prob: with the log density of each picture.
        names: a list to which the pictures' names are appended.
    """
    sources = sources or options.pictures
    with Progress(total_of(sources)) as bar:
        for part in latents.stream(model, sources, on_bad=on_bad(options), turn=turn_of(options), log_prob=log_prob):
            if names is not None:
                names.extend(part.names)
            bar.update(len(part))
            yield part


def total_of(sources: Any) -> int | None:
    """Return the number of files in sources, or None where only reading them shows it."""
    try:
        return latents.count(sources)
    except OSError:  # reading gives the error
        return None


def on_bad(options: argparse.Namespace) -> Callable[[str], None] | None:
    """Return what is called with a message for each bad file, with --skip-bad; else None, and it is an error."""
    return (lambda message: note(f"skipped: {message}")) if options.skip_bad else None


def turn_of(options: argparse.Namespace) -> Turn | None:
    """Return what is used of each picture file: with --align its largest face, turned; else None, the whole."""
    return largest_face() if vars(options).get("align") else None


def read_pixels(options: argparse.Namespace, model: BaseModel, sources: Any) -> Tensor:
    """Return picture files of the model's shape, uint8 (B, C, H, W)."""
    return read(sources, model.shape, on_bad=on_bad(options), turn=turn_of(options)).pixels


def seed_of(options: argparse.Namespace) -> int:
    """Return the seed of the options, or a new one, to be printed: with it, any picture can be made again."""
    return options.seed if options.seed is not None else fresh_seed()


def _dtype(options: argparse.Namespace) -> torch.dtype | None:
    return dtype_of(options.dtype) if options.dtype else None
