"""What a classifier sees of pictures: their latents, or directions, and a flow's inner activations.

Each may be seen of copies under small affine maps, too (see `augment`); and encodings may be kept in a
folder for the next time the same pictures come.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from transflow.conditioning.model import Model
from transflow.fewshot.densities import directions
from transflow.pictures import augment as maps
from transflow.pictures import decode as data
from transflow.pictures.preprocess import BATCH
from transflow.store import container as checkpoint
from transflow.store.files import PathLike

Augment = bool | int | Callable[[Tensor], Tensor]


def encoded(
    model: Model,
    views: Sequence[str],
    pictures: Tensor,
    augment: Augment,
    strength: float = 1.0,
    cache: PathLike | None = None,
) -> dict[str, Tensor]:
    """Return views of n pictures in K copies, each (n, K, D); of one pass, where the model has one for both.

    Args:
        model: what encodes.
        views: which: "latents" or "directions", and "activations".
        pictures: fitted to the model, uint8, (n, C, S, S).
        augment: True for the usual number of copies, or how many, or what makes them: (B, C, S, S) to (B, K, C, S, S).
        strength: of the maps that move copies about.
        cache: a folder where encodings are kept.
    """
    kinds = ["latents" if view == "directions" else view for view in views]
    entries = {kind: _entry(cache, model, kind, pictures, augment, strength) for kind in kinds}
    found = {kind: load_file(entry)["encoded"] for kind, entry in entries.items() if entry and entry.exists()}
    missing = [kind for kind in kinds if kind not in found]
    parts: dict[str, list[Tensor]] = {kind: [] for kind in missing}
    for i in range(0, len(pictures) if missing else 0, BATCH):
        copies = _copies(pictures[i : i + BATCH], augment, strength)
        for kind, part in _seen(model.source, missing, copies.flatten(0, 1)).items():
            parts[kind].append(part.unflatten(0, copies.shape[:2]).cpu())
    for kind, done in parts.items():
        found[kind] = torch.cat(done)
        if entry := entries[kind]:
            checkpoint.write_bytes(entry, save({"encoded": found[kind]}))
    return {v: directions(found[k]) if v == "directions" else found[k] for v, k in zip(views, kinds, strict=True)}


def labelled(folder: Any, model: Model, *, on_bad: Callable[[str], None] | None = None) -> tuple[Tensor, list[str]]:
    """Return the pictures of a folder with a sub-folder for each class, fitted to the model, and their classes."""
    if not isinstance(folder, (str, os.PathLike)) or not Path(folder).is_dir():
        raise ValueError("Expected labels, or a folder with a sub-folder for each class; got neither.")
    read = data.read(folder, model.shape, on_bad=on_bad)
    parts = [Path(name).relative_to(folder).parts for name in read.names]
    loose = [name for name, part in zip(read.names, parts, strict=True) if len(part) < 2]
    if loose:
        raise ValueError(f"Expected pictures in sub-folders, one a class; got one outside of them: {loose[0]}")
    return read.pixels, [part[0] for part in parts]


def _entry(
    cache: PathLike | None, model: Model, kind: str, pictures: Tensor, augment: Augment, strength: float
) -> Path | None:
    """The file that keeps an encoding; None where there is no folder, or nothing to know the encoding by."""
    if cache is None or not model.fingerprint or not isinstance(augment, (bool, int)):
        return None
    folder = Path(cache)
    folder.mkdir(parents=True, exist_ok=True)
    said = repr((model.fingerprint, model.precision, kind, _count(augment), strength, tuple(pictures.shape))).encode()
    digest = hashlib.sha256(said + pictures.contiguous().numpy().tobytes())
    return folder / f"{digest.hexdigest()[:40]}.safetensors"


def _seen(source: Any, kinds: Sequence[str], pictures: Tensor) -> dict[str, Tensor]:
    """What a source makes of pictures, latents or activations or both, each (B, D)."""
    if len(kinds) == 2 and hasattr(source, "encode_and_features"):
        return dict(zip(("latents", "activations"), source.encode_and_features(pictures), strict=True))
    return {kind: (source.encode if kind == "latents" else source.features)(pictures) for kind in kinds}


def _copies(pictures: Tensor, augment: Augment, strength: float) -> Tensor:
    if callable(augment):
        copies = augment(pictures)
        if not isinstance(copies, Tensor) or copies.ndim != 5 or copies.shape[0] != len(pictures):
            got = tuple(copies.shape) if isinstance(copies, Tensor) else type(copies).__name__
            raise ValueError(f"Expected augment to return pictures (B, K, C, H, W), B = {len(pictures)}; got {got}.")
        return copies
    return maps.affine(pictures, _count(augment), strength=strength)


def _count(augment: bool | int) -> int:
    return (maps.COPIES if augment else 1) if isinstance(augment, bool) else int(augment)
