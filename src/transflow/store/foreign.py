"""Checkpoints of other programs: tensors by name, read without running anything that is in the file.

A file of ``torch.save`` is opened with ``weights_only=True``, which builds tensors and plain containers alone; a
safetensors file cannot hold anything else. The weights may be all there is, or stand beside an optimiser's state and
counters under a customary name.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from transflow.store.files import PathLike, at_home, check_regular
from transflow.store.signatures import PICKLE, SAFETENSORS, TEXT, name_of, read_start

PLACES = ("state_dict", "model_state_dict", "model", "graph", "net", "flow", "module", "weights")
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")  # of DataParallel, torch.compile and trainers


def read_tensors(path: PathLike) -> dict[str, Tensor]:
    """Return the weights in another program's checkpoint, by name, on the processor.

    Names lose what wraps all of them, such as the ``module.`` of `torch.nn.DataParallel`.

    Args:
        path: a file written by ``torch.save``, or a safetensors file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged, holds objects that would have to be unpickled, or no weights.
    """
    path = at_home(path)
    if Path(path).is_dir():
        raise ValueError(f"Expected a checkpoint file; got a folder: {path}")
    if not Path(path).exists():
        raise FileNotFoundError(f"Expected a checkpoint file; got a path that is not there: {path}")
    check_regular(path, "a checkpoint file")
    weights = _weights(_open(path))
    if not weights:
        raise ValueError(
            f"Expected a checkpoint with weights by name; got none: {path}. "
            "Save them with torch.save(model.state_dict(), path)."
        )
    while wrapper := next((w for w in WRAPPERS if all(name.startswith(w) for name in weights)), None):
        weights = {name.removeprefix(wrapper): tensor for name, tensor in weights.items()}
    return weights


def _open(path: PathLike) -> Any:
    try:
        if Path(path).suffix == ".safetensors":
            return load(Path(path).read_bytes())  # a copy: tensors of a mapped file change, and die, with it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles by another protocol, which are read or refused all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        objects = f"objects ({found[1]})" if found else "other objects"
        raise ValueError(
            f"Expected a checkpoint of tensors alone; got one with {objects}, which are never unpickled since they "
            f"can run code: {path}. Where you trust it, open it yourself and save model.state_dict() alone."
        ) from None
    except Exception:  # torch's reader raises many kinds on damaged files
        named = name_of(read_start(path))
        if named.what and named.what not in (PICKLE, SAFETENSORS, TEXT):
            raise ValueError(named.told(f"Expected a checkpoint; got {named.what}: {path}")) from None
        raise ValueError(
            f"Expected a checkpoint written by torch.save; got another kind of file or a damaged one: {path}"
        ) from None


def _weights(found: Any) -> dict[str, Tensor] | None:
    """Return the tensors by name in what a file holds: itself, under a customary name, or the only ones there."""
    if not isinstance(found, Mapping):
        return None
    if found and all(isinstance(part, Tensor) for part in found.values()):
        return {str(name): tensor for name, tensor in found.items()}
    inner = {name: _weights(part) for name, part in found.items() if isinstance(part, Mapping)}
    inner = {name: part for name, part in inner.items() if part}
    named = [name for name in PLACES if name in inner]
    if named:
        return inner[named[0]]
    return next(iter(inner.values())) if len(inner) == 1 else None
