"""One file of a folder of latents: some pictures' names, digests and latents, written whole and checked when read.

A shard is known by a key, a hash of its files' names and bytes and of what each picture became. It counts as done only
where its checksum holds and it has a latent for each good picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.latents.encoded import Encoded, encode_batch, filled
from transflow.pictures.decode import DecodedFile, OnBad, batched, decode_files, digests, noting
from transflow.pictures.files import File
from transflow.store import container

SHARD = container.Schema(  # may have no picture
    "latents", {"fingerprint": str, "key": str, "files": list, "bad": list}, infinite=frozenset({"log_prob"})
)
Report = Callable[[int, bool], None]


def shard_path(folder: Path, number: int) -> Path:
    """Return the file of a shard."""
    return folder / f"{number:06d}.safetensors"


def good_files(header: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and digests of a shard's pictures."""
    return [(name, key) for name, _, key in header["files"] if key]


def read_shard(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and header of a shard, whole: its checksum holds, and it has a latent for each good file.

    Raises:
        ValueError, OSError: it is damaged, or not there.
    """
    tensors, header = container.read(path, SHARD)
    texts = [text for file in header["files"] for text in (file if isinstance(file, list) and len(file) == 3 else [0])]
    fine = all(isinstance(text, str) for text in [*texts, *header["bad"]])
    count = len(good_files(header)) if fine else -1
    latents = tensors.get("latents")
    fine &= latents is None if not count else latents is not None and latents.ndim == 2
    fine &= all(len(tensor) == count for tensor in tensors.values() if tensor.ndim) and header["key"] == _key(header)
    if not fine or not all(tensor.ndim for tensor in tensors.values()):
        raise ValueError(f"Expected a whole shard of latents; got a damaged one: {path}. Encode the pictures again.")
    return tensors, header


def _key(header: dict[str, Any]) -> str:
    """A hash of a shard's files and pictures."""
    return hashlib.sha256(json.dumps(header["files"]).encode()).hexdigest()[:32]


def reusable(path: Path, part: list[File], model: BaseModel) -> dict[str, Any] | None:
    """Return the header of a shard if it is of these files, their bytes and this model, else None."""
    try:
        tensors, header = read_shard(path)
    except (ValueError, OSError):
        return None
    if "latents" in tensors and tensors["latents"].shape[1] != model.dim:
        return None
    if not model.made(header["fingerprint"]) or [name for name, *_ in header["files"]] != [f.name for f in part]:
        return None
    return header if [key for _, key, _ in header["files"]] == list(digests(part)) else None


def encode_shard(
    model: BaseModel, part: list[File], batch: int, on_bad: OnBad | None, report: Report | None, *, alone: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and header of a new shard."""
    decoded: list[tuple[str, str, bool]] = []
    bad: list[str] = []

    def decode() -> Iterator[DecodedFile]:
        for file in decode_files(part, model.shape):
            decoded.append((file.name, file.digest, file.pixels is not None))
            yield file

    likely = model.can("score") and not model.can("evaluations")  # a sampler's density costs several encodings
    done: list[Encoded] = []
    for pictures, rows in filled(batched(decode(), batch, noting(bad, on_bad)), batch, alone=alone):
        done.append(encode_batch(model, pictures, rows, log_prob=likely))
        if report:
            report(len(done[-1]), True)
    keys = iter([key for some in done for key in some.digests])
    listed = [(name, of_bytes, next(keys) if good else "") for name, of_bytes, good in decoded]
    key = _key({"files": listed})
    tensors = {}
    for name in ("latents", "log_prob", "variance"):
        parts = [found for some in done if (found := getattr(some, name)) is not None]
        if parts:
            tensors[name] = torch.cat(parts)
    return tensors, {"fingerprint": model.fingerprint, "key": key, "files": listed, "bad": bad}
