"""The file of a posterior: sums over its evidence, and latents of pictures where it draws from them.

A posterior of the mean keeps two vectors of D numbers, whatever the number of pictures, and no picture. One that draws
by parents, a mixture or a learned covariance keeps latents, from which the model makes the pictures again: evidence
that is kept is not anonymous, and the file says so under "holds".

Files of earlier versions have sums alone, and are drawn from in the paper's way.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.conditioning.gathered import Gathered
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.kept import LIMIT, Kept
from transflow.gaussians.learn import MEAN, Learn, parse_learn
from transflow.gaussians.noise import NoiseSpec, parse_noise
from transflow.gaussians.sketch import Sketch
from transflow.plain_values import quoted
from transflow.store import container
from transflow.store.files import PathLike

POSTERIOR = container.Schema(
    "posterior",
    {"model": str, "fingerprint": str, "precision": str, "noise": (str, float, int), "count": int},
    frozenset({"total", "scatter", "digests"}),
)
SUMS = "sums over the latents of pictures"
LATENTS = (
    "latents of {} pictures, from which the model makes these pictures again: evidence that is kept is not anonymous"
)


def write(path: PathLike, model: BaseModel, gathered: Gathered, noise: NoiseSpec, learn: Learn) -> None:
    """Write what is gathered of a model's evidence, and how new pictures are drawn, as one file.

    The file of a model without a fingerprint is marked as such: it opens with any model without one, and nothing
    can tell whether that is the same.
    """
    evidence, kept = gathered.evidence, gathered.kept
    tensors = {"total": evidence.total, "scatter": evidence.scatter, "digests": _bytes_of(gathered.digests)}
    header: dict[str, Any] = {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "precision": model.precision,
        "noise": noise if isinstance(noise, str) else float(noise),
        "count": evidence.count,
        "holds": SUMS if kept is None else LATENTS.format(len(kept)),
    }
    if gathered.variance is not None:
        tensors["variance"] = gathered.variance
    if kept is not None:
        tensors |= {"latents": kept.rows, "kept": _bytes_of(kept.keys)}
        if gathered.sketch is not None and kept.left_out:  # of all that are kept, it is made again
            tensors["sketch"] = gathered.sketch.factor
            header["lost"] = gathered.sketch.lost
        header |= {"learn": learn.spec, "novelty": learn.novelty, "long": learn.long, "limit": kept.limit}
    container.write(path, POSTERIOR.kind, tensors, header)


def read(path: PathLike) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of a posterior's file."""
    return container.read(path, POSTERIOR)


def read_if(path: PathLike) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return what `read` does, of one reading; None where the path is no posterior's file."""
    return container.read_if(path, POSTERIOR)


def gathered_of(path: PathLike, tensors: dict[str, Tensor], header: dict[str, Any], model: BaseModel) -> Gathered:
    """Return what a file's posterior has gathered, on the model's device.

    Raises:
        ValueError: a tensor is damaged, or of another size than the model's latents.
    """
    if tensors["total"].shape != (model.dim,):
        raise ValueError(f"Expected a posterior of D = {model.dim}; got D = {tensors['total'].numel()}: {path}")
    for name in ("total", "scatter", "variance"):
        tensor = tensors.get(name, tensors["total"])
        if tensor.shape != (model.dim,) or tensor.dtype != torch.float64:
            raise ValueError(f"Expected a whole posterior file; got one with a damaged {name}: {path}")
    try:
        evidence = Evidence(header["count"], tensors["total"].to(model.device), tensors["scatter"].to(model.device))
        parse_noise(header["noise"])
    except ValueError as error:
        raise ValueError(f"Expected a whole posterior file; got a damaged one ({quoted(str(error))}): {path}") from None
    digests = _strings_of(tensors["digests"]) if tensors["digests"].dtype == torch.uint8 else ()
    if len(digests) != evidence.count:
        raise ValueError(f"Expected {evidence.count} digests of pictures; got {len(digests)}: {path}")
    variance = tensors["variance"].to(model.device) if "variance" in tensors else None
    kept = _kept_of(path, tensors, header, model, digests)
    sketch = None if kept is None else _sketch_of(path, tensors, header, evidence, kept)
    return Gathered(evidence, digests, variance, kept, sketch)


def learn_of(path: PathLike, header: dict[str, Any]) -> Learn:
    """Return how a file's posterior is drawn from; in the paper's way where it does not say."""
    if "learn" not in header:
        return MEAN
    try:
        return parse_learn(header["learn"], header.get("novelty"), long=bool(header.get("long")))
    except ValueError as wrong:
        raise ValueError(f"Expected a posterior of this version; got one damaged or newer ({wrong}): {path}") from None


def _kept_of(
    path: PathLike, tensors: dict[str, Tensor], header: dict[str, Any], model: BaseModel, digests: tuple[str, ...]
) -> Kept | None:
    """The latents that a file holds. Every digest below the smallest that is not held is held, so `beyond` is known."""
    if "latents" not in tensors:
        return None
    rows, keys = tensors["latents"], _strings_of(tensors.get("kept", torch.zeros(0, dtype=torch.uint8, device="cpu")))
    counts, limit = Counter(digests), int(header.get("limit", LIMIT))
    whole = rows.ndim == 2 and rows.shape == (len(keys), model.dim) and bool(torch.isfinite(rows).all())
    if not whole or keys != tuple(sorted(set(keys))) or not counts.keys() >= set(keys) or len(keys) > limit:
        raise ValueError(f"Expected a whole posterior file; got one with damaged latents: {path}")
    held = tuple(counts[key] for key in keys)
    beyond = min(counts.keys() - set(keys), default="")
    return Kept(keys, rows.to(model.device), held, len(digests) - sum(held), beyond, limit)


def _sketch_of(
    path: PathLike, tensors: dict[str, Tensor], header: dict[str, Any], evidence: Evidence, kept: Kept
) -> Sketch | None:
    """The sketch of a posterior of the covariance: of the file, or of all its latents."""
    if learn_of(path, header).way != "covariance":
        return None
    if not kept.left_out:
        repeats = torch.tensor(kept.counts, device=kept.rows.device, dtype=torch.long)
        return Sketch.of(kept.rows.repeat_interleave(repeats, 0), kept.limit)
    if "sketch" not in tensors:
        return None
    factor, lost = tensors["sketch"].to(evidence.total), header.get("lost", 0.0)
    whole = factor.ndim == 2 and factor.shape[1] == evidence.dim and bool(torch.isfinite(factor).all())
    if not whole or len(factor) > kept.limit or not isinstance(lost, (int, float)):
        raise ValueError(f"Expected a whole posterior file; got one with a damaged sketch: {path}")
    return Sketch(evidence, factor, kept.limit, float(lost))


def _bytes_of(keys: tuple[str, ...]) -> Tensor:
    return torch.from_numpy(np.array(bytearray.fromhex("".join(keys)), dtype=np.uint8))


def _strings_of(tensor: Tensor) -> tuple[str, ...]:
    keys = tensor.numpy().tobytes().hex()
    return tuple(keys[i : i + 32] for i in range(0, len(keys), 32))
