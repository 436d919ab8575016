"""A subspace that several covariances leave invariant, and a covariance that is a matrix inside and diagonal outside.

For ``diag(d_i) + U_i U_i^T``, i = 1, 2, .., with diagonals that are constant on a few pieces of the D numbers (on a
model's levels), take the span of the columns of all U_i on each piece l, with the orthonormal basis Q_l. Together they
are Q, block by block, of R columns:

    Sigma_i = diag(d_i) + Q (S_i - diag(Q^T d_i Q)) Q^T,   S_i = Q^T Sigma_i Q,   d_i constant on every column's piece,

so Sigma_i maps the span and its complement into themselves. Roots, products and inverses of such matrices keep this
form: those of S_i inside, of d_i outside. They need not be a diagonal plus a positive matrix of low rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, constraints, kl_divergence
from torch.distributions.kl import register_kl

from transflow.gaussians.covariance import DENSE_LIMIT, Covariance, DiagonalPlusLowRank, FullCovariance

PIECES = 32  # values of the diagonals together, at most


@dataclass(frozen=True, eq=False)
class Span:
    """An orthonormal basis Q (D, R), block by block.

    Attributes:
        dim: D.
        pieces: for each block the numbers that it is of, shape (D_l,), and its basis Q_l, (D_l, R_l).
    """

    dim: int
    pieces: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, covariances: Sequence[DiagonalPlusLowRank]) -> Self | None:
        """Return a span that all of them leave invariant; None where their diagonals have too many values."""
        dim = covariances[0].dim
        factors = [c.factor for c in covariances if c.factor is not None]
        if not factors:
            return cls(dim, ())
        both = torch.cat(factors, 1)
        diagonals = [c.diagonal for c in covariances if c.diagonal.ndim]
        if not diagonals:
            return cls(dim, ((torch.arange(dim, device=both.device), torch.linalg.qr(both).Q),))
        values, piece = torch.unique(torch.stack(diagonals, 1), dim=0, return_inverse=True)
        if len(values) > PIECES:
            return None
        numbers = [(piece == i).nonzero()[:, 0] for i in range(len(values))]
        return cls(dim, tuple((i, torch.linalg.qr(both[i]).Q) for i in numbers))

    @classmethod
    def whole(cls, dim: int, device: torch.device | str = "cpu") -> Self:
        """Return the span of everything, Q = I."""
        return cls(dim, ((torch.arange(dim, device=device), torch.eye(dim, dtype=torch.float64, device=device)),))

    @property
    def rank(self) -> int:
        """R."""
        return sum(basis.shape[1] for _, basis in self.pieces)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is outside."""
        return self.rank == self.dim

    def into(self, v: Tensor) -> Tensor:
        """Return ``v Q`` of rows v (..., D), shape (..., R)."""
        return torch.cat([v[..., :0], *(v[..., i] @ basis for i, basis in self.pieces)], -1)

    def out(self, x: Tensor) -> Tensor:
        """Return ``x Q^T`` of rows x (..., R), shape (..., D)."""
        found = x.new_zeros(*x.shape[:-1], self.dim)
        parts = x.split([basis.shape[1] for _, basis in self.pieces], -1)
        for part, (i, basis) in zip(parts, self.pieces, strict=True):
            found[..., i] = part @ basis.T
        return found

    def columns(self, diagonal: Tensor) -> Tensor:
        """Return d of each column's piece, shape (R,), of a diagonal () or (D,) that is constant on each."""
        full = diagonal.expand(self.dim)
        parts = [full[i[0]].expand(basis.shape[1]) for i, basis in self.pieces]
        return torch.cat([full[:0], *parts])

    def inside(self, covariance: Covariance) -> Tensor:
        """Return ``Q^T Sigma Q``, shape (R, R)."""
        if self.is_whole or not isinstance(covariance, DiagonalPlusLowRank):
            matrix = self.into(self.into(covariance.dense().matrix).T)
            return (matrix + matrix.T) / 2
        matrix = torch.diag(self.columns(covariance.diagonal))
        if covariance.factor is None:
            return matrix
        low = self.into(covariance.factor.T)
        return matrix + low.T @ low

    def outside(self, covariance: Covariance) -> Tensor:
        """Return the diagonal of Sigma outside the span, shape () or (D,); 1 where nothing is outside."""
        if self.is_whole or not isinstance(covariance, DiagonalPlusLowRank):
            return covariance.variances().new_ones(())
        return covariance.diagonal

    def diagonal(self, matrix: Tensor) -> Tensor:
        """Return the diagonal of ``Q matrix Q^T``, shape (D,), of a block of columns after the other."""
        found, first = matrix.new_zeros(self.dim), 0
        for i, basis in self.pieces:
            last = first + basis.shape[1]
            found[i] = ((basis @ matrix[first:last, first:last]) * basis).sum(1)
            first = last
        return found


