"""Sets of pictures of any size as latents: batch by batch beside the reading, and kept in shards on disk.

    for part in stream(model, "pictures/"):   names, digests, latents of 64 pictures
        evidence += Evidence.of(part.latents)

Convolution kernels are chosen by the shape of a batch, and some round otherwise: a picture's latent
in single precision may differ by 1e-5 between batches of 1 and of 64. So every batch but a lone one
is filled up to its full size, and a latent depends neither on its neighbours nor on where a set was
cut. That is what makes evidence of a cluster, or of a resumed run, the evidence of one run.

A folder of latents (`write`, `Latents`) has one safetensors file for about 16 MiB of latents, each
written whole or not at all, and an index. A second run with the same pictures leaves out the shards
whose files have the same names and the same bytes, by a hash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import torch
from torch import Tensor

from transflow.pictures import decode as data
from transflow.pictures import sources as listing
from transflow.pictures.preprocess import BATCH, PictureLike
from transflow.pictures.sources import File
from transflow.store import container as checkpoint
from transflow.store.identity import digest

if TYPE_CHECKING:
    from transflow.conditioning.model import Model

SHARD_BYTES = 2**24  # of latents in a shard: a second or two of work
SHARD_FILES = 2**28  # bytes of the files of a shard, where they are held in memory: those of a compressed tar
INDEX = listing.LATENTS
SHARD = checkpoint.Schema("latents", {"fingerprint": str, "key": str, "files": list, "bad": list})
FOLDER = checkpoint.Schema(
    "latents index",
    {"model": str, "fingerprint": str, "dtype": str, "finished": bool, "count": int, "shards": list},
)
PathLike: TypeAlias = Union[str, "os.PathLike[str]"]
Bad: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Encoded:
    """Some pictures of a set, B of them, as latents.

    Attributes:
        names: where each came from; empty for pictures that came as pixels.
        digests: a hash of each picture's pixels, as the model sees them.
        latents: shape (B, D).
        log_prob: log density at the bin centres in nats, (B,), where it was asked for.
    """

    names: tuple[str, ...]
    digests: tuple[str, ...]
    latents: Tensor
    log_prob: Tensor | None = None

    def __len__(self) -> int:
        return len(self.latents)


Pictures: TypeAlias = Union[PictureLike, PathLike, Sequence[PathLike], Iterator[Encoded]]


def stream(
    model: Model, pictures: Pictures, *, batch: int = BATCH, on_bad: Bad | None = None, log_prob: bool = False
) -> Iterator[Encoded]:
    """Yield pictures as latents, a batch at a time, in memory that does not grow with their number.

    Args:
        model: what encodes.
        pictures: as `Model.encode` takes them; folders of latents count as paths. What this function
            returned is passed on as it is.
        batch: how many pictures at a time; bounds memory.
        on_bad: is told of each file that is no picture, which is left out; without it, that is an error.
        log_prob: also say how likely each picture is.

    Raises:
        ValueError, OSError: as `data.read`, or a folder of latents is another model's or not finished.
    """
    if batch < 1:
        raise ValueError(f"Expected a batch of 1 or more pictures; got {batch}.")
    if log_prob and not hasattr(model.source, "encode_and_log_prob"):
        got = type(model.source).__name__
        raise TypeError(f"Expected a model with a likelihood (encode_and_log_prob); got {got} without.")
    if isinstance(pictures, Iterator):
        some = next(pictures, None)
        if some is None or isinstance(some, Encoded):
            yield from chain([] if some is None else [some], pictures)
            return
        pictures = [some, *pictures]  # paths one by one, such as Path.glob returns
    if is_paths(pictures):
        for encoded, group in groupby(listing.as_list(pictures), listing.is_latents):  # type: ignore[arg-type]
            if encoded:
                for folder in group:
                    yield from Latents.open(folder).parts(model)
                continue
            channels, size, _ = model.shape
            read = data.batches(list(group), channels, size, batch=batch, on_bad=on_bad)
            for i, part in enumerate(read):
                yield encode(model, part.pixels, part.names, full=batch if i else 0, log_prob=log_prob)
    else:
        fitted = model.fit(pictures)
        size = batch if isinstance(fitted, (Tensor, list)) and len(fitted) else max(1, len(fitted))
        for i in range(0, max(1, len(fitted)), size):
            part = fitted[i : i + size] if len(fitted) > size else fitted
            yield encode(model, part, full=size if i else 0, log_prob=log_prob)


def encode(model: Model, pixels: Any, names: tuple[str, ...] = (), *, full: int = 0, log_prob: bool = False) -> Encoded:
    """Return fitted pictures as latents, in a batch filled up to ``full`` with copies of the last."""
    count, given = len(pixels), pixels
    if count < full and isinstance(pixels, Tensor):
        given = torch.cat([pixels, pixels[-1:].expand(full - count, *pixels.shape[1:])])
    likely = None
    if log_prob:
        latents, likely = model.source.encode_and_log_prob(given)
        likely = likely[:count]
    else:
        latents = model.source.encode(given)
    latents = latents[:count]
    rows = pixels if isinstance(pixels, Tensor) else latents
    digests = tuple(digest(row.cpu().contiguous().numpy()) for row in rows)
    return Encoded(names, digests, latents, likely)


@dataclass(frozen=True)
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
        path = Path(folder) / INDEX
        if not path.is_file():
            raise ValueError(f"Expected a folder of latents, with {INDEX}; got one without: {folder}")
        header = checkpoint.header(path, FOLDER)
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

    def parts(self, model: Model | None = None) -> Iterator[Encoded]:
        """Yield the latents with names, digests and, of a model that has it, log density.

        Args:
            model: check that it is the one the latents are of, and put them on its device.
        """
        if model is not None:
            model.check_same_model(self.folder, self.header)
            if model.precision not in ("", self.header["dtype"]):
                said = f"{self.header['dtype']} latents, by a model in {model.precision}"
                raise ValueError(f"Expected latents in the model's precision; got {said}: {self.folder}")
        device = "cpu" if model is None else model.prior.mean.device
        for number, key in enumerate(self.header["shards"]):
            path = _shard(self.folder, number)
            tensors, header = checkpoint.read(path, SHARD)
            if header["key"] != key:
                raise ValueError(f"Expected the latents that {INDEX} lists; got others: {path}. Encode them again.")
            good = _good(header)
            for i in range(0, len(good), BATCH):
                rows = slice(i, i + BATCH)
                names, digests = zip(*good[rows], strict=True)
                likely = tensors["log_prob"][rows].to(device) if "log_prob" in tensors else None
                yield Encoded(names, digests, tensors["latents"][rows].to(device), likely)


def is_paths(pictures: Any) -> bool:
    """Return whether pictures are a path, or a list of paths."""
    if isinstance(pictures, (list, tuple)):
        return len(pictures) > 0 and all(isinstance(p, (str, os.PathLike)) for p in pictures)
    return isinstance(pictures, (str, os.PathLike))


def count(pictures: PathLike | Sequence[PathLike]) -> int | None:
    """Return how many files a set has, or None where only reading it would tell (a tar)."""
    total = 0
    for path in map(Path, listing.as_list(pictures)):
        if listing.is_latents(path):
            total += checkpoint.header(path / INDEX, FOLDER)["count"]
        elif path.is_dir():
            total += sum(1 for _ in listing.files(path))
        elif listing.has_tar_name(path) or path.suffix.lower() in (".gz", ".bz2", ".xz"):
            return None
        else:
            total += 1
    return total


def write(
    model: Model,
    pictures: PathLike | Sequence[PathLike],
    folder: PathLike,
    *,
    batch: int = BATCH,
    on_bad: Bad | None = None,
    report: Callable[[int, bool], None] | None = None,
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
        report: is told, as work goes on, of how many more pictures there are latents, and whether they
            were encoded now or found.

    Raises:
        ValueError: there is no picture, one is bad, or the folder has other files or another model's latents.
        OSError: a source is not there, or the folder cannot be written.
    """
    if not model.fingerprint:
        raise ValueError("Expected a model with a fingerprint, to keep its latents; got one without.")
    target = Path(folder)
    pictures = listing.as_list(pictures)
    listing.check_apart(target, pictures)
    channels, side, _ = model.shape
    stand_in = model.source.encode(torch.zeros(1, channels, side, side, dtype=torch.uint8))
    made = {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "dtype": model.precision or str(stand_in.dtype).removeprefix("torch."),
    }
    before = _before(model, target, made)
    size = max(batch, SHARD_BYTES // (stand_in.shape[1] * stand_in.element_size()) // batch * batch)
    keys: list[str] = []
    total, marked = 0, False

    def mark(finished: bool) -> dict[str, Any]:
        index = made | {"finished": finished, "count": total, "shards": keys}
        target.mkdir(parents=True, exist_ok=True)
        checkpoint.write(target / INDEX, FOLDER.kind, {}, index)
        return index

    for number, part in enumerate(listing.chunks(listing.files(pictures), size, SHARD_FILES)):
        header = _found(_shard(target, number), part, model)
        if header is None:
            if not marked:
                checkpoint.check_folder(target)
            tensors, header = _encoded(model, part, batch, on_bad, report, lone=not number)
            if not marked:
                mark(False)
                marked = True
            checkpoint.write(_shard(target, number), SHARD.kind, tensors, header)
        else:
            for message in header["bad"]:
                if on_bad is None:
                    raise listing.BadPicture(message)
                on_bad(message)
            if report:
                report(len(_good(header)), False)
        keys.append(header["key"])
        total += len(_good(header))
    if not total:
        raise data.no_pictures_error(listing.as_list(pictures), bool(keys))
    if marked or before != made | {"finished": True, "count": total, "shards": keys}:
        if not marked:
            mark(False)
        for path in target.glob("[0-9]*.safetensors"):
            number = int(path.stem) if path.stem.isdecimal() else -1
            if number >= len(keys) and path == _shard(target, number):  # of a larger set, before
                path.unlink()
        before = mark(True)
    return Latents(target, before)


def _before(model: Model, target: Path, made: dict[str, Any]) -> dict[str, Any]:
    """Return the index of an earlier run, without what the file's format adds; empty where there is none."""
    if not target.is_dir():
        checkpoint.check_folder(target)
        return {}
    if all(path.name.startswith(f".{INDEX}.") for path in target.iterdir()):
        return {}  # nothing, or what a run left that was killed at once
    if not (target / INDEX).is_file():
        raise ValueError(f"Expected a new or empty folder for latents, or one of latents; got other files in {target}")
    header = checkpoint.header(target / INDEX, FOLDER)
    model.check_same_model(target, header)
    if header["dtype"] != made["dtype"]:
        raise ValueError(f"Expected a folder of latents in {made['dtype']}; got one in {header['dtype']}: {target}")
    return {key: header[key] for key in (*made, "finished", "count", "shards")} | {"model": made["model"]}


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"


def _good(header: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and digests of a shard's pictures."""
    return [(name, digest) for name, _, digest in header["files"] if digest]


def _found(path: Path, part: list[File], model: Model) -> dict[str, Any] | None:
    """Return the header of a shard if it is of these files, their bytes and this model, else None."""
    try:
        header = checkpoint.header(path, SHARD)
    except (ValueError, OSError):
        return None
    if not model.made(header["fingerprint"]):
        return None
    if [name for name, *_ in header["files"]] != [file.name for file in part]:
        return None
    return header if [told for _, told, _ in header["files"]] == list(data.digests(part)) else None


def _encoded(
    model: Model,
    part: list[File],
    batch: int,
    on_bad: Bad | None,
    report: Callable[[int, bool], None] | None,
    *,
    lone: bool,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a new shard."""
    likely = hasattr(model.source, "encode_and_log_prob")
    channels, size, _ = model.shape
    seen: list[tuple[str, str, bool]] = []
    bad: list[str] = []

    def reads() -> Iterator[data.Read]:
        for read in data.decoded(part, channels, size):
            seen.append((read.name, read.digest, read.pixels is not None))
            yield read

    def tell(message: str) -> None:
        assert on_bad is not None
        bad.append(message)
        on_bad(message)

    done: list[Encoded] = []
    for pictures in data.grouped(reads(), batch, tell if on_bad else None):
        full = 0 if lone and not done else batch
        done.append(encode(model, pictures.pixels, pictures.names, full=full, log_prob=likely))
        if report:
            report(len(done[-1]), True)
    digests = iter([digest for some in done for digest in some.digests])
    files = [(name, told, next(digests) if good else "") for name, told, good in seen]
    key = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:32]
    tensors = {}
    if done:
        tensors["latents"] = torch.cat([some.latents for some in done])
        if likely:
            tensors["log_prob"] = torch.cat([some.log_prob for some in done if some.log_prob is not None])
    return tensors, {"fingerprint": model.fingerprint, "key": key, "files": files, "bad": bad}
