"""Latents of many pictures in a folder: one safetensors file for about 16 MiB of them, and an index.

Each file, a shard, is written whole or not at all. A second run with the same pictures skips the shards whose files
have the same names and the same bytes, by a hash, so that an interrupted run is finished and a changed set updated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from transflow.base_model import BaseModel
from transflow.latents.encoded import Encoded
from transflow.latents.shard import SHARD, Report, encode_shard, good_files, read_shard, reusable, shard_path
from transflow.pictures.decode import OnBad, no_pictures_error
from transflow.pictures.files import BadPicture, File, is_litter
from transflow.pictures.given import Source, as_list
from transflow.pictures.preprocess import BATCH
from transflow.pictures.sources import check_apart, chunks, files
from transflow.plain_values import one_line, quoted
from transflow.store import container
from transflow.store.files import PathLike, at_home, check_folder
from transflow.store.folders import INDEX
from transflow.store.locks import locked

SHARD_BYTES = 2**24  # of latents in a shard: a second or two of work
SHARD_FILES = 2**28  # bytes of the files of a shard, where they are held in memory: those of a compressed tar
FOLDER = container.Schema(
    "latents index",
    {"model": str, "fingerprint": str, "dtype": str, "finished": bool, "count": int, "shards": list},
)


@dataclass(frozen=True, eq=False)
class Latents(os.PathLike[str]):
    """A folder of latents, finished; a path of pictures for what needs no pixels (see `Model.latents`).

    Attributes:
        folder: where it is.
        header: the index: model, fingerprint, dtype, count of pictures, keys of the shards.
    """

    folder: Path
    header: dict[str, Any]

    @classmethod
    def open(cls, folder: PathLike) -> Latents:
        """Return the latents in a folder that `write` made.

        Raises:
            ValueError: the folder is none, or not finished.
        """
        folder = at_home(folder)
        path = Path(folder) / INDEX
        if not path.is_file():
            raise ValueError(f"Expected a folder of latents, with {INDEX}; got one without: {folder}")
        header = container.read(path, FOLDER)[1]
        if header["count"] < 0 or not all(isinstance(key, str) for key in header["shards"]):
            raise ValueError(f"Expected a whole index of latents; got a damaged one: {path}. Encode them again.")
        if not header["finished"]:
            raise ValueError(
                f"Expected latents that are all there; got a folder whose encoding was interrupted: {folder}. "
                "Encode the same pictures into it again; what is done is kept."
            )
        return cls(Path(folder), header)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __len__(self) -> int:
        return int(self.header["count"])

    def __repr__(self) -> str:
        return one_line(self, repr(str(self.folder)), f"{len(self)} pictures")

    def parts(self, model: BaseModel | None = None) -> Iterator[Encoded]:
        """Yield the latents with names, digests and, of a model that has it, log density.

        Args:
            model: check that it is the one the latents are of, and put them on its device.
        """
        if model is not None:
            model.check_same_model(self.folder, self.header)
            if model.precision not in ("", self.header["dtype"]):
                got = f"{quoted(self.header['dtype'])} latents, by a model in {model.precision}"
                raise ValueError(f"Expected latents in the model's precision; got {got}: {self.folder}")
        device = "cpu" if model is None else model.device
        for number, key in enumerate(self.header["shards"]):
            path = shard_path(self.folder, number)
            tensors, header = read_shard(path)
            if header["key"] != key:
                raise ValueError(f"Expected the latents that {INDEX} lists; got others: {path}. Encode them again.")
            good = good_files(header)
            for i in range(0, len(good), BATCH):
                rows = slice(i, i + BATCH)
                names, keys = zip(*good[rows], strict=True)
                latents, *more = (
                    tensors[name][rows].to(device) if name in tensors else None
                    for name in ("latents", "log_prob", "variance")
                )
                assert latents is not None
                yield Encoded(names, keys, latents, *more)


def write(
    model: BaseModel,
    pictures: PathLike | Sequence[PathLike],
    folder: PathLike,
    *,
    batch: int = BATCH,
    on_bad: OnBad | None = None,
    report: Report | None = None,
) -> Latents:
    """Encode pictures into a folder of latents; what an earlier run has done is left as it is.

    The folder then has exactly the latents of these pictures, in their order. A shard is done again if
    the name or the bytes of one of its files changed. A run that ends early leaves whole shards only.

    Args:
        model: what encodes; it must have a fingerprint.
        pictures: folders, tars and picture files.
        folder: a new or empty folder, or one that this function wrote with the same model; apart from the pictures.
        batch: how many pictures at a time; bounds memory.
        on_bad: as `stream` takes it.
        report: called as work goes on with how many more pictures there are latents of, and whether they
            were encoded now or found.

    Raises:
        ValueError: there is no picture, one is bad, or the folder has other files or another model's latents.
        OSError: a source is not there, or the folder cannot be written.
    """
    if not model.fingerprint:
        raise ValueError("Expected a model with a fingerprint, to keep its latents; got one without.")
    target = Path(at_home(folder))
    sources = as_list(pictures)
    check_apart(target, sources)
    if not target.is_dir():
        check_folder(target)
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
    with locked(target):
        return _write(model, sources, target, batch, on_bad, report)


def _write(
    model: BaseModel,
    pictures: list[Source],
    target: Path,
    batch: int,
    on_bad: OnBad | None,
    report: Report | None,
) -> Latents:
    example = model.encode_pixels(torch.zeros(1, *model.shape, dtype=torch.uint8, device="cpu"))
    dtype = model.precision or str(example.dtype).removeprefix("torch.")
    identity = {"model": model.name, "fingerprint": model.fingerprint, "dtype": dtype}
    before = _existing_index(model, target, identity)
    size = max(batch, SHARD_BYTES // (example.shape[1] * example.element_size()) // batch * batch)
    keys: list[str] = []
    total, marked = 0, False

    def write_index(finished: bool) -> dict[str, Any]:
        index = identity | {"finished": finished, "count": total, "shards": keys}
        target.mkdir(parents=True, exist_ok=True)
        container.write(target / INDEX, FOLDER.kind, {}, index)
        return index

    for number, (part, alone) in enumerate(_shards(chunks(files(pictures), size, SHARD_FILES))):
        header = reusable(shard_path(target, number), part, model)
        if header is None:
            if not marked:
                check_folder(target)
            tensors, header = encode_shard(model, part, batch, on_bad, report, alone=alone)
            if not marked:
                write_index(False)
                marked = True
            container.write(shard_path(target, number), SHARD.kind, tensors, header)
        else:
            for message in header["bad"]:
                if on_bad is None:
                    raise BadPicture(message)
                on_bad(message)
            if report:
                report(len(good_files(header)), False)
        keys.append(header["key"])
        total += len(good_files(header))
    if not total:
        raise no_pictures_error(pictures, bool(keys))
    if marked or before != identity | {"finished": True, "count": total, "shards": keys}:
        if not marked:
            write_index(False)
        for path in target.glob("[0-9]*.safetensors"):
            number = int(path.stem) if path.stem.isdecimal() else -1
            if number >= len(keys) and path == shard_path(target, number):  # of a larger set, before
                path.unlink()
        before = write_index(True)
    return Latents(target, before)


def _shards(parts: Iterator[list[File]]) -> Iterator[tuple[list[File], bool]]:
    """Yield the files of each shard, and whether it is the only one."""
    first = next(parts, None)
    if first is None:
        return
    second = next(parts, None)
    yield first, second is None
    if second is not None:
        yield second, False
    yield from ((part, False) for part in parts)


def _existing_index(model: BaseModel, target: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Return the index of an earlier run, without what the file's format adds; empty where there is none."""
    if not target.is_dir() or all(is_litter((path.name,)) for path in target.iterdir()):
        return {}  # nothing, or what a file manager left, or a run that was killed at once
    if not (target / INDEX).is_file():
        raise ValueError(f"Expected a new or empty folder for latents, or one of latents; got other files in {target}")
    header = container.read(target / INDEX, FOLDER)[1]
    model.check_same_model(target, header)
    if header["dtype"] != identity["dtype"]:
        raise ValueError(f"Expected latents in {identity['dtype']}; got {quoted(header['dtype'])}: {target}")
    return {key: header[key] for key in (*identity, "finished", "count", "shards")} | {"model": identity["model"]}
