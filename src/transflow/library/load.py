"""Models and posteriors by name or file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.conditioning import posterior_file
from transflow.conditioning.model import Model
from transflow.conditioning.posterior import Posterior
from transflow.devices import PRECISIONS, dtype_of, find_device
from transflow.gaussians.learn import MEAN
from transflow.generative import model_file
from transflow.library.names import (
    SMALLER,
    bundled,
    find_file,
    import_object,
    is_code,
    places_of,
    registered,
    split_prefix,
)
from transflow.library.wrap import check_exact
from transflow.plain_values import quoted
from transflow.protocols import MUST, has
from transflow.store import container
from transflow.store.files import PathLike, at_home
from transflow.store.hub import download, is_hub_name

WRAP = "transflow.wrap makes a model of an object."
GIVE = "Give the model: -m, or model= in Python."


def load(
    name_or_file: PathLike,
    *,
    dtype: torch.dtype | str | None = None,
    device: str | None = None,
    size: int | None = None,
    **options: Any,
) -> Model:
    """Return a model: a bundled one by name, the one in a file, or somebody else's.

    Args:
        name_or_file: as `models` lists them; a path; "hf://user/repo" of the Hugging Face hub;
            "diffusers:FOLDER-OR-HUB-ID"; "checkpoint:FILE" of other people's weights; "module:attribute" of Python
            code, which is run (see `library.names`).
        dtype: torch's, or in words: float32; float64, whose round trip is exact to about 1e-13 with faces-32, but
            slower; or bfloat16, for the coupling networks alone, which is faster, while latents and all else are
            float32 (see docs/speed.md for what it costs).
        device: where it computes, such as "cuda", without one the processor; latents and posteriors are there, too.
            The same seed draws the same latents everywhere.
        size: of a pyramid such as faces-128, the height of the pictures at which it stops: 64 is faces-64.
        options: of the adapter, for diffusers pipelines and checkpoints (see docs/models.md).

    Raises:
        FileNotFoundError: there is no such model or file.
        ValueError: the file is damaged, foreign or a pickle, the dtype is none of those, or the device not there.
        ImportError: a module cannot be imported, or an extra is missing.
        TypeError: what a module has is no model.
    """
    if not isinstance(name_or_file, (str, os.PathLike)):
        raise TypeError(f"Expected a model's name or file; got {type(name_or_file).__name__}. {WRAP}")
    name_or_file = at_home(name_or_file)
    name, dtype = str(name_or_file), dtype_of(dtype) if isinstance(dtype, str) else dtype
    if size is not None:
        options["size"] = size  # of a file of ours; adapters say that they do not know it
    if (found := split_prefix(name)) is not None:
        adapter, rest = found
        return Model(import_module(adapter).load(rest, **_place(adapter, dtype, device), **options), name)
    if name not in bundled() and not Path(name).is_file() and is_code(name):
        if dtype is not None or device is not None or options:
            raise ValueError(f"Expected no precision, device or options for {name}: its code says how it computes.")
        model = import_object(name)
        if not isinstance(model, BaseModel) and not all(has(model, member) for member in MUST):
            raise TypeError(
                f"Expected a model at {name}; got {type(model).__name__}. Give it transflow.wrap(...) of what it has."
            )
        return Model(model.source, name) if isinstance(model, BaseModel) else check_exact(Model(model, name))
    path = find_file(name_or_file)
    if name in SMALLER and name in bundled():
        options.setdefault("size", SMALLER[name][1])
    if unknown := options.keys() - {"size"}:
        raise ValueError(f"Expected no options for a model file; got {', '.join(sorted(unknown))}: {path}")
    return Model(model_file.load_model(path, dtype or torch.float32, find_device(device), **options), name, path)


def _place(adapter: str, dtype: torch.dtype | None, device: str | None) -> dict[str, Any]:
    """Precision and device, for an adapter that loads files."""
    place: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    if device is not None:
        place["device"] = find_device(device)
    known = inspect.signature(import_module(adapter).load).parameters
    if unknown := place.keys() - known.keys():
        raise ValueError(f"Expected no {', '.join(sorted(unknown))} for a model of {adapter.rpartition('.')[2]}.")
    return place


def load_model_of(
    path: PathLike, header: Mapping[str, Any], *, dtype: torch.dtype | None = None, device: str | None = None
) -> Model:
    """Return the model that a file of this header was made with, by its name.

    Args:
        path: the file.
        header: its header: model and, perhaps, precision.
        dtype: as `load` takes it; without it, the precision the file was made in.
        device: as `load` takes it.

    Raises:
        FileNotFoundError: the model is neither where it was nor beside the file.
    """
    name = header["model"]
    shown = quoted(name)
    places = [name] if name in bundled() or is_hub_name(name) else places_of(name, path)
    if is_hub_name(name):
        places = [str(download(name, known_only=True))]
    if is_code(name) and not places:
        raise ValueError(
            f"Expected the model of {path}, which is Python code to run: {shown}. Give it with -m, if you trust it, "
            "or in Python as model=."
        )
    precision = header.get("precision") or "float32"
    if dtype is None and precision not in PRECISIONS:
        raise ValueError(f"Expected a file of {', '.join(PRECISIONS)}; got one of {quoted(precision)}: {path}")
    if (found := split_prefix(name)) is not None and not places:
        raise FileNotFoundError(
            f"Expected the model of {path} on this machine, at {quoted(found[1])}; it is not there. {GIVE}"
        )
    if not places:
        raise FileNotFoundError(f"Expected the model of {path} at {shown}; the file is missing. {GIVE}")
    model = _first_made(header["fingerprint"], places, dtype or dtype_of(precision), device)
    return Model(model.source, name, model.file) if is_hub_name(name) else model


def _first_made(fingerprint: str, places: list[str], dtype: torch.dtype, device: str | None) -> Model:
    """The first model of a fingerprint among places; where none has it, the first of all, which is then refused."""
    wrong: list[Model | Exception] = []
    for place in places:
        try:
            model = load(place, dtype=dtype, device=device)
        except (ValueError, OSError) as error:
            wrong.append(error)
            continue
        if model.made(fingerprint):
            return model
        wrong.append(model)
    if isinstance(wrong[0], Exception):
        raise wrong[0]
    return wrong[0]


def load_posterior(
    path: PathLike, model: BaseModel | None = None, *, dtype: torch.dtype | None = None, device: str | None = None
) -> Posterior:
    """Return a saved posterior.

    Args:
        path: a file written by `Posterior.save`.
        model: the model it belongs to, in any precision; without it, the one it was made with is loaded
            by name, in the precision it was made in, so that what is taken out is what went in.
        dtype: another precision for the model that is loaded by name.
        device: where it computes.

    Raises:
        ValueError: the posterior belongs to a model of other weights, or the file is damaged.
    """
    if model is not None and not isinstance(model, BaseModel):
        raise TypeError(f"Expected a model; got {type(model).__name__}. Give what load, or wrap, returns.")
    return posterior_of(path, *posterior_file.read(path), model, dtype=dtype, device=device)


def posterior_of(
    path: PathLike,
    tensors: dict[str, Tensor],
    header: dict[str, Any],
    model: BaseModel | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: str | None = None,
) -> Posterior:
    """Return the posterior of a file that was read: its tensors and its header; the rest as `load_posterior`."""
    if model is None:
        model = load_model_of(path, header, dtype=dtype, device=device)
    model.check_same_model(path, header)
    gathered = posterior_file.gathered_of(path, tensors, header, model)
    learn = posterior_file.learn_of(path, header) if gathered.kept is not None else MEAN
    return Posterior(model, spec=header["noise"], learn=learn, **vars(gathered))


def models() -> dict[str, dict[str, Any]]:
    """Return the card of each model that has a name: bundled ones, and those that other packages register."""
    theirs = {name: {"registered_as": point.value} for name, point in registered().items()}
    return theirs | {name: _card(path, SMALLER.get(name, (name, None))[1]) for name, path in bundled().items()}


def _card(path: Path, size: int | None) -> dict[str, Any]:
    header = container.header(path, model_file.SCHEMA)
    config, pixels = model_file.read_config(path, header)
    if size is not None:
        config, _, header = model_file.stopped(path, size, config, {}, header)
    pictures = f"{' x '.join(map(str, config.shape))}, {pixels.bits} bits"
    return {"pictures": pictures, "file_megabytes": path.stat().st_size / 1e6, **header["card"]}
