"""Features of pictures for classification: latents, normalised latents, hidden activations.

Each may be of copies under small affine maps, too (see `pictures.augment`); and encodings may be kept in a folder for
the next time that the same pictures come.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.fewshot.examples import FeatureKind, normalise
from transflow.pictures import augment as maps
from transflow.pictures import datasets
from transflow.pictures.decode import OnBad, Turn, read
from transflow.pictures.labels import check_classes, labels_of
from transflow.pictures.preprocess import BATCH
from transflow.plain_values import scalar, whole
from transflow.store import container
from transflow.store.files import PathLike, at_home, check_folder
from transflow.store.identity import canonical, digest

Augment = bool | int | Callable[[Tensor], Tensor]
LATENTS, NORMALISED, FEATURES = "latents", "normalised", "features"  # names of sets of features
ENCODING = container.Schema("encoding", {}, frozenset({"encoded"}))


def encode_features(
    model: BaseModel,
    augment: Mapping[str, Augment],
    pictures: Tensor,
    strength: float = 1.0,
    cache: PathLike | None = None,
) -> dict[str, Tensor]:
    """Return sets of features of n pictures in K copies, each (n, K, D).

    Sets that have the same copies come of one pass, where the model has one for both.

    Args:
        model: what encodes.
        augment: by set (`LATENTS` or `NORMALISED`, and `FEATURES`): True for the usual number of copies, or their
            number, or a function from (B, C, H, W) to (B, K, C, H, W).
        pictures: of the model's shape, uint8, (n, C, H, W).
        strength: of the maps of the copies.
        cache: a folder where encodings are kept.
    """
    groups: dict[Any, list[str]] = {}
    for name, copies in augment.items():
        groups.setdefault(copies if callable(copies) else copies_of(copies), []).append(name)
    found: dict[str, Tensor] = {}
    for copies, names in groups.items():
        kinds = [FEATURES if name == FEATURES else LATENTS for name in names]
        encoded = _encode(model, kinds, pictures, copies, strength, cache)
        for name, kind in zip(names, kinds, strict=True):
            found[name] = normalise(encoded[kind]) if name == NORMALISED else encoded[kind]
    return {name: found[name] for name in augment}


def feature_kinds(levels: tuple[int, ...] | None) -> dict[str, FeatureKind]:
    """Return what is known of each set of features, levels being those of latents whose prior is N(0, I)."""
    return {LATENTS: FeatureKind(levels), NORMALISED: FeatureKind(levels), FEATURES: FeatureKind(hidden=True)}


def plain_augment(augment: Any) -> Augment:
    """Return what ``augment`` stands for, as plain values.

    Raises:
        ValueError: it is neither True, False, a number of copies nor a function.
    """
    found = scalar(augment)
    if isinstance(found, bool) or callable(found):
        return found
    return whole(found, "augment, if not True, False or a function,", 1)


def copies_of(augment: bool | int) -> int:
    """Return the number of copies, the picture itself included."""
    return (maps.COPIES if augment else 1) if isinstance(augment, bool) else int(augment)


def read_labelled(
    folder: Any, model: BaseModel, *, on_bad: OnBad | None = None, turn: Turn | None = None
) -> tuple[Tensor, list[str]]:
    """Return the pictures of a folder with a sub-folder for each class, or of a labelled dataset, and their classes."""
    if datasets.is_dataset(folder):
        batches, labels = datasets.labelled(folder, BATCH)
        return torch.cat([model.preprocess(part) for part in batches]), labels
    if not isinstance(folder, (str, os.PathLike)) or not Path(folder := at_home(folder)).is_dir():
        raise ValueError("Expected labels, or a folder with a sub-folder for each class; got neither.")
    check_classes(folder)
    found = read(folder, model.shape, on_bad=on_bad, turn=turn)
    return found.pixels, labels_of(folder, found.names)


def _encode(
    model: BaseModel,
    kinds: Iterable[str],
    pictures: Tensor,
    augment: int | Callable[[Tensor], Tensor],
    strength: float,
    cache: PathLike | None,
) -> dict[str, Tensor]:
    """Latents or features or both, by kind, each (n, K, D); from the cache where it has them."""
    entries = {kind: _entry(cache, model, kind, pictures, augment, strength) for kind in kinds}
    found = {kind: known for kind, entry in entries.items() if (known := _kept(entry, len(pictures))) is not None}
    missing = [kind for kind in entries if kind not in found]
    parts: dict[str, list[Tensor]] = {kind: [] for kind in missing}
    for i in range(0, len(pictures) if missing else 0, BATCH):
        copies = _copies(pictures[i : i + BATCH], augment, strength)
        for kind, part in _encode_batch(model, missing, copies.flatten(0, 1)).items():
            parts[kind].append(part.unflatten(0, copies.shape[:2]).cpu())
    for kind, done in parts.items():
        found[kind] = torch.cat(done)
        if entry := entries[kind]:
            container.write(entry, ENCODING.kind, {"encoded": found[kind]}, {})
    return found


def _encode_batch(model: BaseModel, kinds: list[str], pixels: Tensor) -> dict[str, Tensor]:
    if len(kinds) == 2:
        latents, features = model.encode_and_features_of(pixels)
        return {LATENTS: latents, FEATURES: features}
    return {kind: model.features_of(pixels) if kind == FEATURES else model.encode_pixels(pixels) for kind in kinds}


def _entry(
    cache: PathLike | None,
    model: BaseModel,
    kind: str,
    pictures: Tensor,
    augment: int | Callable[[Tensor], Tensor],
    strength: float,
) -> Path | None:
    """The file that keeps an encoding; None without a folder, a fingerprint, or a number of copies."""
    if cache is None or not model.fingerprint or callable(augment):
        return None
    folder = Path(at_home(cache))
    if not folder.is_dir():  # one that can only be read has its use
        check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pixels = digest(pictures.contiguous().numpy().tobytes())
    key = [model.fingerprint, model.precision, kind, augment, float(strength), tuple(pictures.shape), pixels]
    return folder / f"{digest(canonical(key).encode())}.safetensors"


def _kept(entry: Path | None, count: int) -> Tensor | None:
    """The encoding of so many pictures that a file keeps; None where there is none."""
    if entry is None or not entry.exists():
        return None
    encoded = container.read(entry, ENCODING)[0]["encoded"]
    if encoded.ndim != 3 or len(encoded) != count:
        raise ValueError(f"Expected encodings of {count} pictures; got {tuple(encoded.shape)}: {entry}. Remove it.")
    return encoded


def _copies(pictures: Tensor, augment: int | Callable[[Tensor], Tensor], strength: float) -> Tensor:
    if not callable(augment):
        return maps.affine(pictures, augment, strength=strength)
    copies = augment(pictures)
    if not isinstance(copies, Tensor) or copies.ndim != 5 or copies.shape[0] != len(pictures):
        got = tuple(copies.shape) if isinstance(copies, Tensor) else type(copies).__name__
        raise ValueError(f"Expected augment to return pictures (B, K, C, H, W), B = {len(pictures)}; got {got}.")
    return copies
