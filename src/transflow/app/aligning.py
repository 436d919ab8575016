"""Faces turned upright on request, where what finds them is installed."""

from __future__ import annotations

from functools import partial

from transflow.app.uploads import Align
from transflow.faces.align import align
from transflow.faces.detector import usual_detector


def aligner() -> Align | None:
    """Return what finds and turns the faces of a picture; None where the extra ``align`` is not installed."""
    try:
        return partial(align, detector=usual_detector())
    except ImportError:
        return None
