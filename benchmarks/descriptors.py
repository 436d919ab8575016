"""Who is on a picture of a face, by a network that knows faces: 128 numbers of dlib's, closer for the same person.

    d(a, b) = |f(a) - f(b)|,   f: a face of 150 x 150, its eyes 0.35 of the width apart at 0.31 of the height

Pictures are aligned as faces-32 has them, eyes 0.25 of the width apart at 0.45 of the height, so what the network is
shown is their middle, 0.71 of the width, enlarged. Of 32 x 32 that is 23 x 23 pixels: people are told apart less well
than on photographs, so distances are compared with those between different people of the same kind of picture.

Needs dlib-bin and face_recognition_models.
Reference: King 2017, "High quality face recognition with deep metric learning", dlib.net (the network).
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SIDE = 150
SHARE, TOP = 0.714, 0.226  # of the picture's width that is shown; of the height above it
MODEL = "dlib_face_recognition_resnet_model_v1.dat"


@cache
def network() -> Any:
    """Return the network; None where it is not installed."""
    try:
        import dlib
    except ImportError:
        return None
    spec = find_spec("face_recognition_models")  # not imported: it asks for a part of setuptools that is no more
    if spec is None or spec.origin is None:
        return None
    return dlib.face_recognition_model_v1(str(Path(spec.origin).parent / "models" / MODEL))


def chips(pictures: Tensor) -> Tensor:
    """Return uint8 pictures (n, 3, H, H) as the network is shown them, uint8 (n, 3, 150, 150)."""
    whole = round(SIDE / SHARE)
    large = torch.nn.functional.interpolate(pictures.float(), size=whole, mode="bicubic", antialias=True)
    left, top = (whole - SIDE) // 2, round(TOP * whole)
    return large[:, :, top : top + SIDE, left : left + SIDE].clamp(0, 255).round().to(torch.uint8)


def describe(pictures: Tensor) -> Tensor | None:
    """Return descriptors (n, 128) of uint8 pictures (n, 3, H, H); None where the network is not installed."""
    known = network()
    if known is None:
        return None
    arrays = [chip.permute(1, 2, 0).contiguous().numpy() for chip in chips(pictures)]
    return torch.tensor([list(known.compute_face_descriptor(array)) for array in arrays]).view(len(arrays), -1)
