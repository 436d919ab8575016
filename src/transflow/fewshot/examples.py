"""Labelled examples: features of each in K copies, statistics of each class, and evidence without an example.

The features of one set are one vector for each copy of an example: a model's latents, its latents scaled to one length
(`normalise`), its hidden activations, or plain vectors. `LabelledFeatures` adds and removes examples; `Examples` has
them in units in which their prior is N(0, I), which the densities take.

With the rows X_i = (K, D) of one example about its class mean, d_i their mean, evidence without it has

    zeta_c - d_i / (m - 1)   and   scatter - sum_k X_ik^2 - K / (m - 1) d_i^2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from transflow.gaussians.evidence import Evidence

ROWS_AT_A_TIME = 8192


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled features in units in which their prior is N(0, I).

    Attributes:
        rows: n examples of K copies each, the example itself first: (n, K, D).
        labels: class of each, 0 .. C - 1, shape (n,).
        counts: m_c, examples of each class, shape (C,); more than in `labels` where not all rows are kept.
        means: zeta_c over all copies, shape (C, D).
        scatter: sum of squared deviations from it of all copies, shape (C, D).
        levels: sizes of the model's levels, which sum to D.
    """

    rows: Tensor
    labels: Tensor
    counts: Tensor
    means: Tensor
    scatter: Tensor
    levels: tuple[int, ...]

    @property
    def copies(self) -> int:
        """K."""
        return self.rows.shape[1]

    @cached_property
    def variances(self) -> Tensor:
        """Pooled within-class variance of each level, shape (L,); 1 where every class has one example."""
        free = (self.counts.sum() * self.copies - len(self.counts)).item()
        per_level = torch.stack([part.sum() for part in self.scatter.split(self.levels, 1)])
        if free < 1 or per_level.sum() <= 0:
            return torch.ones_like(per_level)
        per_level = per_level / free / per_level.new_tensor(self.levels)
        return per_level.clamp(min=1e-9 * per_level.max().item())

    def centred(self) -> Iterator[Tensor]:
        """Yield the rows minus their class's mean, in parts (b, D)."""
        step = max(1, ROWS_AT_A_TIME // self.copies)
        for rows, c in zip(self.rows.split(step), self.labels.split(step), strict=True):
            yield (rows - self.means[c][:, None]).flatten(0, 1)

    @cached_property
    def gram(self) -> Tensor:
        """``X X^T`` of the centred rows X (N, D) where N < D, else ``X^T X``; double."""
        n, k, dim = self.rows.shape
        if n * k < dim:
            x = torch.cat(list(self.centred())).double()
            return x @ x.T
        total = self.means.new_zeros(dim, dim, dtype=torch.float64)
        for x in self.centred():
            total += x.T @ x
        return total

    def without(self, left_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return counts (C,), class means (C, D) and scatter (C, D) without one example of each class.

        Args:
            left_out: number of the example that each class loses, shape (C,); -1 for none. A class that loses one
                has two or more.
        """
        loses = left_out >= 0
        m = self.counts[loses][:, None]
        rows = self.rows[left_out[loses]] - self.means[loses][:, None]
        gaps = rows.mean(1)
        counts, means, scatter = self.counts - loses.to(self.counts), self.means.clone(), self.scatter.clone()
        means[loses] -= gaps / (m - 1)
        scatter[loses] -= rows.square().sum(1) + self.copies / (m - 1) * gaps.square()
        return counts, means, scatter.clamp(min=0)


@dataclass(frozen=True)
class FeatureKind:
    """What is known of a set of features beforehand.

    Attributes:
        levels: sizes of the levels, which sum to D, of latents whose prior is N(0, I); None where the prior is not
            known, and is fitted: mean and variance of all examples.
        hidden: whether these are hidden activations of a model: "auto" then considers the shared covariance alone.
    """

    levels: tuple[int, ...] | None = None
    hidden: bool = False


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """One set of features of labelled examples, to which more are added and from which they are removed.

    Attributes:
        rows: n kept examples of K copies, the example itself first: (n, K, D).
        evidence: statistics of all copies of each class.
        kind: what is known of the features beforehand.
    """

    rows: Tensor
    evidence: tuple[Evidence, ...]
    kind: FeatureKind = FeatureKind()

    @classmethod
    def of(cls, rows: Tensor, labels: Tensor, classes: int, kind: FeatureKind | None = None) -> LabelledFeatures:
        """Return the features of examples (n, K, D) of classes 0 .. C - 1, labels of shape (n,)."""
        evidence = [Evidence.of(rows[labels == c].flatten(0, 1)) for c in range(classes)]
        return cls(rows, tuple(evidence), kind or FeatureKind())

    @property
    def copies(self) -> int:
        """K."""
        return self.rows.shape[1]

    @property
    def levels(self) -> tuple[int, ...]:
        """Sizes of the levels, which sum to D: one, where they are not known."""
        return self.kind.levels or (self.rows.shape[2],)

    def kept(self, stay: Tensor | None) -> LabelledFeatures:
        """Return the same statistics, and the rows of these numbers alone; None for all of them."""
        return self if stay is None else replace(self, rows=self.rows[stay])

    def joined(self, new: LabelledFeatures) -> LabelledFeatures:
        """Return these features and new ones."""
        known = len(self.evidence)
        both = [a + b for a, b in zip(self.evidence, new.evidence, strict=False)]
        rows = torch.cat([self.rows, new.rows])
        return replace(self, rows=rows, evidence=(*both, *new.evidence[known:]))

    def recomputed(self, labels: Tensor, stay: Tensor) -> LabelledFeatures:
        """Return the features of the kept examples that ``stay`` (n,), their statistics summed afresh."""
        return LabelledFeatures.of(self.rows[stay], labels[stay], len(self.evidence), self.kind)

    def reduced(self, labels: Tensor, stay: Tensor, more: Tensor | None, more_labels: Tensor) -> LabelledFeatures:
        """Return the features of the kept examples that ``stay`` (n,), all others subtracted from the statistics.

        Args:
            labels: of the kept examples, shape (n,).
            stay: whether each kept example stays, shape (n,).
            more: examples that are in the statistics alone and leave them, (n', K, D), or None.
            more_labels: their classes, shape (n',).
        """
        leaving = [(self.rows[~stay], labels[~stay])] + ([] if more is None else [(more, more_labels)])
        evidence = list(self.evidence)
        for rows, classes in leaving:
            parts = LabelledFeatures.of(rows, classes, len(evidence)).evidence
            evidence = [a - b for a, b in zip(evidence, parts, strict=True)]
        return replace(self, rows=self.rows[stay], evidence=tuple(evidence))

    def examples(self, labels: Tensor) -> tuple[Examples, Tensor, float]:
        """Return the examples in units of their prior, and its mean (D,) and standard deviation."""
        k = self.copies
        total = sum(self.evidence[1:], self.evidence[0])
        origin, unit, standard = torch.zeros_like(total.mean), 1.0, self.kind.levels is not None
        if not standard:
            origin = total.mean
            unit = math.sqrt((total.scatter.sum() / max(total.count - 1, 1) / total.dim).item()) or 1.0
        counts = torch.tensor([e.count / k for e in self.evidence], dtype=torch.float32, device="cpu")
        means = torch.stack([(e.mean - origin) / unit for e in self.evidence]).to(self.rows)
        scatter = torch.stack([e.scatter / unit**2 for e in self.evidence]).to(self.rows)
        origin = origin.to(self.rows)
        rows = self.rows if standard else (self.rows - origin) / unit
        return Examples(rows, labels, counts.to(self.rows), means, scatter, self.levels), origin, unit


def normalise(latents: Tensor) -> Tensor:
    """Return latents (..., D) scaled to length ``sqrt(D)``, near which nearly all of N(0, I) lies.

    Pictures unlike the model's own have latents off that sphere, and their distance from it depends little on
    their class.
    """
    length = latents.norm(dim=-1, keepdim=True)
    return latents * (math.sqrt(latents.shape[-1]) / length.clamp(min=1e-6))
