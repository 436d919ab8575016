"""A model that reports its work, batch by batch, and can be stopped between two of them.

A source behind the contract (`protocols`) is asked through one object, so encoding, drawing, classifying and completing
all report in one place: before each call of the source, ``tick`` is given how many pictures it is for. What ``tick``
raises ends the work; `Stopped` does so quietly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

from transflow.conditioning.model import Model

COUNTED = (
    "encode",
    "encode_and_log_prob",
    "encode_and_features",
    "features",
    "decode",
    "decode_unclamped",
    "encode_variance",
)

Tick: TypeAlias = Callable[[int], None]
"""Called with the number of pictures that a model is asked for next."""


class Stopped(InterruptedError):
    """Somebody stopped the work."""


class WatchedSource:
    """A source that hands on everything of another, and reports what costs time."""

    def __init__(self, source: Any, tick: Tick) -> None:
        self._source, self._tick = source, tick

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._source, name)
        if name not in COUNTED or found is None:  # None is a capability that it has not
            return found
        tick = self._tick

        @wraps(found)
        def counted(values: Any) -> Any:
            tick(len(values))
            return found(values)

        return counted


def watched(model: Model, tick: Tick) -> Model:
    """Return the same model, of the same fingerprint, that calls ``tick`` before each batch.

    >>> from transflow import wrap
    >>> double = wrap(encode=lambda x: 2 * x.flatten(1), decode=lambda z: z.view(-1, 1, 2, 2) / 2, shape=(1, 2, 2))
    >>> seen = []
    >>> _ = watched(double, seen.append).decode(double.prior.sample(3))
    >>> seen
    [3]
    """
    return Model(WatchedSource(model.source, tick), model.name, model.file)