@dataclass(frozen=True, eq=False)
class SpanCovariance(Covariance):
    """``diag(d) + Q (S - diag(Q^T d Q)) Q^T``: S inside a span, d outside.

    Attributes:
        span: Q, with d constant on each of its pieces.
        outside: d, positive, shape () or (D,), double.
        matrix: S, positive definite, shape (R, R), double.
    """

    span: Span
    outside: Tensor
    matrix: Tensor

    @property
    def dim(self) -> int:  # type: ignore[override]
        """D."""
        return self.span.dim

    def variances(self) -> Tensor:
        """Return the diagonal of the matrix, shape (D,)."""
        return self.outside.expand(self.dim) + self.span.diagonal(self._change(self.matrix, self.outside))

    def dense(self) -> FullCovariance:
        """Return the same matrix written out."""
        if self.dim > DENSE_LIMIT:
            raise ValueError(f"Expected D of at most {DENSE_LIMIT} for a full covariance; got {self.dim}.")
        matrix = self.matvec(torch.eye(self.dim, dtype=self.matrix.dtype, device=self.matrix.device))
        return FullCovariance((matrix + matrix.T) / 2)

    def matvec(self, v: Tensor) -> Tensor:
        """Return the matrix times each row of v, shape (..., D)."""
        return self._times(v, self.matrix, self.outside)

    def solve(self, v: Tensor) -> Tensor:
        """Return the inverse of the matrix times each row of v, shape (..., D)."""
        return self._times(v, torch.cholesky_inverse(torch.linalg.cholesky(self.matrix)), 1 / self.outside)

    def scaled(self, k: float) -> SpanCovariance:
        """Return k times the matrix, k > 0."""
        return SpanCovariance(self.span, self.outside * k, self.matrix * k)

    def condition(self, noise: Covariance, count: int) -> Covariance:
        """Return Sigma_p, written out."""
        return self.dense().condition(noise, count)

    def colour(self, normal: Tensor, low: Tensor | None) -> Tensor:
        """Colour standard-normal draws, (n, D), to samples of N(0, self), (n, D)."""
        return self._times(normal, root(self.matrix), self.outside.sqrt())

    def distribution(self, mean: Tensor) -> Distribution:
        """Return N(mean, self) as a distribution of torch."""
        return SpanNormal(mean, self)

    def multivariate_normal(self, mean: Tensor) -> Distribution:
        """Return N(mean, self), written out."""
        return MultivariateNormal(mean, self.dense().matrix, validate_args=False)

    def log_det(self) -> Tensor:
        """Return ``log |Sigma|``, shape ()."""
        outside = self.outside.expand(self.dim).log().sum() - self.span.columns(self.outside).log().sum()
        return outside + 2 * torch.linalg.cholesky(self.matrix).diagonal().log().sum()

    def _change(self, matrix: Tensor, outside: Tensor) -> Tensor:
        return matrix - torch.diag(self.span.columns(outside))

    def _times(self, v: Tensor, matrix: Tensor, outside: Tensor) -> Tensor:
        """Rows v times a matrix inside and a diagonal outside, all symmetric."""
        return outside * v + self.span.out(self.span.into(v) @ self._change(matrix, outside))


class SpanNormal(Distribution):
    """N(mean, covariance) of a `SpanCovariance`, for its density."""

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  # as torch has it

    def __init__(self, mean: Tensor, covariance: SpanCovariance) -> None:
        super().__init__(event_shape=mean.shape, validate_args=False)
        self.location, self.covariance = mean, covariance

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of rows (n, D) in nats, shape (n,)."""
        gap = value - self.location
        square = (gap * self.covariance.solve(gap)).sum(-1)
        return -0.5 * (square + self.covariance.log_det() + len(self.location) * math.log(2 * math.pi))


@register_kl(SpanNormal, SpanNormal)  # type: ignore[untyped-decorator]
def _kl(p: SpanNormal, q: SpanNormal) -> Tensor:
    """Of both written out, for small D."""
    return kl_divergence(p.covariance.multivariate_normal(p.location), q.covariance.multivariate_normal(q.location))


def root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of a positive matrix; what rounding made negative counts as 0."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
