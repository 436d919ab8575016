"""Models and posteriors by name or file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from transflow.conditioning.model import POSTERIOR, Model, PathLike, Posterior
from transflow.devices import DEFAULT_DEVICE, PRECISIONS, dtype_of, find_device
from transflow.gaussians.evidence import Evidence
from transflow.generative import model_file
from transflow.library import names as hub
from transflow.store import container as checkpoint


def load(name_or_file: PathLike, *, dtype: torch.dtype = torch.float32, device: str = DEFAULT_DEVICE) -> Model:
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
    path = hub.find_file(name_or_file)
    return Model(model_file.load_model(path, dtype, find_device(device)), str(name_or_file))


def load_model_of(
    path: PathLike, header: dict[str, Any], *, dtype: torch.dtype | None = None, device: str = DEFAULT_DEVICE
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
    said = header.get("precision") or "float32"
    if dtype is None and said not in PRECISIONS:
        raise ValueError(f"Expected a file of {', '.join(PRECISIONS)}; got one of {said}: {path}")
    try:
        dtype = dtype or dtype_of(said)
        return load(header["model"], dtype=dtype, device=device)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"Expected the model of {path} at {header['model']}; it is not there. Say the model (-m)."
        ) from None


def load_posterior(
    path: PathLike, model: Model | None = None, *, dtype: torch.dtype | None = None, device: str = DEFAULT_DEVICE
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
    tensors, header = checkpoint.read(path, POSTERIOR)
    if model is None:
        model = load_model_of(path, header, dtype=dtype, device=device)
    model.check_same_model(path, header)
    where = model.prior.mean.device
    evidence = Evidence(int(header["count"]), tensors["total"].to(where), tensors["scatter"].to(where))
    if evidence.dim != model.dim:
        raise ValueError(f"Expected a posterior of D = {model.dim}; got D = {evidence.dim}: {path}")
    told = tensors["digests"].numpy().tobytes().hex()
    digests = tuple(told[i : i + 32] for i in range(0, len(told), 32))
    if len(digests) != evidence.count:
        raise ValueError(f"Expected {evidence.count} digests of pictures; got {len(digests)}: {path}")
    return Posterior(model, evidence, header["noise"], digests)


def models() -> dict[str, dict[str, Any]]:
    """Return the card of each bundled model, by name: size, figures, data, licence."""
    return {name: _card(path) for name, path in hub.bundled().items()}


def _card(path: Path) -> dict[str, Any]:
    header = checkpoint.header(path, model_file.SCHEMA)
    config, pixels = model_file.read_config(path, header)
    size = f"{config.channels} x {config.size} x {config.size}, {pixels.bits} bits"
    return {"pictures": size, "file_megabytes": path.stat().st_size / 1e6, **header["card"]}
