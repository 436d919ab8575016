"""One covariance for all classes: N(zeta_c, (S + rho I) / N), S the pooled within-class scatter of N rows, rho a ridge.

With the rows X_i = (K, D) of one example about its class mean, d_i their mean,

    S without i  =  S - Y^T Y,   Y = [X_i; sqrt(K / (m - 1)) d_i],

so that the inverse changes by rank K + 1 (Woodbury): examples are left out by formula. rho and N stay as they are, and
so does what the other classes' examples add to S. Where there are fewer rows than dimensions, S = X^T X is of low rank.

It is the expected covariance of `gaussians.inverse_wishart`, tied: every class adds its scatter to one Psi = rho I + S,
and its mean is its own, with kappa to 0.

Reference: Hoffbeck and Landgrebe 1996 (leave-one-out covariance).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from transflow.fewshot.examples import Examples
from transflow.gaussians.woodbury import Woodbury

Products = Iterator[tuple[Tensor, Tensor]]


class Inverse(Protocol):
    """``A^-1``, A = S + rho I."""

    def solve(self, v: Tensor) -> Tensor:
        """Return ``A^-1`` times each row of v, (n, D)."""

    def products(self, examples: Examples, rows: Tensor, v: Tensor) -> Products:
        """Yield ``X_i A^-1 X_i^T`` (K, K) and ``X_i A^-1 v^T`` (K, n) for each example i of ``rows``; double."""


@dataclass(frozen=True, eq=False)
class FullInverse:
    """The inverse written out, for D of at most N.

    Attributes:
        matrix: A^-1, shape (D, D).
    """

    matrix: Tensor

    def solve(self, v: Tensor) -> Tensor:
        """Return ``A^-1`` times each row of v, (n, D)."""
        return v @ self.matrix.to(v)

    def products(self, examples: Examples, rows: Tensor, v: Tensor) -> Products:
        """Yield ``X_i A^-1 X_i^T`` and ``X_i A^-1 v^T``."""
        solved = self.solve(v.double())
        for i in rows.tolist():
            x = examples.rows[i] - examples.means[examples.labels[i]]
            yield (x @ self.solve(x).T).double(), x.double() @ solved.T


@dataclass(frozen=True, eq=False)
class LowRankInverse:
    """The inverse by the Woodbury identity, for fewer rows N than dimensions.

    Attributes:
        woodbury: of ``rho I + X^T X``.
    """

    woodbury: Woodbury

    def solve(self, v: Tensor) -> Tensor:
        """Return ``A^-1`` times each row of v, (n, D)."""
        return self.woodbury.solve(v)

    def products(self, examples: Examples, rows: Tensor, v: Tensor) -> Products:
        """Yield ``X_i A^-1 X_i^T`` and ``X_i A^-1 v^T``."""
        columns = rows[:, None] * examples.copies + torch.arange(examples.copies, device="cpu")
        yield from zip(self.woodbury.factor_blocks(columns), self.woodbury.factor_times(v)[columns], strict=True)


@dataclass(frozen=True, eq=False)
class Shared:
    """The densities N(zeta_c, (S + rho I) / N).

    The squared distance to a mean of m examples is too large by the scatter of that mean, ``spread / m``
    in expectation; it is subtracted, so that classes of few examples are not at a disadvantage.

    Attributes:
        means: zeta_c, shape (C, D).
        solved: (S + rho I)^-1 zeta_c N, shape (C, D).
        counts: m_c, shape (C,).
        inverse: of S + rho I.
        size: N.
        spread: mean squared distance of these examples from their class's mean, times m / (m - 1).
    """

    means: Tensor
    solved: Tensor
    counts: Tensor
    inverse: Inverse
    size: int
    spread: float = 0.0

    def log_density(self, latents: Tensor) -> Tensor:
        """Return log densities (B, C), without the determinant of Sigma."""
        weights, offset = self.linear()
        return latents @ weights.T + offset - 0.5 * self.length(latents)[:, None]

    def linear(self) -> tuple[Tensor, Tensor]:
        """Return weights and offsets: the squared length of z is the same for all classes."""
        return self.solved, -0.5 * (self.means * self.solved).sum(1) + 0.5 * self.spread / self.counts

    def length(self, latents: Tensor) -> Tensor:
        """Return ``z^T Sigma^-1 z``, shape (B,)."""
        return (latents * self.inverse.solve(latents)).sum(1) * self.size

    def leave_one_out(self, examples: Examples, left_out: Tensor, rows: Tensor) -> Tensor:
        """Return log densities (n', C), by a change of rank K + 1 each; `spread` stays."""
        k, classes = examples.copies, len(self.means)
        counts, means, _ = examples.without(left_out)
        means = (means - means.mean(0)).double()
        among = self.inverse.solve(means) @ means.T
        eye = torch.eye(k + classes, dtype=torch.float64, device=means.device)
        average = torch.cat([eye.new_full((k,), 1 / k), eye.new_zeros(classes)])
        found = []
        for i, (own, cross) in zip(rows.tolist(), self.inverse.products(examples, rows, means), strict=True):
            c = int(examples.labels[i])
            m = self.counts[c].item()
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
    rho, size = (ridge * trace / dim, n * k) if trace > 0 else (1.0, 1)
    inverse: Inverse
    if n * k < dim:
        rows = torch.cat(list(examples.centred())).double()
        inverse = LowRankInverse(Woodbury.of(rows.new_tensor(rho), rows.T, examples.gram))
    else:
        gram = examples.gram.clone()
        gram.diagonal().add_(rho)
        inverse = FullInverse(torch.cholesky_inverse(torch.linalg.cholesky(gram)).to(means))
    found = Shared(means, inverse.solve(means) * size, examples.counts, inverse, size)
    return replace(found, spread=_spread(found, examples))


def _spread(found: Shared, examples: Examples, most: int = 500) -> float:
    """The expectation of a class mean's squared error, times m, from at most so many examples."""
    labels = examples.labels[:most]
    several = examples.counts[labels] > 1
    m = examples.counts[labels][several]
    gaps = (examples.rows[:most].mean(1) - examples.means[labels])[several]
    square = (gaps * found.inverse.solve(gaps)).sum(1) * found.size * m / (m - 1)
    return square.mean().item() if len(m) else 0.0
