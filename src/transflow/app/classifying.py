"""Pictures told apart by a few of each class, with "none of these" for what lies further out than 99 of 100.

The probabilities are over the classes that were given. Whether a picture belongs to any of them is another question,
answered by its p-value: how often an example of a class lies as far out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from transflow.app.gathering import Seen, Work
from transflow.app.watched import watched
from transflow.conditioning.model import Model
from transflow.estimators.classifier import FewShotClassifier

NONE = "none of these"
RATE = 0.01  # of ordinary pictures that may be rejected
COPIES = 32  # of a picture under small affine maps, it included


@dataclass(frozen=True, eq=False)
class Classified:
    """What pictures were taken for.

    Attributes:
        names: of the pictures.
        classes: sorted.
        probabilities: of each class, a row a picture.
        p_values: how often an example lies as far out, of each picture; None where there are too few examples.
        note: one line on the evidence.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    p_values: tuple[float, ...] | None
    note: str

    def verdict(self, i: int) -> str:
        """Return the most probable class of a picture, or `NONE`."""
        if self.p_values is not None and self.p_values[i] < RATE:
            return NONE
        return self.classes[int(np.argmax(self.probabilities[i]))]


def check_names(names: list[str]) -> None:
    """Raise `ValueError` where classes have no names, or twice the same, or names that are no names of folders."""
    for name in names:
        if not name or name != name.strip() or any(c in name for c in "/\\\0") or name in (".", "..", NONE):
            raise ValueError(f"Expected a name of each class, without slashes; got {name[:40]!r}. Name it.")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"Expected different names of classes; got {sorted(twice)[0][:40]!r} twice. Rename one.")


def classified(
    model: Model, classes: Mapping[str, Seen], query: Seen, *, augment: bool = True, work: Work | None = None
) -> Classified:
    """Return what the pictures of a query are taken for.

    Args:
        model: which sees them.
        classes: examples, by the name of their class.
        query: pictures to classify.
        augment: add moved copies of the examples.
        work: reports and stops.

    Raises:
        ValueError: there are fewer than two classes with pictures, or no query.
    """
    given = {name.strip(): some for name, some in classes.items() if len(some)}
    check_names(list(given))
    if len(given) < 2:
        raise ValueError(f"Expected pictures of at least two classes; got {len(given)}. Give a few pictures to each.")
    if not len(query):
        raise ValueError("Expected a picture to classify; got none. Drop some into the query.")
    pixels = torch.cat([some.pixels for some in given.values()])
    labels = [name for name, some in given.items() for _ in range(len(some))]
    copies = COPIES if augment and model.can("features") else 1
    total = len(pixels) * copies + len(query) + (len(pixels) if copies > 1 else 0)
    tick = (work or Work()).ticking(total, f"looking at {len(pixels)} examples")
    classifier = FewShotClassifier(watched(model, tick), augment=augment).fit(pixels, labels)
    probabilities, p = classifier.predict_proba_and_p_values(query.pixels)
    few = " (too few examples to say that a picture is of no class)" if p is None else ""
    return Classified(
        query.names,
        tuple(map(str, classifier.classes_)),
        tuple(map(tuple, probabilities.tolist())),
        None if p is None else tuple(p.tolist()),
        f"{classifier.choice_}{few}",
    )
