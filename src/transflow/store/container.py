"""One kind of file for all that is kept: safetensors, with a JSON header; nothing is pickled.

The file's metadata has one entry, ``transflow``: JSON with the format's number, the kind (such as "model" or
"posterior") and what that kind needs beside its tensors. A `Schema` stands beside the class that it stores, and one
reader checks kind, keys and tensors against it before anything is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from transflow.store.files import PathLike, check_folder, check_writable, write_bytes
from transflow.store.identity import plain

__all__ = ["FORMAT", "PathLike", "Schema", "check_folder", "check_writable", "header", "read", "write", "write_bytes"]

FORMAT = 1


@dataclass(frozen=True)
class Schema:
    """What a kind of file must have.

    Attributes:
        kind: its name, such as "posterior".
        keys: of the header, and the types of their values.
        tensors: those that every file of the kind has.
    """

    kind: str
    keys: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
    tensors: frozenset[str] = frozenset()


def write(path: PathLike, kind: str, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a header of plain values as one safetensors file, whole or not at all."""
    text = json.dumps(plain({"format": FORMAT, "kind": kind, **header}))
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        content = save(ready, {"transflow": text})
    except SafetensorError as error:
        raise OSError(
            f"Expected tensors that fit into a safetensors file; got too many or too large ones ({error}): {path}"
        ) from None
    write_bytes(path, content)


def header(path: PathLike, schema: Schema | None = None) -> dict[str, Any]:
    """Return the JSON header of one of our files, without its tensors.

    Args:
        path: the file.
        schema: what it must have; None for a file of any kind.

    Raises:
        ValueError: the file is not one of ours, or not of that schema.
        FileNotFoundError: it is not there.
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
        number, kind = found["format"], found["kind"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(wrong.format("a safetensors file of another program")) from None
    if number != FORMAT:
        raise ValueError(wrong.format(f"format {number}, and this version reads {FORMAT}"))
    if schema is None:
        return dict(found)
    if kind != schema.kind:
        raise ValueError(f"Expected a {schema.kind} file; got a {kind}: {path}")
    if missing := sorted(schema.keys - found.keys()):
        raise ValueError(wrong.format(f"a damaged one, without {', '.join(missing)}"))
    for key, types in schema.keys.items():
        if not isinstance(found[key], types):
            raise ValueError(wrong.format(f"a damaged one, whose {key} is {found[key]!r}"))
    return dict(found)


def kind_of(path: PathLike) -> str:
    """Return the kind of a file of ours; "" for another's, or a damaged one."""
    try:
        return str(header(path)["kind"]) if Path(path).is_file() else ""
    except (ValueError, OSError):
        return ""


def is_kind(path: PathLike, kind: str) -> bool:
    """Return whether a path is a file of ours, of this kind; a damaged one is of none."""
    return kind_of(path) == kind


def read(path: PathLike, schema: Schema) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of a file of this schema.

    Raises:
        ValueError, FileNotFoundError: as `header`; or the file is cut, or lacks a tensor.
    """
    found = header(path, schema)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"Expected a whole {schema.kind} file; got a damaged one ({error}): {path}") from None
    if missing := sorted(schema.tensors - tensors.keys()):
        raise ValueError(f"Expected a whole {schema.kind} file; got one without {', '.join(missing)}: {path}")
    return tensors, found
