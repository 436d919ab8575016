"""Drawn faces: MediaPipe's face mesh, which finds most avatars and many anime faces, where dlib finds none.

It is used where it is installed with its weights: the last version that brings them is 0.10.21, for Python up to 3.12
and numpy below 2; later ones download them, which is never done here. Of an eye, the middle of its corners is taken.

Reference: Kartynnik, Ablavatski, Grishchenko and Grundmann 2019, *Real-time facial surface geometry from monocular
video on mobile GPUs*, arXiv 1907.06724.
"""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transflow.pictures.turned import Eyes, Pixels, view

WEIGHTS = ("modules/face_detection/face_detection_short_range.tflite", "modules/face_landmark/face_landmark.tflite")
LONGEST, MARGIN = 500, 0.17  # pixels of what it is shown, border of a sixth repeated on each side
FACES = 16  # at most
SURE = 0.5  # of 1, the detector's own default
EYES = ((33, 133), (362, 263))  # numbers of the corners' points


def has_mesh() -> bool:
    """Return whether a MediaPipe is installed that brings the weights of its face mesh; nothing is imported."""
    spec = find_spec("mediapipe")
    places = (spec.submodule_search_locations or []) if spec else []
    return any(all(Path(place, name).exists() for name in WEIGHTS) for place in places)


class FaceMesh:
    """Finds the eyes of faces, drawn ones too; loaded when it is first needed.

    >>> FaceMesh()(np.zeros((64, 64, 3), np.uint8))     # doctest: +SKIP
    []
    """

    def __init__(self) -> None:
        self._mesh: Any = None
        self._lock = threading.Lock()

    def __call__(self, pixels: Pixels) -> list[Eyes]:
        """Return the eyes of each face in an upright RGB picture, uint8 (H, W, 3); the largest face first."""
        shown, a, b = view(pixels, LONGEST, margin=MARGIN)
        high, wide = shown.shape[:2]
        with self._lock:
            if self._mesh is None:
                from mediapipe.python.solutions.face_mesh import FaceMesh as Mesh

                self._mesh = Mesh(static_image_mode=True, max_num_faces=FACES, min_detection_confidence=SURE)
            found = self._mesh.process(shown).multi_face_landmarks or []
        faces = []
        for face in found:
            points = [[complex(face.landmark[i].x * wide, face.landmark[i].y * high) for i in pair] for pair in EYES]
            left, right = (a * (sum(pair) / 2) + b for pair in points)
            if left != right:
                faces.append(Eyes((left.real, left.imag), (right.real, right.imag), SURE))
        return sorted(faces, key=lambda each: -each.apart)
