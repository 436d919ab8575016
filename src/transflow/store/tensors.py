"""The bytes of a safetensors file: read once, front to back, into memory of our own, and checked on the way.

    8 bytes: n    |    n bytes: JSON, {name: {dtype, shape, data_offsets}, "__metadata__": {...}}    |    the tensors

What is read no longer hangs on the file: it is a copy, made before any hash or check, where a memory-mapped tensor
changes with the file, and ends the process where the file is cut. Nothing is made before it is known that the file has
the bytes for it, so a small file takes little memory whatever it says.

Reference: the format of https://github.com/huggingface/safetensors, of which we read a subset as strictly.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from transflow.store.files import PathLike, at_home
from transflow.store.signatures import AGAIN

LARGEST = 2**26  # bytes of JSON
DEEPEST = 32  # levels of JSON
DIGITS = 20  # of a whole number in JSON, its sign among them
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class Damaged(ValueError):
    """The file is no whole safetensors file; the message says why, without the file's name."""


@contextmanager
def opened(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file to read.

    Raises:
        Damaged: it is a folder, a pipe or a device.
        OSError: it is not there, or cannot be read.
    """
    path = at_home(path)
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode):
        raise Damaged("a folder" if stat.S_ISDIR(mode) else "a pipe or a device")
    with open(path, "rb") as file:
        yield file


def read_head(file: BinaryIO) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the entries of the tensors by name, and the metadata, of a file at its beginning.

    Raises:
        Damaged: it is none, or cut within its head.
    """
    size = int.from_bytes(file.read(8), "little")
    if not 2 <= size <= LARGEST:
        raise Damaged("a damaged file or another format")
    text = file.read(size)
    if len(text) < size and text[:1] == b"{":
        raise Damaged(f"a damaged file, cut to {8 + len(text)} bytes; its header alone has {8 + size}. {AGAIN}")
    found = read_json(text)
    if len(text) < size or not isinstance(found, dict):
        raise Damaged("a damaged file or another format")
    metadata = found.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(words, str) for words in metadata.values()):
        raise Damaged("a damaged file or another format")
    return found, metadata


def read_tensors(file: BinaryIO, entries: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors that follow the head, by name.

    Raises:
        Damaged: entries are none, do not fit the file's bytes, or the file is cut.
    """
    at, end = file.tell(), file.seek(0, 2)
    file.seek(at)
    placed = sorted((_place(name, entry) for name, entry in entries.items()), key=lambda place: place[1:3])
    found, expected = {}, 0
    for name, first, last, dtype, shape in placed:
        if last > end - at and first == expected:
            raise Damaged(f"a damaged file, cut to {end} bytes; {name[:80]} ends at {at + last}. {AGAIN}")
        if first != expected or last - first != math.prod(shape) * dtype.itemsize:
            raise Damaged(f"a damaged file, or one that was cut: {name} is not where it should be")
        expected = last
    if expected != end - at:
        raise Damaged("a damaged file, or one that was cut")
    for name, first, last, dtype, shape in placed:
        tensor = torch.empty(shape, dtype=dtype, device="cpu")
        raw = tensor.view(-1).view(torch.uint8).numpy()
        if raw.size and file.readinto(raw) != last - first:  # type: ignore[attr-defined]
            raise Damaged("a file that was cut while it was read")
        if dtype == torch.bool and (raw > 1).any():
            raise Damaged(f"a damaged file: {name} is neither true nor false")
        found[name] = tensor
    return found


def read_json(text: bytes | str) -> Any:
    """Return what JSON says: numbers finite and of 64 bits, a bounded number of levels.

    Raises:
        Damaged: it is no JSON, or goes beyond.
    """
    try:
        found = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise Damaged("a damaged file or another format") from None
    _check_depth(found, DEEPEST)
    return found


def _place(name: str, entry: Any) -> tuple[str, int, int, torch.dtype, tuple[int, ...]]:
    """Name, first and last byte, dtype and shape of a tensor."""
    if not isinstance(entry, dict) or not isinstance(dtype := entry.get("dtype"), str) or dtype not in DTYPES:
        raise Damaged(f"a damaged file: {name[:80]} has a dtype that is not known")
    numbers: list[list[int]] = []
    for key in ("shape", "data_offsets"):
        found = entry.get(key)
        if not isinstance(found, list) or not all(type(n) is int and n >= 0 for n in found):
            raise Damaged(f"a damaged file: {name[:80]} has no {key}")
        numbers.append(found)
    shape, offsets = numbers
    if len(offsets) != 2:
        raise Damaged(f"a damaged file: {name[:80]} has no place")
    return name, offsets[0], offsets[1], DTYPES[dtype], tuple(shape)


def _whole(text: str) -> int:
    number = int(text) if len(text) <= DIGITS else 2**63
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _check_depth(value: Any, levels: int) -> None:
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if parts and not levels:
        raise Damaged("a damaged file: its header is nested too deeply")
    for part in parts:
        if isinstance(part, (dict, list)):
            _check_depth(part, levels - 1)
