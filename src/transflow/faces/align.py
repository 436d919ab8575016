"""Faces of a picture, found and turned: one picture in, as many aligned pictures out as there are faces.

>>> faces = align("group.jpg")                          # doctest: +SKIP
>>> model.condition(faces)                              # doctest: +SKIP

The rule of turning is in `pictures.turned`; who finds the eyes is any function from pixels to `Eyes`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from transflow.faces.detector import usual_detector
from transflow.pictures.ahead import silenced_warnings
from transflow.pictures.decode import Turn, opened
from transflow.pictures.files import BadPicture, File
from transflow.pictures.given import Source, as_list
from transflow.pictures.sources import files
from transflow.pictures.turned import SIDE, Eyes, Picture, Pixels, as_pixels, cut_out, from_array
from transflow.store.files import PathLike

Detector: TypeAlias = Callable[[Pixels], list[Eyes]]
NONE_FOUND = "Expected a face; got a picture in which none is found"
WAY_OUT = "Give the eyes with: transflow align --by-hand"


@dataclass(frozen=True, eq=False)
class AlignedFile:
    """What came of a picture file.

    Attributes:
        name: of the file.
        place: its folder and name below the source that it is of, without its suffix.
        eyes: of the faces that were found, the largest first.
        faces: the same, cut out and turned.
        small: the picture itself, small, to show.
        scale: the small picture's side by the picture's.
        problem: why it is left out; empty for a picture with a face.
    """

    name: str
    place: Path
    eyes: tuple[Eyes, ...] = ()
    faces: tuple[Picture, ...] = ()
    small: Picture | None = None
    scale: float = 1.0
    problem: str = ""


def align(
    picture: Union[PathLike, Picture, NDArray[np.uint8]],
    detector: Detector | None = None,
    *,
    eyes: Sequence[Eyes] | None = None,
    side: int = SIDE,
) -> list[Picture]:
    """Return each face of a picture, turned so that its eyes lie where the face models saw them; none if none is found.

    Args:
        picture: a picture file, a PIL picture, or a uint8 array (H, W) or (H, W, C).
        detector: from RGB pixels (H, W, 3) to `Eyes`; the default is a `FaceDetector`, made once.
        eyes: where they are, in pixels, instead of a detector.
        side: of the results, in pixels.

    Returns:
        PIL pictures, RGB, side x side, of the largest face first. `Model.condition` and its like take them.

    Raises:
        ImportError: no detector, and the extra ``align`` is not installed.
        BadPicture, FileNotFoundError: the file is no picture, too large, or not there.
        TypeError, ValueError: it is nothing of these.
    """
    if side < 1:
        raise ValueError(f"Expected a side of 1 pixel or more; got {side}.")
    pixels = _pixels(picture)
    found = (detector or usual_detector())(pixels) if eyes is None else eyes
    return [cut_out(pixels, each, side) for each in found]


def largest_face(detector: Detector | None = None) -> Turn:
    """Return the function from a file's picture to its largest face, which readers of files take as ``turn``."""
    find = detector or usual_detector()

    def turn(picture: Picture, name: str) -> Picture:
        pixels = as_pixels(picture)
        found = find(pixels)
        if not found:
            raise BadPicture(f"{NONE_FOUND}: {name}. {WAY_OUT}")
        return cut_out(pixels, found[0])

    return turn


def align_files(
    sources: Source | Sequence[Source],
    detector: Detector | None,
    known: Mapping[str, Sequence[Eyes]] | None = None,
    *,
    ask: Callable[[str, Pixels], list[Eyes]] | None = None,
    side: int = SIDE,
    thumbnail: int = 128,
) -> Iterator[AlignedFile]:
    """Yield what comes of each picture file, one picture in memory at a time; a bad file is a problem, not an error.

    Args:
        sources: folders, tars and picture files.
        detector: who finds eyes; None for nobody.
        known: eyes by a file's name, or its last part; they go before the detector.
        ask: for the eyes of a picture in which none are found.
        side: of the results, in pixels.
        thumbnail: longer side of the small pictures, in pixels.
    """
    for source in as_list(sources):
        for file in files(source):
            try:
                content = file.read()
                with silenced_warnings:
                    pixels = opened(file.name, content, as_pixels)
            except (BadPicture, OSError) as error:
                yield AlignedFile(file.name, _place(file, source), problem=str(error))
                continue
            found = (
                _known(file.name, known)
                or (detector(pixels) if detector else [])
                or (ask or _nobody)(file.name, pixels)
            )
            scale = min(1.0, thumbnail / max(pixels.shape[:2]))
            result = AlignedFile(
                file.name,
                _place(file, source),
                tuple(found),
                tuple(cut_out(pixels, each, side) for each in found),
                from_array(pixels, scale),
                scale,
            )
            yield result if found else replace(result, problem=f"{NONE_FOUND}: {file.name}")


def _nobody(name: str, pixels: Pixels) -> list[Eyes]:
    return []


def _known(name: str, known: Mapping[str, Sequence[Eyes]] | None) -> list[Eyes]:
    return list((known or {}).get(name) or (known or {}).get(Path(name).name) or ())


def _place(file: File, source: Source) -> Path:
    """Where the file is below its source, without suffix: sub-folders, such as classes, are kept."""
    folder = Path(source.name if isinstance(source, File) else source)
    inside = folder.is_dir() and Path(file.name).is_relative_to(folder)
    path = Path(file.name).relative_to(folder) if inside else Path(Path(file.name).name)
    return path.with_suffix("")


def _pixels(picture: Any) -> Pixels:
    if isinstance(picture, Picture):
        return as_pixels(picture)
    if isinstance(picture, np.ndarray):
        flat = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (1, 3, 4))
        if picture.dtype != np.uint8 or not flat or 0 in picture.shape:
            raise ValueError(f"Expected uint8 pixels (H, W) or (H, W, C); got {picture.dtype}, {picture.shape}.")
        return as_pixels(from_array(picture))
    if isinstance(picture, (str, os.PathLike)):
        found = list(files(picture))
        if len(found) != 1:
            raise ValueError(f"Expected one picture file; got {len(found)} files: {picture}. Give them one by one.")
        with silenced_warnings:
            return opened(found[0].name, found[0].read(), as_pixels)
    raise TypeError(f"Expected a picture file, a PIL picture or a uint8 array; got {type(picture).__name__}.")
