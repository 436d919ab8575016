"""A picture completed: a part of it painted over, a half hidden, its colours taken away.

What is painted is a mask in the size of the editor; a pixel of the model of which more than a twentieth is painted is
unknown, as `pictures.masks` has it. The search calls the decoder some hundred times, each a report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transflow.app import bounds
from transflow.app.gathering import Seen, Work
from transflow.app.watched import watched
from transflow.conditioning.completion import complete
from transflow.conditioning.model import Model
from transflow.conditioning.operators import SIDES, Grey, Known, Operator, as_operator, shown
from transflow.conditioning.posterior import Posterior
from transflow.pictures.masks import SHARE

EXPECTED = 130  # evaluations of the decoder, as a rule
PAINTED = "what I paint over"
GREY = "its colours"
HIDDEN = (PAINTED, *(f"the {side} half" for side in SIDES), GREY)


@dataclass(frozen=True, eq=False)
class Completed:
    """What was known, the samples, and their mean.

    Attributes:
        sheet: floats in [0, 1], (n + 2, C, H, W).
        known: mask (H, W), true where a pixel is known; None for the colours.
        note: one line on them.
    """

    sheet: Tensor
    known: Tensor | None
    note: str


def painted(editor: dict[str, Any] | None, model: Model) -> Tensor:
    """Return which pixels of a model's picture are known, (H, W), bool, of what an editor's layers leave.

    Args:
        editor: layers, uint8 arrays (height, width, 4), painted where they are not transparent.
        model: whose picture was in the editor.

    Raises:
        ValueError: nothing is painted.
    """
    layers = [np.asarray(layer) for layer in (editor or {}).get("layers") or [] if layer is not None]
    covered = [layer[..., 3] > 0 for layer in layers if layer.ndim == 3 and layer.shape[2] == 4]
    if not covered or not any(part.any() for part in covered):
        raise ValueError("Expected a part of the picture painted over; got nothing painted. Paint what is not known.")
    whole = torch.from_numpy(np.logical_or.reduce(covered)).double()[None, None]
    share = F.interpolate(whole, size=model.shape[1:], mode="area")[0, 0]
    return share <= SHARE


def what_is_known(hidden: str, editor: dict[str, Any] | None, model: Model) -> Operator:
    """Return what is known of a picture of which something is hidden, one of `HIDDEN`.

    Raises:
        ValueError: nothing, or everything, is hidden.
    """
    if hidden not in HIDDEN:
        raise ValueError("Expected what is not known, one of the list; got another.")
    if hidden == GREY:
        return Grey()
    if hidden == PAINTED:
        return as_operator(painted(editor, model), model)
    return Known.without_half(SIDES[HIDDEN.index(hidden) - 1], *model.shape[1:])


def completed(
    model: Model,
    picture: Seen,
    operator: Operator,
    n: int,
    seed: int,
    prior: Posterior | None = None,
    work: Work | None = None,
) -> Completed:
    """Return samples of what a picture may be.

    Args:
        model: whose decoder is searched.
        picture: one picture.
        operator: what is known of it.
        n: how many samples.
        seed: of the draws.
        prior: complete it as one of these; None for the model's own.
        work: reports and stops.
    """
    if not len(picture):
        raise ValueError("Expected a picture to complete; got none. Drop one, or take a sample set.")
    if not 1 <= n <= bounds.COMPLETIONS:
        raise ValueError(f"Expected 1 to {bounds.COMPLETIONS} samples; got {n}.")
    tick = (work or Work()).ticking(EXPECTED * n, "searching")
    found = complete(watched(model, tick), picture.pixels[:1], operator, n=n, seed=seed, prior=prior)
    sheet = torch.cat([shown(operator, found.observed, model.shape), found.pictures.cpu(), found.mean[None].cpu()])
    known = operator.mask if isinstance(operator, Known) else None
    error = found.errors.mean().item()
    return Completed(sheet.float(), known, f"the known part is met to {error:.3f} of the range of a pixel")
