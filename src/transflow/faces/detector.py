"""Faces found by dlib: its frontal detector, then five landmarks, of which the corners of an eye give its middle.

    the picture at 1000 pixels  ->  nothing: at 2000  ->  nothing: turned by 25, 50, 90 and 180 degrees, both ways

Small pictures are enlarged, with their border repeated around them, since the detector sees no face under 80 pixels
and none that is cut. Of the first of these views that shows any face, all faces are taken; so a face of less than
a twelfth of the longer side is found where there is no larger one.

Reference: Dalal and Triggs 2005, *Histograms of oriented gradients for human detection*; Kazemi and Sullivan 2014,
*One millisecond face alignment with an ensemble of regression trees*; King 2009, *Dlib-ml*.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transflow.faces.mesh import FaceMesh, has_mesh
from transflow.pictures.turned import Eyes, Pixels, view

USUAL, LARGE, SMALL = 1000, 2000, 400  # longer sides of views, in pixels
MARGIN = 0.25  # around small pictures
TURNS = ((25, -25), (50, -50), (90, -90), (180,))  # degrees
SURE = 0.2  # score of a face in a turned view: there are seven of them, so more chances of a false one
MISSING = 'Expected dlib and its landmarks to find faces; got none. Say: pip install "transflow[align]"'
LANDMARKS = "shape_predictor_5_face_landmarks.dat"


class FaceDetector:
    """Finds the eyes of faces in pictures; made once, it serves for any number, from any thread.

    Raises:
        ImportError: the extra ``align`` is not installed.
    """

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError:
            raise ImportError(MISSING) from None
        spec = find_spec("face_recognition_models")  # not imported: it asks for a part of setuptools that is no more
        places = [Path(place, "models", LANDMARKS) for place in (spec.submodule_search_locations or [])] if spec else []
        path = next((place for place in places if place.exists()), None)
        if path is None:
            raise ImportError(MISSING)
        self._find: Any = dlib.get_frontal_face_detector()
        self._landmarks: Any = dlib.shape_predictor(str(path))
        self._lock = threading.Lock()  # dlib's detectors keep their scratch space

    def __call__(self, pixels: Pixels) -> list[Eyes]:
        """Return the eyes of each face in an upright RGB picture, uint8 (H, W, 3); the largest face first."""
        for views, least in _views(pixels):
            found = [self._in_view(*each, least) for each in views]
            best = max(found, key=lambda faces: max((face.score for face in faces), default=-1.0))
            if best:
                return sorted(best, key=lambda face: -face.apart)
        return []

    def _in_view(self, pixels: Pixels, a: complex, b: complex, least: float) -> list[Eyes]:
        faces = []
        with self._lock:
            boxes, scores, _ = self._find.run(pixels, 0, least)
            for box, score in zip(boxes, scores, strict=True):
                points = self._landmarks(pixels, box)
                corners = [complex(points.part(i).x + 0.5, points.part(i).y + 0.5) for i in range(4)]
                eyes = sorted((sum(corners[:2]) / 2, sum(corners[2:]) / 2), key=lambda z: z.real)
                if eyes[0] != eyes[1]:
                    left, right = ((a * z + b) for z in eyes)
                    faces.append(Eyes((left.real, left.imag), (right.real, right.imag), float(score)))
        return faces


class InTurn:
    """The faces of the first of several detectors that finds any."""

    def __init__(self, *detectors: Callable[[Pixels], list[Eyes]]) -> None:
        self.detectors = detectors

    def __call__(self, pixels: Pixels) -> list[Eyes]:
        """Return the eyes of each face in an upright RGB picture, uint8 (H, W, 3)."""
        return next(filter(None, (find(pixels) for find in self.detectors)), [])


@lru_cache(maxsize=1)
def usual_detector() -> Callable[[Pixels], list[Eyes]]:
    """Return the detector that is used where none is given: dlib's, then the mesh for drawn faces if it is there."""
    return InTurn(FaceDetector(), FaceMesh()) if has_mesh() else FaceDetector()


def _views(pixels: Pixels) -> Iterator[tuple[list[tuple[Pixels, complex, complex]], float]]:
    """The views of a picture in the order of trying, those of equal rank together, with the least score of a face."""
    longest = max(pixels.shape[:2])
    small = longest < SMALL
    margin = MARGIN if small else 0.0
    usual = SMALL if small else min(longest, USUAL)
    yield [view(pixels, usual, margin=margin)], 0.0
    if not small:
        yield [view(pixels, min(2 * longest, LARGE))], 0.0
    turned = SMALL if small else min(longest, USUAL * 2 // 3)
    for turns in TURNS:
        yield [view(pixels, turned, degrees=degrees, margin=margin) for degrees in turns], SURE
