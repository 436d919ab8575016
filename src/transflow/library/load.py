"""Models and posteriors by name or file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from transflow.base_model import BaseModel
from transflow.conditioning.model import Model
from transflow.conditioning.posterior import POSTERIOR, Posterior
from transflow.devices import PRECISIONS, dtype_of, find_device
from transflow.gaussians.evidence import Evidence
from transflow.generative import model_file
from transflow.library.names import bundled, find_file
from transflow.store import container
from transflow.store.files import PathLike


def load(name_or_file: PathLike, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Model:
    """Return a model: a bundled one by name, or the one in a file.

    Args:
        name_or_file: as `models` lists them, or a path.
        dtype: float32; float64, whose round trip is exact to about 1e-13 with faces-32, but slower; or bfloat16,
            for the coupling networks alone, which is faster, while latents and all else are float32 (see
            docs/speed.md for what it costs).
        device: where it computes, such as "cuda"; latents and posteriors are there, too. The same seed draws
            the same latents everywhere.

    Raises:
        FileNotFoundError: there is no such model or file.
        ValueError: the file is damaged, foreign or a pickle, the dtype is none of those, or the device not there.
    """
    path = find_file(name_or_file)
    return Model(model_file.load_model(path, dtype, find_device(device)), str(name_or_file), path)


def load_model_of(
    path: PathLike, header: Mapping[str, Any], *, dtype: torch.dtype | None = None, device: str = "cpu"
) -> Model:
    """Return the model that a file of this header was made with, by its name.

    Args:
        path: the file.
        header: its header: model and, perhaps, precision.
        dtype: as `load` takes it; without it, the precision the file was made in.
        device: as `load` takes it.

    Raises:
        FileNotFoundError: the model is not where it was.
    """
    precision = header.get("precision") or "float32"
    if dtype is None and precision not in PRECISIONS:
        raise ValueError(f"Expected a file of {', '.join(PRECISIONS)}; got one of {precision}: {path}")
    try:
        return load(header["model"], dtype=dtype or dtype_of(precision), device=device)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"Expected the model of {path} at {header['model']}; the file is missing. Give the model with -m."
        ) from None


def load_posterior(
    path: PathLike, model: BaseModel | None = None, *, dtype: torch.dtype | None = None, device: str = "cpu"
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
    tensors, header = container.read(path, POSTERIOR)
    if model is None:
        model = load_model_of(path, header, dtype=dtype, device=device)
    model.check_same_model(path, header)
    total, scatter = tensors["total"].to(model.device), tensors["scatter"].to(model.device)
    evidence = Evidence(int(header["count"]), total, scatter)
    if evidence.dim != model.dim:
        raise ValueError(f"Expected a posterior of D = {model.dim}; got D = {evidence.dim}: {path}")
    keys = tensors["digests"].numpy().tobytes().hex()
    digests = tuple(keys[i : i + 32] for i in range(0, len(keys), 32))
    if len(digests) != evidence.count:
        raise ValueError(f"Expected {evidence.count} digests of pictures; got {len(digests)}: {path}")
    variance = tensors["variance"].to(model.device) if "variance" in tensors else None
    return Posterior(model, evidence, header["noise"], digests, variance)


def models() -> dict[str, dict[str, Any]]:
    """Return the card of each bundled model, by name: size, figures, data, licence."""
    return {name: _card(path) for name, path in bundled().items()}


def _card(path: Path) -> dict[str, Any]:
    header = container.header(path, model_file.SCHEMA)
    config, pixels = model_file.read_config(path, header)
    size = f"{config.channels} x {config.size} x {config.size}, {pixels.bits} bits"
    return {"pictures": size, "file_megabytes": path.stat().st_size / 1e6, **header["card"]}
