"""One kind of file for all that is kept: safetensors, with a JSON header; nothing is pickled.

The file's metadata has one entry, ``transflow``: JSON with the format's number, the kind (such as "model" or
"posterior"), what that kind needs beside its tensors, and a checksum

    sha256(canonical JSON of the header without it; then name, dtype, shape and bytes of each tensor by name)

so that a damaged bit is found whenever the file is read. A `Schema` stands beside the class that it stores, and one
reader checks kind, keys, types, tensors and finiteness against it before anything is built.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from transflow.plain_values import quoted
from transflow.store.files import PathLike, at_home, check_folder, check_writable, write_bytes
from transflow.store.identity import canonical, plain
from transflow.store.signatures import AGAIN, SAFETENSORS, name_of, read_start
from transflow.store.tensors import Damaged, opened, read_head, read_json, read_tensors

__all__ = ["FORMAT", "PathLike", "Schema", "check_folder", "check_writable", "header", "read", "write", "write_bytes"]

FORMAT = 1
OWN = ("format", "kind", "checksum")  # keys that the container adds
Types = type | tuple[type, ...]


@dataclass(frozen=True)
class Schema:
    """What a kind of file must have.

    Attributes:
        kind: its name, such as "posterior".
        keys: of the header, and the types of their values.
        tensors: those that every file of the kind has.
        optional: keys that a file may have, and the types of their values.
        infinite: tensors that may hold infinity; none may hold NaN.
    """

    kind: str
    keys: Mapping[str, Types] = field(default_factory=dict)
    tensors: frozenset[str] = frozenset()
    optional: Mapping[str, Types] = field(default_factory=dict)
    infinite: frozenset[str] = frozenset()


class OtherKind(ValueError):
    """A path is no file of ours, or one of another kind than was asked for."""


def write(path: PathLike, kind: str, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a header of plain values as one safetensors file, whole or not at all."""
    found = plain({"format": FORMAT, "kind": kind, **{key: v for key, v in header.items() if key not in OWN}})
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    found["checksum"] = checksum(found, ready)
    text = json.dumps(found)
    try:
        read_json(text)
    except Damaged:
        raise ValueError(f"Expected whole numbers of 64 bits at most in a {kind} file; got others: {path}") from None
    try:
        content = save(ready, {"transflow": text})
    except SafetensorError as error:
        raise OSError(
            f"Expected tensors that fit into a safetensors file; got too many or too large ones ({error}): {path}"
        ) from None
    write_bytes(path, content)


def header(path: PathLike, schema: Schema | None = None) -> dict[str, Any]:
    """Return the JSON header of one of our files, without its tensors, and so without its checksum being checked.

    Args:
        path: the file.
        schema: what it must have; None for a file of any kind.

    Raises:
        ValueError: the file is not one of ours, or not of that schema.
        FileNotFoundError: it is not there.
    """
    return _read(path, schema, with_tensors=False)[1]


def kind_of(path: PathLike) -> str:
    """Return the kind of a file of ours; "" for another's, or a damaged one."""
    try:
        return str(header(path)["kind"]) if Path(at_home(path)).is_file() else ""
    except (ValueError, OSError):
        return ""


def is_kind(path: PathLike, kind: str) -> bool:
    """Return whether a path is a file of ours, of this kind; a damaged one is of none."""
    return kind_of(path) == kind


def read(path: PathLike, schema: Schema) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of a file of this schema.

    Raises:
        ValueError, FileNotFoundError: as `header`; or the file is damaged, or lacks a tensor.
    """
    return _whole(path, schema, *_read(path, schema, with_tensors=True))


def read_if(path: PathLike, schema: Schema) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return what `read` does, of one reading; None where the path is no file of ours, or one of another kind."""
    try:
        return read(path, schema)
    except (OtherKind, OSError):
        return None


def _whole(
    path: PathLike, schema: Schema, tensors: dict[str, Tensor], found: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file, if its tensors are what it says."""
    whole = f"Expected a whole {schema.kind} file; got {{}}: {path}"
    if missing := sorted(schema.tensors - tensors.keys()):
        raise ValueError(whole.format(f"one without {', '.join(missing)}"))
    if "checksum" in found and found["checksum"] != checksum(found, tensors):
        raise ValueError(whole.format("a damaged one, whose checksum is another"))
    for name, tensor in tensors.items():
        bad = torch.isnan if name in schema.infinite else _not_finite
        if tensor.is_floating_point() and bad(tensor).any():
            raise ValueError(whole.format(f"one with NaN or infinity in {name}, where all is finite"))
    return tensors, found


def checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of a header, its checksum left out, and of tensors, 64 hexadecimal digits."""
    whole = hashlib.sha256(canonical({key: value for key, value in header.items() if key != "checksum"}).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        whole.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode(errors="surrogatepass"))
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def _not_finite(tensor: Tensor) -> Tensor:
    return ~torch.isfinite(tensor)


def _read(path: PathLike, schema: Schema | None, *, with_tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    wrong = f"Expected a file written by transflow (.safetensors); got {{}}: {path}"
    kind: type[ValueError] = OtherKind  # until it is known to be one of ours
    try:
        with opened(path) as file:
            entries, metadata = read_head(file)
            kind = ValueError
            found = _checked(metadata, schema, wrong, path)
            return read_tensors(file, entries) if with_tensors else {}, found
    except FileNotFoundError:
        raise FileNotFoundError(f"Expected a file written by transflow; got a path that is not there: {path}") from None
    except Damaged as error:
        what, named = str(error), name_of(read_start(path))
        if "another format" in what and named.what not in ("", SAFETENSORS):
            raise kind(named.told(wrong.format(named.what))) from None
        if what.endswith(AGAIN):
            raise kind(f"{wrong.format(what.removesuffix(AGAIN).rstrip(' .'))}. {AGAIN}") from None
        raise kind(wrong.format(what)) from None
    except OSError as error:
        raise OSError(f"Expected a file that can be read; got {path} ({error.strerror})") from None


def _checked(metadata: dict[str, str], schema: Schema | None, wrong: str, path: PathLike) -> dict[str, Any]:
    """The header in the metadata of a file, if it is of the schema."""
    foreign = OtherKind(wrong.format("a safetensors file of another program"))
    try:
        found = read_json(metadata["transflow"])
    except (KeyError, Damaged):
        raise foreign from None
    if not isinstance(found, dict) or not isinstance(kind := found.get("kind"), str) or "format" not in found:
        raise foreign
    if found["format"] != FORMAT:
        raise ValueError(wrong.format(f"format {quoted(found['format'])}, and this version reads {FORMAT}"))
    if schema is None:
        return found
    if kind != schema.kind:
        raise OtherKind(f"Expected a {schema.kind} file; got a {quoted(kind)}: {path}")
    if missing := sorted(schema.keys - found.keys()):
        raise ValueError(wrong.format(f"a damaged one, without {', '.join(missing)}"))
    for key, types in {**schema.keys, **schema.optional}.items():
        if key in found and not _is(found[key], types):
            raise ValueError(wrong.format(f"a damaged one, whose {key} is {quoted(found[key])}"))
    return found


def _is(value: Any, types: Types) -> bool:
    """Whether a value is of types; True is no number."""
    several = types if isinstance(types, tuple) else (types,)
    return isinstance(value, types) and (not isinstance(value, bool) or bool in several)
