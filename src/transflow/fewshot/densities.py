"""Predictive densities of a class in closed form, and each without one of its own examples.

The features zeta_ij of class c have the mean zeta_c, of m_c examples; for a new one z:

    Scaled    N(s zeta_c, (1 - s + lambda) I),  s = m / (m + lambda)             (10)(11)
    Pooled    the same with lambda estimated, one, or a lambda_l for each level l of the model
    Student   lambda_c itself unknown, with its conjugate prior: a Student t

and `shared_covariance` for one covariance of all classes. `leave_one_out` gives the densities of examples under
evidence without them by formula (`Examples.without`). Every class loses one example at a time, so that no class is
favoured for having more.

References: Gambardella, Baydin and Torr 2019, arXiv 1911.13270, equations 10 and 11; Tibshirani et al. 2002 (shrunken
centroids).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from transflow.fewshot.examples import Examples
from transflow.gaussians.gaussian import shrinkage
from transflow.gaussians.inverse_wishart import shrinkage_and_pull
from transflow.gaussians.student import log_density


class Likelihood(Protocol):
    """A predictive density of each class."""

    def log_density(self, latents: Tensor) -> Tensor:
        """Return log densities (B, C) of latents (B, D), up to a constant that all latents share."""

    def linear(self) -> tuple[Tensor, Tensor] | None:
        """Return w (C, D) and b (C,) such that ``z w^T + b`` is the same up to a constant in each row; None if none."""

    def leave_one_out(self, examples: Examples, left_out: Tensor, rows: Tensor) -> Tensor:
        """Return log densities (n', C) of examples under evidence without them.

        Args:
            examples: the evidence.
            left_out: number of the example that each class loses, shape (C,); -1 for none.
            rows: numbers of the examples to classify, shape (n',), all of them in ``left_out``.
        """


@dataclass(frozen=True, eq=False)
class Scaled:
    """A given lambda I, or a lambda for each level: nearest shrunken centroid, equations (10) and (11).

    Attributes:
        means: s zeta_c, shape (C, D).
        variances: 1 - s + lambda, shape (C, L).
        levels: sizes of the levels.
        lam: lambda of each level, shape (L,).
    """

    means: Tensor
    variances: Tensor
    levels: tuple[int, ...]
    lam: Tensor

    @classmethod
    def of(cls, counts: Tensor, means: Tensor, levels: tuple[int, ...], lam: Tensor) -> Self:
        """Return the predictive for m_c = counts (C,), zeta_c = means (C, D) and lambda (L,)."""
        s, variances = shrinkage(counts[:, None], lam)
        sizes = torch.tensor(levels, device=means.device, dtype=torch.long)
        return cls(means * s.repeat_interleave(sizes, 1), variances, levels, lam)

    def log_density(self, latents: Tensor) -> Tensor:
        """Return log densities (B, C)."""
        squares = torch.stack([torch.linalg.vecdot(part, part) for part in latents.split(self.levels, 1)], 1)
        weights, offset = self._weights()
        return latents @ weights.T + offset - 0.5 * squares @ (1 / self.variances).T

    def linear(self) -> tuple[Tensor, Tensor] | None:
        """Return weights and offsets where all classes have one variance; else None."""
        return self._weights() if bool((self.variances == self.variances[0]).all()) else None

    def leave_one_out(self, examples: Examples, left_out: Tensor, rows: Tensor) -> Tensor:
        """Return log densities (n', C)."""
        counts, means, scatter = examples.without(left_out)
        lam = self._lam_of(examples, counts, scatter)
        return self.of(counts, means, self.levels, lam).log_density(examples.rows[rows, 0])

    def _lam_of(self, examples: Examples, counts: Tensor, scatter: Tensor) -> Tensor:
        """Lambda of evidence with these counts (C,) and scatter (C, D)."""
        return self.lam

    def _weights(self) -> tuple[Tensor, Tensor]:
        sizes = torch.tensor(self.levels, device=self.means.device, dtype=torch.long)
        weights = self.means / self.variances.repeat_interleave(sizes, 1)
        return weights, -0.5 * (self.variances.log() @ sizes.to(weights) + (self.means * weights).sum(1))


@dataclass(frozen=True, eq=False)
class Pooled(Scaled):
    """Lambda estimated as the pooled within-class variance, and again when examples are left out."""

    def _lam_of(self, examples: Examples, counts: Tensor, scatter: Tensor) -> Tensor:
        free = counts.sum().item() * examples.copies - len(counts)
        if free < 1:
            return self.lam
        total = torch.stack([part.sum() for part in scatter.split(self.levels, 1)])
        return (total / free / total.new_tensor(self.levels)).maximum(1e-3 * self.lam)


def scaled(examples: Examples, lam: float) -> Scaled:
    """Return the predictive for ``lambda I``, lambda given."""
    return Scaled.of(examples.counts, examples.means, (sum(examples.levels),), examples.means.new_tensor([lam]))


def scaled_per_count(examples: Examples, share: float) -> Scaled:
    """Return the predictive for ``lambda I``, lambda = ``share`` times the mean m."""
    return scaled(examples, share * examples.counts.mean().item())


def pooled(examples: Examples) -> Pooled:
    """Return the predictive for ``lambda I``, lambda estimated."""
    size = examples.means.new_tensor(examples.levels)
    lam = (examples.variances * size).sum()[None] / size.sum()
    return Pooled.of(examples.counts, examples.means, (sum(examples.levels),), lam)


def per_level(examples: Examples) -> Pooled:
    """Return the predictive with one lambda for each level, estimated."""
    return Pooled.of(examples.counts, examples.means, examples.levels, examples.variances)


@dataclass(frozen=True, eq=False)
class Student:
    """lambda_c unknown: normal and inverse gamma, so the predictive is a Student t.

    ``lambda_c ~ IG(D/2, D lambda/2)`` (the pooled lambda, worth one example) and
    ``z | lambda_c ~ N(0, lambda_c / k I)``, k = lambda: a prior of variance near 1. It is the family of
    `gaussians.inverse_wishart` with Sigma held to multiples of I: of Psi, the trace is what is updated.

    Attributes:
        means: m zeta_c / (m + k), shape (C, D).
        freedom: nu_c = D + D m_c, shape (C,).
        scale: the t's squared scale, shape (C,).
        lam: the pooled lambda.
    """

    means: Tensor
    freedom: Tensor
    scale: Tensor
    lam: float

    @classmethod
    def of(cls, counts: Tensor, means: Tensor, scatter: Tensor, lam: float) -> Student:
        """Return the predictive for m_c, zeta_c, the scatter (C, D) of the class, and the pooled lambda."""
        dim = means.shape[1]
        k = counts.new_tensor(lam)
        share, pull = shrinkage_and_pull(k, counts)
        freedom = dim + dim * counts
        trace = dim * lam + scatter.sum(1) + pull * means.square().sum(1)
        scale = trace / freedom * (1 + 1 / (counts + k))
        return cls(means * share[:, None], freedom, scale, lam)

    def log_density(self, latents: Tensor) -> Tensor:
        """Return log densities (B, C)."""
        dim = self.means.shape[1]
        z = latents
        square = (z.square().sum(1)[:, None] - 2 * z @ self.means.T + self.means.square().sum(1)).clamp(min=0)
        return log_density(square, self.freedom, self.scale, dim)

    def linear(self) -> None:
        """Return None: the boundaries between classes are not linear."""

    def leave_one_out(self, examples: Examples, left_out: Tensor, rows: Tensor) -> Tensor:
        """Return log densities (n', C); the pooled lambda stays."""
        counts, means, scatter = examples.without(left_out)
        parts = Student.of(counts, means, scatter / examples.copies, self.lam)
        return parts.log_density(examples.rows[rows, 0])


def student(examples: Examples) -> Student:
    """Return the Student t predictive of these examples."""
    lam = pooled(examples).lam.item()
    return Student.of(examples.counts, examples.means, examples.scatter / examples.copies, lam)
