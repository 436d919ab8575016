"""One picture changed: towards the evidence, or by more of an attribute, at any strength.

An edit is found once and kept, as is the picture's latent: a strength then costs one decode.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.app.gathering import Seen, Work, encoded, posterior
from transflow.app.sessions import Session
from transflow.conditioning import edits, quality
from transflow.conditioning.model import Model

FARTHEST = 2.0  # of a strength
LEARNS = ("covariance", "mean")


@dataclass(frozen=True, eq=False)
class Changed:
    """A picture before and after.

    Attributes:
        pictures: the picture as the model has it, and changed, floats in [0, 1], (2, C, H, W).
        note: one line on it; may be empty.
    """

    pictures: Tensor
    note: str = ""


def one_of(some: Seen, name: str | None) -> Seen:
    """Return one picture of a set, by its name; the first where none is named.

    Raises:
        ValueError: there is no picture, or none of that name.
    """
    if not len(some):
        raise ValueError("Expected a picture to change; got none. Drop one, or take a sample set.")
    if name is not None and name not in some.names:
        raise ValueError("Expected a picture that is in the set; got one that is not. Choose another.")
    i = some.names.index(name) if name is not None else 0
    return Seen(some.names[i : i + 1], some.pixels[i : i + 1], some.shared)


def towards(
    session: Session,
    model: Model,
    picture: Seen,
    evidence: Seen,
    strength: float,
    learn: str = "covariance",
    work: Work | None = None,
) -> Changed:
    """Return a picture moved towards the evidence.

    Args:
        session: which keeps the edit.
        model: whose latents are moved.
        picture: one picture.
        evidence: where to.
        strength: 0 is the picture itself, 1 the whole way.
        learn: "covariance", all that the evidence is; or "mean", what it has in common.
        work: reports and stops.
    """
    if learn not in LEARNS:
        raise ValueError(f"Expected as what to learn one of {', '.join(LEARNS)}; got another.")
    found = posterior(session, model, evidence, learn, work=work)
    key = ("towards", id(found), learn)
    _, edit = session.made(key, lambda: (found, edits.towards(found)))  # which keeps the id its own
    return _changed(session, edit, picture, strength)


def attribute(
    session: Session, model: Model, picture: Seen, more: Seen, less: Seen, strength: float, work: Work | None = None
) -> Changed:
    """Return a picture with more of what tells two sets apart.

    Args:
        session: which keeps the edit.
        model: whose latents are moved.
        picture: one picture.
        more: pictures with the attribute.
        less: pictures without, otherwise alike.
        strength: 0 is the picture itself, 1 the difference of the sets, below 0 less of it.
        work: reports and stops.
    """
    if not len(more) or not len(less):
        raise ValueError("Expected pictures with the attribute, and pictures without; got none of one. Give both sets.")
    first, last = (encoded(session, model, some, work) for some in (more, less))
    key = ("attribute", model.fingerprint or model.name, first.digests, last.digests)
    edit = session.made(key, lambda: edits.attribute(model, iter([first]), iter([last])))
    return _changed(session, edit, picture, strength)


def _changed(session: Session, edit: edits.Edit, picture: Seen, strength: float) -> Changed:
    if not -FARTHEST <= strength <= FARTHEST:
        raise ValueError(f"Expected a strength from {-FARTHEST:g} to {FARTHEST:g}; got {strength:g}.")
    model = edit.model
    assert isinstance(model, Model)
    latents = encoded(session, model, picture).latents
    before = model.decode(latents)
    after, known = quality.decode(model, edit.change.move(latents, strength))
    note = "broken: this is further than the model goes" if known.broken else ""
    return Changed(torch.cat([before, after]).cpu().float(), note)
