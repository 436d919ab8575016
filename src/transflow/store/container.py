"""Models and posteriors on disk: one safetensors file each, nothing pickled.

The file's metadata has one entry, ``transflow``: JSON with the format's number, the kind
(such as "model" or "posterior") and what that kind needs beside its tensors.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from transflow.generative.glow import Glow, GlowConfig
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat
from transflow.store.identity import newer, options, read_options

FORMAT = 1
NEEDED = {  # in the header of each kind
    "model": {"config", "card"},
    "training": {"config"},
    "posterior": {"model", "fingerprint", "precision", "noise", "count"},
    "latents": {"fingerprint", "key", "files", "bad"},
    "latents index": {"model", "fingerprint", "dtype", "finished", "count", "shards"},
}
PathLike = str | os.PathLike[str]


def check_writable(path: PathLike) -> None:
    """Raise `OSError` now if a file could not be written there, before any work is done for it."""
    target = Path(path)
    if target.is_dir():
        raise OSError(f"Expected a file to write; got a folder: {target}")
    if target.exists() and not target.is_file():
        raise OSError(f"Expected a file to write; got a device or a pipe: {target}")
    if not target.parent.is_dir():
        raise OSError(f"Expected an output in a folder that is there; got: {target}")
    if not os.access(target.parent, os.W_OK):
        raise OSError(f"Expected an output that can be written; got one in a folder that cannot: {target}")


def check_folder(path: PathLike) -> None:
    """Raise `OSError` now if no files could be written into a folder, there or to be made with all above it."""
    target = Path(path)
    there = next(folder for folder in (target, *target.absolute().parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise OSError(f"Expected a folder to write into; got a file: {there}")
    if not os.access(there, os.W_OK):
        raise OSError(f"Expected a folder that can be written; got one that cannot: {target}")


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write a file whole or not at all: beside its place first, then moved there; links are followed."""
    check_writable(path)
    target = Path(path).resolve()
    beside = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        beside = Path(name)
        with open(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)
        os.replace(beside, target)
    except OSError as error:
        raise OSError(f"Expected an output that can be written; got {path} ({error.strerror})") from None
    finally:
        if beside:
            beside.unlink(missing_ok=True)


def write(path: PathLike, kind: str, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file, whole or not at all."""
    text = json.dumps({"format": FORMAT, "kind": kind, **header})
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        content = save(plain, {"transflow": text})
    except SafetensorError as error:
        raise OSError(f"Expected what a safetensors file can hold; got more ({error}): {path}") from None
    write_bytes(path, content)


def header(path: PathLike, kind: str = "") -> dict[str, Any]:
    """Return the JSON header of one of our files, without its tensors.

    Raises:
        ValueError: the file is not one of ours, or not of the kind that was said.
    """
    wrong = f"Expected a file written by transflow (.safetensors); got {{}}: {path}"
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise FileNotFoundError(f"Expected a file written by transflow; got a path that is not there: {path}") from None
    except (SafetensorError, OSError):
        if Path(path).is_dir():
            raise ValueError(wrong.format("a folder")) from None
        with open(path, "rb") as raw:
            start = raw.read(4)
        pickled = start[:2] == b"PK" or start[:1] == b"\x80"
        what = (
            "a pickle, which is never opened since it can run code" if pickled else "a damaged file or another format"
        )
        raise ValueError(wrong.format(what)) from None
    try:
        found = json.loads(metadata["transflow"])
        number, _ = found["format"], found["kind"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(wrong.format("a safetensors file of another program")) from None
    if number != FORMAT:
        raise ValueError(wrong.format(f"format {number}, and this version reads {FORMAT}"))
    if kind and found["kind"] != kind:
        raise ValueError(f"Expected a {kind} file; got a {found['kind']}: {path}")
    if missing := NEEDED.get(found["kind"], set()) - found.keys():
        raise ValueError(wrong.format(f"a damaged one, without {', '.join(sorted(missing))}"))
    return dict(found)


def read(path: PathLike, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of one of our files of this kind."""
    found = header(path, kind)
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, found  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"Expected a whole {kind} file; got a damaged one ({error}): {path}") from None


def save_model(path: PathLike, model: PictureModel, *, half: bool = True) -> None:
    """Write a model: weights, architecture, pixel format and card.

    Args:
        path: the file to write.
        model: what to write.
        half: keep the convolutions in half precision. The model that is read back is a
            slightly different one, exact in itself: encoder and decoder share the weights.
    """
    tensors = {
        name: tensor.half() if half and tensor.ndim == 4 else tensor for name, tensor in model.flow.state_dict().items()
    }
    extra = {"family": "glow", "config": options(model.flow.config), "pixels": options(model.pixels)}
    write(path, "model", tensors, extra | {"card": model.card})


def read_config(path: PathLike, found: dict[str, Any]) -> tuple[GlowConfig, PixelFormat]:
    """Return the architecture and the pixel format in the header of a model's file.

    Raises:
        ValueError: it is damaged, or has what only a newer version knows.
    """
    if (family := found.get("family", "glow")) != "glow":
        raise newer(f"a model of the family {family}", path)
    pixels = found.get("pixels")
    if pixels is None:  # as 0.1.0 wrote it
        low, high = found.get("pixel_range", (-0.5, 0.5))
        pixels = {"bits": found.get("bits", PixelFormat.bits), "low": low, "high": high}
    return read_options(GlowConfig, found["config"], path), read_options(PixelFormat, pixels, path)


def load_model(path: PathLike, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> PictureModel:
    """Return the model in a file, ready for use, without gradients.

    Args:
        path: the file.
        dtype: float32 or float64, of all; or bfloat16, of the coupling networks in use, all else being float32.
        device: where it is to compute.

    Raises:
        ValueError: the file is damaged, foreign, or of another kind; the message says which.
    """
    networks = torch.bfloat16 if dtype == torch.bfloat16 else None
    dtype = torch.float32 if networks else dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"Expected dtype float32, bfloat16 or float64; got {dtype}.")
    tensors, found = read(path, "model")
    config, pixels = read_config(path, found)
    damaged = f"Expected a whole model file; got one whose weights do not fit its architecture: {path}"
    try:
        with torch.random.fork_rng(devices=[]):  # on "meta" it would load torch's compiler, a second or more
            flow = Glow(config)
        weights = {name: t if t.dtype == torch.bool else t.to(dtype) for name, t in tensors.items()}
        flow.load_state_dict(weights, assign=True)
        card = dict(found["card"])
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise ValueError(damaged) from None
    if not all(torch.isfinite(t).all() for t in weights.values()):
        raise ValueError(f"Expected finite weights; got NaN or infinity: {path}")
    flow.requires_grad_(False).eval()
    flow.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return PictureModel(flow, pixels, card, networks)
