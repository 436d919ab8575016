"""How likely pictures are, and how typical beside others; the most likely ones are not the most ordinary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from transflow.app.gathering import Seen, Work
from transflow.app.watched import Tick, watched
from transflow.conditioning.model import Model
from transflow.conditioning.scores import Scores
from transflow.conditioning.typicality import compare
from transflow.latents.encoded import Encoded
from transflow.latents.stream import stream


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of pictures, a row each.

    Attributes:
        names: of the pictures.
        log_prob: log density at the bin centres, in nats.
        bits_per_dim: the same in bits per dimension.
        radius: ``|z| / sqrt(D)``.
        by_likelihood: how often a reference is as unlikely; None without references.
        by_typicality: how often one is as far from their middle; None without references.
    """

    names: tuple[str, ...]
    log_prob: tuple[float, ...]
    bits_per_dim: tuple[float, ...]
    radius: tuple[float, ...]
    by_likelihood: tuple[float, ...] | None = None
    by_typicality: tuple[float, ...] | None = None


def scored(model: Model, some: Seen, reference: Seen | None = None, work: Work | None = None) -> Scored:
    """Return the scores of pictures.

    Args:
        model: one with a density.
        some: the pictures.
        reference: ordinary pictures to compare with.
        work: reports and stops.

    Raises:
        ValueError: there is no picture.
        TypeError: the model has no density.
    """
    if not len(some):
        raise ValueError("Expected a picture to score; got none. Drop some, or take a sample set.")
    model.require("score", "to score pictures")
    total = len(some) + (len(reference) if reference is not None else 0)
    tick = (work or Work()).ticking(total, f"scoring {total} pictures")
    if reference is None or not len(reference):
        return _rows(some, model.score(_likely(model, some, tick)))
    found = compare(model, _likely(model, some, tick), _likely(model, reference, tick))
    return _rows(some, found.scores, found.by_likelihood, found.by_typicality)


def _likely(model: Model, some: Seen, tick: Tick) -> Iterator[Encoded]:
    return stream(watched(model, tick), some.pixels, batch=24, log_prob=True)


def _rows(some: Seen, scores: Scores, *p: Tensor) -> Scored:
    columns = (scores.log_prob, scores.bits_per_dim, scores.radius, *p)
    return Scored(some.names, *(tuple(column.tolist()) for column in columns))
