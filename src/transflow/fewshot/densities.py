"""How latents scatter within a class: predictive densities in closed form, and each left out of its own.

The latents zeta_ij of class c have the mean zeta_c, of m_c examples; for a new latent z:

    lambda I     N(s zeta_c, (1 - s + lambda) I),  s = m / (m + lambda)        (10)(11)
    levels       the same with a lambda_l for each level l of the model
    student      lambda_c itself unknown, with its conjugate prior: a Student t
    shared       N(zeta_c, (S + rho I) / N): one covariance for all classes, S the pooled
                 within-class scatter of N rows (low rank), rho a ridge

`left_out` gives the densities of examples under evidence without them, by formula and not by
fitting anew. Every class loses one example at a time, so that no class is favoured for having
more. With the rows X_i = (K, D) of one example about its class mean, d_i their mean,

    zeta_c without i  =  zeta_c - d_i / (m - 1),
    S without i       =  S - Y^T Y,   Y = [X_i; sqrt(K / (m - 1)) d_i],

so that the inverse changes by rank K + 1 (Woodbury 1950); rho and N stay as they are, and so
does what the other classes' examples add to S.

N(0, I) in many dimensions lies near the sphere of radius sqrt(D), pictures unlike the model's own
lie off it, and how far says little of their class: `directions` puts latents onto it.

References: Gambardella, Baydin and Torr 2019, arXiv 1911.13270, equations 10 and 11; Tibshirani
et al. 2002 (shrunken centroids); Hoffbeck and Landgrebe 1996 (leave-one-out covariance).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

CHUNK = 8192  # rows that are centred at a time


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled latents in units in which their prior is N(0, I).

    Attributes:
        rows: n examples of K copies each, the example itself first: (n, K, D).
        labels: class of each, 0 .. C - 1, shape (n,).
        counts: m_c, examples of each class, shape (C,); more than `labels` shows where not
            all rows are kept.
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
        """Pooled within-class variance of each level, shape (L,); 1 where no class shows it."""
        free = (self.counts.sum() * self.copies - len(self.counts)).item()
        per_level = torch.stack([part.sum() for part in self.scatter.split(self.levels, 1)])
        if free < 1 or per_level.sum() <= 0:
            return torch.ones_like(per_level)
        per_level = per_level / free / per_level.new_tensor(self.levels)
        return per_level.clamp(min=1e-9 * per_level.max().item())

    def centred(self) -> Iterator[Tensor]:
        """Yield the rows about their class's mean, in chunks (b, D)."""
        step = max(1, CHUNK // self.copies)
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

    def without(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return counts (C,), class means (C, D) and scatter (C, D) without an example of each class.

        Args:
            out: which example each class loses, shape (C,); -1 for none. Who loses one has two or more.
        """
        loses = out >= 0
        m = self.counts[loses][:, None]
        rows = self.rows[out[loses]] - self.means[loses][:, None]
        gaps = rows.mean(1)
        counts, means, scatter = self.counts - loses.to(self.counts), self.means.clone(), self.scatter.clone()
        means[loses] -= gaps / (m - 1)
        scatter[loses] -= rows.square().sum(1) + self.copies / (m - 1) * gaps.square()
        return counts, means, scatter.clamp(min=0)


def directions(latents: Tensor) -> Tensor:
    """Return latents (..., D) scaled to length ``sqrt(D)``, near which nearly all of N(0, I) lies."""
    length = latents.norm(dim=-1, keepdim=True)
    return latents * (math.sqrt(latents.shape[-1]) / length.clamp(min=1e-6))


class Likelihood(Protocol):
    """A predictive density of each class."""

    def log_density(self, latents: Tensor) -> Tensor:
        """Return log densities (B, C) of latents (B, D), up to a constant that all latents share."""

    def linear(self) -> tuple[Tensor, Tensor] | None:
        """Return w (C, D) and b (C,) such that ``z w^T + b`` is the same up to a constant in each row, if any are."""

    def left_out(self, examples: Examples, out: Tensor, told: Tensor) -> Tensor:
        """Return log densities (n', C) of the examples ``told`` (n',), under evidence without them.

        Args:
            examples: the evidence.
            out: which example each class loses, shape (C,); -1 for none.
            told: some of these.
        """


@dataclass(frozen=True, eq=False)
class Scaled:
    """lambda I, or one lambda for each level: nearest shrunken centroid, equations (10) and (11).

    Attributes:
        means: s zeta_c, shape (C, D).
        variances: 1 - s + lambda, shape (C, L).
        levels: sizes of the levels.
        lam: lambda of each level, shape (L,).
        estimated: whether lambda comes from the examples, and so changes when one is left out.
    """

    means: Tensor
    variances: Tensor
    levels: tuple[int, ...]
    lam: Tensor
    estimated: bool

    @classmethod
    def of(cls, counts: Tensor, means: Tensor, levels: tuple[int, ...], lam: Tensor, estimated: bool) -> Scaled:
        """Return the predictive for m_c = counts (C,), zeta_c = means (C, D) and lambda (L,)."""
        s = counts[:, None] / (counts[:, None] + lam)
        sizes = torch.tensor(levels, device=means.device)
        shrunk = means * s.repeat_interleave(sizes, 1)
        return cls(shrunk, 1 - s + lam, levels, lam, estimated)

    def log_density(self, latents: Tensor) -> Tensor:
        """Return log densities (B, C)."""
        squares = torch.stack([torch.linalg.vecdot(part, part) for part in latents.split(self.levels, 1)], 1)
        weights, offset = self._weights()
        return latents @ weights.T + offset - 0.5 * squares @ (1 / self.variances).T

    def linear(self) -> tuple[Tensor, Tensor] | None:
        """Return weights and offsets where all classes have one variance; else None."""
        return self._weights() if bool((self.variances == self.variances[0]).all()) else None

    def _weights(self) -> tuple[Tensor, Tensor]:
        sizes = torch.tensor(self.levels, device=self.means.device)
        weights = self.means / self.variances.repeat_interleave(sizes, 1)
        return weights, -0.5 * (self.variances.log() @ sizes.to(weights) + (self.means * weights).sum(1))

    def left_out(self, examples: Examples, out: Tensor, told: Tensor) -> Tensor:
        """Return log densities (n', C), lambda being estimated anew where it was estimated."""
        counts, means, scatter = examples.without(out)
        lam, free = self.lam, counts.sum().item() * examples.copies - len(counts)
        if self.estimated and free >= 1:
            total = torch.stack([part.sum() for part in scatter.split(examples.levels, 1)])
            if len(self.levels) == 1:
                total = total.sum(0, keepdim=True)
            lam = (total / free / means.new_tensor(self.levels)).clamp(min=1e-3 * self.lam.max().item())
        parts = Scaled.of(counts, means, self.levels, lam, self.estimated)
        return parts.log_density(examples.rows[told, 0])


def scaled(examples: Examples, per_count: float | None = None, value: float | None = None) -> Scaled:
    """Return ``lambda I``: lambda = ``per_count`` times the mean m, or ``value``, or estimated if neither is said."""
    sizes = (sum(examples.levels),)
    if value is None:
        value = per_count * examples.counts.mean().item() if per_count is not None else None
    if value is not None:
        lam, estimated = examples.means.new_tensor([value]), False
    else:
        size = examples.means.new_tensor(examples.levels)
        lam, estimated = (examples.variances * size).sum()[None] / size.sum(), True
    return Scaled.of(examples.counts, examples.means, sizes, lam, estimated)


def per_level(examples: Examples) -> Scaled:
    """Return one lambda for each level, the pooled within-class variance."""
    return Scaled.of(examples.counts, examples.means, examples.levels, examples.variances, True)


@dataclass(frozen=True, eq=False)
class Student:
    """lambda_c unknown: normal and inverse gamma, so the predictive is a Student t.

    ``lambda_c ~ IG(D/2, D lambda/2)`` (the pooled lambda, worth one example) and
    ``z | lambda_c ~ N(0, lambda_c / k I)``, k = lambda: a prior of variance near 1.

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
        k = lam
        freedom = dim + dim * counts
        b = dim * lam + scatter.sum(1) + k * counts / (k + counts) * means.square().sum(1)
        scale = b / freedom * (1 + 1 / (counts + k))
        return cls(means * (counts / (counts + k))[:, None], freedom, scale, lam)

    def log_density(self, latents: Tensor) -> Tensor:
        """Return log densities (B, C)."""
        dim = self.means.shape[1]
        z = latents
        square = (z.square().sum(1)[:, None] - 2 * z @ self.means.T + self.means.square().sum(1)).clamp(min=0)
        half = self.freedom / 2
        norm = torch.lgamma(half + dim / 2) - torch.lgamma(half) - dim / 2 * (self.freedom * self.scale).log()
        return norm - (half + dim / 2) * torch.log1p(square / (self.freedom * self.scale))

    def linear(self) -> None:
        """Return None: the classes are told apart by a function that is not linear."""

    def left_out(self, examples: Examples, out: Tensor, told: Tensor) -> Tensor:
        """Return log densities (n', C); the pooled lambda stays."""
        counts, means, scatter = examples.without(out)
        parts = Student.of(counts, means, scatter / examples.copies, self.lam)
        return parts.log_density(examples.rows[told, 0])


def student(examples: Examples) -> Student:
    """Return the Student t predictive of these examples."""
    lam = scaled(examples).lam.item()
    return Student.of(examples.counts, examples.means, examples.scatter / examples.copies, lam)


@dataclass(frozen=True, eq=False)
class Woodbury:
    """The inverse of ``X^T X + rho I`` for fewer rows X than dimensions, in double.

    Attributes:
        rows: X, shape (N, D).
        chol: Cholesky factor of ``K = X X^T + rho I``, shape (N, N).
        rho: the ridge.
    """

    rows: Tensor
    chol: Tensor
    rho: float

    def solve(self, v: Tensor) -> Tensor:
        """Return the inverse times each row of v, (n, D)."""
        inner = torch.cholesky_solve(self.rows @ v.double().T, self.chol)
        return ((v - inner.T @ self.rows) / self.rho).to(v)

    def among_rows(self, which: Tensor) -> Tensor:
        """Return ``X_i (X^T X + rho I)^-1 X_i^T`` of rows i = which (b, k), (b, k, k): blocks of ``I - rho K^-1``."""
        inverse = torch.cholesky_inverse(self.chol)
        eye = torch.eye(which.shape[1], dtype=inverse.dtype)
        return eye - self.rho * inverse[which[:, :, None], which[:, None, :]]

    def rows_with(self, v: Tensor) -> Tensor:
        """Return ``X (X^T X + rho I)^-1 v^T``, shape (N, n): ``K^-1 X v^T``."""
        return torch.cholesky_solve(self.rows @ v.double().T, self.chol)


@dataclass(frozen=True, eq=False)
class Shared:
    """One covariance for all classes, ``(S + rho I) / N``: pooled within-class scatter and a ridge.

    The squared distance to a mean of m examples is too large by the scatter of that mean, ``spread / m``
    in expectation; it is taken off, so that classes of few examples are not passed over.

    Attributes:
        means: zeta_c, shape (C, D).
        solved: (S + rho I)^-1 zeta_c N, shape (C, D).
        counts: m_c, shape (C,).
        inverse: of S + rho I, as a matrix (D, D) or by Woodbury.
        size: N.
        spread: mean squared distance of these examples from their class's mean, times m / (m - 1).
    """

    means: Tensor
    solved: Tensor
    counts: Tensor
    inverse: Tensor | Woodbury
    size: int
    spread: float = 0.0

    def solve(self, v: Tensor) -> Tensor:
        """Return ``(S + rho I)^-1`` times each row of v, (n, D)."""
        if isinstance(self.inverse, Woodbury):
            return self.inverse.solve(v)
        return v @ self.inverse.to(v) if self.inverse.ndim else v * self.inverse.to(v)

    def log_density(self, latents: Tensor) -> Tensor:
        """Return log densities (B, C), without the determinant of Sigma."""
        weights, offset = self.linear()
        return latents @ weights.T + offset - 0.5 * self.length(latents)[:, None]

    def linear(self) -> tuple[Tensor, Tensor]:
        """Return weights and offsets: the squared length of z is the same for all classes."""
        return self.solved, -0.5 * (self.means * self.solved).sum(1) + 0.5 * self.spread / self.counts

    def length(self, latents: Tensor) -> Tensor:
        """Return ``z^T Sigma^-1 z``, shape (B,)."""
        return (latents * self.solve(latents)).sum(1) * self.size

    def left_out(self, examples: Examples, out: Tensor, told: Tensor) -> Tensor:
        """Return log densities (n', C), by a change of rank K + 1 each; `spread` stays."""
        k, classes = examples.copies, len(self.means)
        counts, means, _ = examples.without(out)
        means = (means - means.mean(0)).double()
        solved = self.solve(means)
        among = solved @ means.T
        if isinstance(self.inverse, Woodbury):
            numbers = told[:, None] * k + torch.arange(k)
            grams, crosses = self.inverse.among_rows(numbers), self.inverse.rows_with(means)[numbers]
        eye = torch.eye(k + classes, dtype=torch.float64, device=means.device)
        average = torch.cat([eye.new_full((k,), 1 / k), eye.new_zeros(classes)])
        found = []
        for j, i in enumerate(told.tolist()):
            c = int(examples.labels[i])
            m = self.counts[c].item()
            if isinstance(self.inverse, Woodbury):
                own, cross = grams[j], crosses[j]
            else:
                rows = examples.rows[i] - self.means[c]
                own, cross = (rows @ self.solve(rows).T).double(), rows.double() @ solved.T
            gram = torch.cat([torch.cat([own, cross], 1), torch.cat([cross.T, among], 1)])
            to_class = eye[0] + average / (m - 1) + eye[k + c] - eye[k:]  # coefficients of x less each class's mean
            change = torch.cat([eye[:k], math.sqrt(k / (m - 1)) * average[None]])
            inner = change @ gram
            left = torch.eye(k + 1, dtype=gram.dtype, device=gram.device) - inner @ change.T
            b = inner @ to_class.T
            square = ((to_class @ gram) * to_class).sum(1) + (b * torch.linalg.solve(left, b)).sum(0)
            found.append(-0.5 * (self.size * square - self.spread / counts.double()))
        return torch.stack(found)


def shared(examples: Examples, ridge: float) -> Shared:
    """Return the shared covariance; rho is ``ridge`` times the mean eigenvalue of S.

    Where S is zero, as with one example a class and no copies, the covariance is I.
    """
    means = examples.means
    n, k, dim = examples.rows.shape
    trace = examples.scatter.sum().item() * n / max(examples.counts.sum().item(), 1)
    if trace <= 0:
        return Shared(means, means, examples.counts, torch.ones((), dtype=means.dtype), 1)
    rho = ridge * trace / dim
    inverse: Tensor | Woodbury
    gram = examples.gram.clone()
    gram.diagonal().add_(rho)
    chol = torch.linalg.cholesky(gram)
    if n * k < dim:
        inverse = Woodbury(torch.cat(list(examples.centred())).double(), chol, rho)
    else:
        inverse = torch.cholesky_inverse(chol).to(means)
    found = Shared(means, means, examples.counts, inverse, n * k)
    return replace(found, solved=found.solve(means) * found.size, spread=_spread(found, examples))


def _spread(found: Shared, examples: Examples, most: int = 500) -> float:
    """The expectation of a class mean's squared error is this over m; of at most so many examples."""
    labels = examples.labels[:most]
    several = examples.counts[labels] > 1
    m = examples.counts[labels][several]
    gaps = (examples.rows[:most].mean(1) - examples.means[labels])[several]
    square = (gaps * found.solve(gaps)).sum(1) * found.size * m / (m - 1)
    return square.mean().item() if len(m) else 0.0
