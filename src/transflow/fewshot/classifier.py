"""Few-shot classification in closed form: labelled evidence, to which examples are added, and removed again.

Evidence is labelled features of one or more sets (a model's latents, its hidden activations, alone or with copies under
small affine maps). The likelihoods are selected and calibrated by the evidence alone (see `selection`); the distances
of the left-out examples to their own class give p-values for inputs that belong to none (see `ensemble`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor

from transflow.fewshot.duplicates import distinct
from transflow.fewshot.ensemble import Ensemble
from transflow.fewshot.examples import FeatureKind, LabelledFeatures
from transflow.fewshot.selection import check_noise, select
from transflow.gaussians.noise import NoiseSpec

Features: TypeAlias = Callable[[], Mapping[str, Tensor]]
KEPT_ROWS = 20_000  # for the shared covariance and for leaving out; statistics go on past it


@dataclass(frozen=True, eq=False)
class FewShot:
    """Labelled evidence; a frozen value.

    Attributes:
        noise: "auto", or one likelihood: "0.5m", a number, "pooled", "levels", "shared", "student".
        classes: their names, in the order in which they were added.
        labels: class of each kept example, shape (n,).
        keys: an identifier of each kept example, such as a digest; n of them.
        feature_sets: by name.
    """

    noise: NoiseSpec = "auto"
    classes: tuple[Any, ...] = ()
    labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long, device="cpu"))
    keys: tuple[str, ...] = ()
    feature_sets: Mapping[str, LabelledFeatures] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_noise(self.noise)

    @property
    def counts(self) -> list[int]:
        """m_c, the number of examples of each class."""
        return [e.count // f.copies for f in list(self.feature_sets.values())[:1] for e in f.evidence]

    @property
    def whole(self) -> bool:
        """Whether every example is kept, none in the statistics alone."""
        return sum(self.counts) == len(self.labels)

    def add(
        self,
        features: Mapping[str, Tensor],
        names: Sequence[Any],
        keys: Sequence[str],
        kinds: Mapping[str, FeatureKind] | None = None,
    ) -> FewShot:
        """Return the evidence with n more examples.

        Args:
            features: by set, shape (n, K, D), the example itself the first of K copies.
            names: class of each.
            keys: identifier of each, by which it is removed again.
            kinds: by set, what is known of the features beforehand, where there is something.
        """
        kinds = kinds or {}
        classes = tuple(dict.fromkeys((*self.classes, *names)))
        number = {name: i for i, name in enumerate(classes)}
        labels = torch.tensor([number[name] for name in names], dtype=torch.long, device="cpu")
        together, every = torch.cat([self.labels, labels]), (*self.keys, *keys)
        stay = kept_rows(every, KEPT_ROWS // sum(rows.shape[1] for rows in features.values()))
        sets = {}
        for name, rows in features.items():
            old = self.feature_sets.get(name)
            new = LabelledFeatures.of(rows, labels, len(classes), kinds.get(name))
            sets[name] = (new if old is None else old.joined(new)).kept(stay)
        if stay is not None:
            together, every = together[stay], tuple(every[i] for i in stay.tolist())
        return replace(self, classes=classes, labels=together, keys=every, feature_sets=sets)

    def remove(self, names: Sequence[Any], keys: Sequence[str], features: Features) -> FewShot:
        """Return the evidence without examples: the same as if they had never been added.

        Args:
            names: class of each, n of them.
            keys: identifier of each.
            features: returns their features by set, (n, K, D); called only for examples that are in the statistics
                alone.

        Raises:
            ValueError: one is not in the evidence; of examples that are in the statistics alone it cannot be known.
        """
        stay, rest = self._find(names, keys)
        labels, whole = self.labels[stay], self.whole
        more = features() if rest else {}
        gone = torch.tensor([self.classes.index(names[j]) for j in rest], dtype=torch.long, device="cpu")
        sets = {}
        for name, known in self.feature_sets.items():
            if whole:
                sets[name] = known.recomputed(self.labels, stay)
            else:
                sets[name] = known.reduced(self.labels, stay, more[name][rest] if rest else None, gone)
        kept = tuple(key for key, stays in zip(self.keys, stay.tolist(), strict=True) if stays)
        return replace(self, labels=labels, keys=kept, feature_sets=sets)._without_empty_classes()

    @cached_property
    def ensemble(self) -> Ensemble:
        """The likelihoods that are selected for these examples, of which equal ones count once."""
        first = next(iter(self.feature_sets.values()))
        stay = torch.ones(1, dtype=torch.bool, device="cpu")
        stay = distinct(first.rows[:, 0], self.labels, self.keys) if self.whole else stay
        if stay.all():
            return select(self.noise, self.labels, self.counts, self.feature_sets)
        sets = {name: features.recomputed(self.labels, stay) for name, features in self.feature_sets.items()}
        labels = self.labels[stay]
        found = select(self.noise, labels, labels.bincount(minlength=len(self.classes)).tolist(), sets)
        note = f"{int((~stay).sum())} of {len(stay)} examples are equal to others of their class, and count once"
        note = "; ".join(filter(None, (note, found.selection.note)))
        return replace(found, selection=replace(found.selection, note=note))

    def _find(self, names: Sequence[Any], keys: Sequence[str]) -> tuple[Tensor, list[int]]:
        """Whether each kept example stays, (n,), and numbers of the given examples that are in the statistics alone."""
        places: dict[tuple[str, Any], list[int]] = {}
        for i, (key, label) in enumerate(zip(self.keys, self.labels.tolist(), strict=True)):
            places.setdefault((key, self.classes[label]), []).append(i)
        stay, rest = torch.ones(len(self.labels), dtype=torch.bool, device="cpu"), []
        for j, pair in enumerate(zip(keys, names, strict=True)):
            if places.get(pair):
                stay[places[pair].pop()] = False
            else:
                rest.append(j)
        unknown = [j for j in rest if self.whole or names[j] not in self.classes]
        if unknown:
            which = ", ".join(str(j + 1) for j in unknown[:5])
            raise ValueError(
                f"Expected examples that are in the evidence, with their labels; {len(unknown)} of {len(keys)} "
                f"are not (numbers {which}). Nothing was changed."
            )
        return stay, rest

    def _without_empty_classes(self) -> FewShot:
        left = [c for c, count in enumerate(self.counts) if count]
        number = torch.full((len(self.classes),), -1, dtype=torch.long, device="cpu")
        number[left] = torch.arange(len(left), device="cpu")
        sets = {name: replace(f, evidence=tuple(f.evidence[c] for c in left)) for name, f in self.feature_sets.items()}
        classes = tuple(self.classes[c] for c in left)
        return replace(self, classes=classes, labels=number[self.labels], feature_sets=sets)


def kept_rows(keys: Sequence[str], most: int) -> Tensor | None:
    """Return numbers of the examples that are kept, (most,), in order; None for all.

    Those of the least keys: digests, so of no class more than of another, and the same ones however they came.

    >>> kept_rows(["d", "a", "c", "b"], 2), kept_rows(["d", "a"], 2)
    (tensor([1, 3]), None)
    """
    if len(keys) <= most:
        return None
    return torch.tensor(sorted(sorted(range(len(keys)), key=keys.__getitem__)[:most]), dtype=torch.long, device="cpu")
