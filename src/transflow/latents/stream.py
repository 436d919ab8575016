"""Sets of pictures of any size as latents, batch by batch beside the reading.

for part in stream(model, "pictures/"):   names, digests, latents of 64 pictures
    evidence += Evidence.of(part.latents)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import IO, Any, TypeAlias, Union

from transflow.base_model import BaseModel
from transflow.latents.encoded import Encoded, encode_batch, filled
from transflow.latents.folder import Latents
from transflow.pictures import sources
from transflow.pictures.decode import OnBad, Turn, batches
from transflow.pictures.files import File
from transflow.pictures.given import Source, as_list, is_paths, is_source
from transflow.pictures.preprocess import BATCH, PictureLike
from transflow.store.files import PathLike
from transflow.store.folders import is_latents

PicturesLike: TypeAlias = Union[
    PictureLike, PathLike, Sequence[PathLike], bytes, IO[bytes], Sequence[bytes], Sequence[IO[bytes]], Iterator[Encoded]
]
"""Pixels; a path or paths to folders, tars, picture files and folders of latents; uploads (see
`pictures.uploads`); or what `stream` yields."""


def stream(
    model: BaseModel,
    pictures: PicturesLike,
    *,
    batch: int = BATCH,
    on_bad: OnBad | None = None,
    turn: Turn | None = None,
    log_prob: bool = False,
) -> Iterator[Encoded]:
    """Yield pictures as latents, a batch at a time, in memory that does not grow with their number.

    Args:
        model: what encodes.
        pictures: as `Model.encode` takes them; folders of latents count as paths. What this function
            returned is passed on as it is.
        batch: how many pictures at a time; bounds memory.
        on_bad: called with a message for each file that is not a picture; the file is skipped. Without it, such a
            file is an error.
        turn: what is used of each file's picture, as `pictures.decode.read` takes it.
        log_prob: also say how likely each picture is.

    Raises:
        ValueError, OSError: as `pictures.decode.read`, or a folder of latents is another model's or not finished.
        TypeError: log densities of a model without a density.
    """
    if batch < 1:
        raise ValueError(f"Expected a batch of 1 or more pictures; got {batch}.")
    if log_prob:
        model.require("score", "to say how likely pictures are")
    if isinstance(pictures, Iterator) and not is_source(pictures):  # open files are iterators, of lines
        some = next(pictures, None)
        if some is None or isinstance(some, Encoded):
            yield from chain([] if some is None else [some], pictures)
            return
        pictures = [some, *pictures]  # paths one by one, such as Path.glob returns
    groups: list[tuple[bool, Any]] = [(False, pictures)]
    if is_paths(pictures):
        groups = [(encoded, list(group)) for encoded, group in groupby(as_list(pictures), _is_latents)]
    for encoded, group in groups:
        if encoded:
            for folder in group:
                yield from Latents.open(folder).parts(model)
            continue
        read = batches(group, model.shape, batch=batch, on_bad=on_bad, turn=turn)
        for part, rows in filled(read, batch, alone=len(groups) == 1):
            yield encode_batch(model, part, rows, log_prob=log_prob)


def count(pictures: PathLike | Sequence[PathLike]) -> int | None:
    """Return how many pictures a set has, or None if it is not known before reading (a tar)."""
    total = 0
    for source in as_list(pictures):
        if not isinstance(source, File) and is_latents(source):
            found: int | None = len(Latents.open(source))
        else:
            found = sources.count(source)
        if found is None:
            return None
        total += found
    return total


def _is_latents(source: Source) -> bool:
    return not isinstance(source, File) and is_latents(source)
