"""Faces turned upright on request, where the room that finds them, and what it needs, are installed."""

from __future__ import annotations

from functools import partial
from importlib import import_module

from transflow.app.uploads import Align

ROOM, DETECTOR = "transflow.faces.align", "transflow.faces.detector"


def aligner() -> Align | None:
    """Return what finds and turns the faces of a picture; None where the extra ``align`` is not installed."""
    try:
        detector = import_module(DETECTOR).usual_detector()
        return partial(import_module(ROOM).align, detector=detector)
    except ImportError:
        return None
