"""Covariance matrices by their structure, so that none of size D x D is built for large D.

Two forms, closed under everything inference asks of them (Woodbury 1950):

    Structured:  diag(d) + U U^T,   d a number or (D,), U of shape (D, r), r small or 0
    Dense:       any positive definite matrix, for small D

`condition_covariance` gives the precision-weighted mean's covariance, equation (3):
with Sigma_0 = D_0 + U_0 U_0^T and Sigma = D + U U^T,

    Sigma_0^-1 + m Sigma^-1 = Q^-1 - W W^T,   Q = (D_0^-1 + m D^-1)^-1,
    Sigma_p = Q + (Q W R)(Q W R)^T,           R R^T = (I - W^T Q W)^-1,

which is again diagonal plus low rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Union

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, LowRankMultivariateNormal, MultivariateNormal, Normal

DENSE_LIMIT = 8192  # a dense matrix of this side takes 512 MB in double


@dataclass(frozen=True)
class DiagonalPlusLowRank:
    """``diag(diagonal) + factor factor^T`` of size D x D.

    Attributes:
        dim: D.
        diagonal: positive; shape () for a multiple of the identity, else (D,). Double.
        factor: U, shape (D, r), or None where there is no low-rank part. Double.
    """

    dim: int
    diagonal: Tensor
    factor: Tensor | None = None

    def __post_init__(self) -> None:
        if self.diagonal.shape not in ((), (self.dim,)):
            raise ValueError(f"Expected a diagonal of shape () or ({self.dim},); got {tuple(self.diagonal.shape)}.")
        if self.factor is not None and (self.factor.ndim != 2 or len(self.factor) != self.dim):
            raise ValueError(f"Expected a factor of shape ({self.dim}, r); got {tuple(self.factor.shape)}.")
        if not (self.diagonal > 0).all() or not torch.isfinite(self.diagonal).all():
            raise ValueError("Expected a covariance with a positive, finite diagonal; got one that is not.")

    @property
    def is_scalar(self) -> bool:
        """Whether this is a multiple of the identity."""
        return self.diagonal.ndim == 0 and self.factor is None

    def variances(self) -> Tensor:
        """Return the diagonal of the matrix, shape (D,)."""
        diagonal = self.diagonal.expand(self.dim)
        return diagonal if self.factor is None else diagonal + self.factor.square().sum(1)

    def trace(self) -> Tensor:
        """Return the sum of the variances, shape ()."""
        return self.variances().sum()

    def dense(self) -> FullCovariance:
        """Return the same matrix written out."""
        if self.dim > DENSE_LIMIT:
            raise ValueError(f"Expected D of at most {DENSE_LIMIT} for a full covariance; got {self.dim}.")
        matrix = torch.diag(self.diagonal.expand(self.dim))
        return FullCovariance(matrix if self.factor is None else matrix + self.factor @ self.factor.T)

    def matvec(self, v: Tensor) -> Tensor:
        """Return the matrix times each row of v, shape (..., D)."""
        product = self.diagonal * v
        return product if self.factor is None else product + (v @ self.factor) @ self.factor.T

    def solve(self, v: Tensor) -> Tensor:
        """Return the inverse of the matrix times each row of v, shape (..., D)."""
        scaled = v / self.diagonal
        if self.factor is None:
            return scaled
        w = self.whitened_factor()
        return scaled - (v @ w) @ w.T

    def scaled(self, k: float) -> DiagonalPlusLowRank:
        """Return k times the matrix, k > 0."""
        return DiagonalPlusLowRank(
            self.dim, self.diagonal * k, None if self.factor is None else self.factor * math.sqrt(k)
        )

    def colour(self, normal: Tensor, low: Tensor | None) -> Tensor:
        """Colour standard-normal draws: normal (n, D) and low (n, r) to samples of N(0, self), (n, D)."""
        out = normal * self.diagonal.sqrt()
        return out if self.factor is None or low is None else out + low @ self.factor.T

    @property
    def rank(self) -> int:
        """r, the columns of the low-rank part."""
        return 0 if self.factor is None else self.factor.shape[1]

    def distribution(self, mean: Tensor) -> Distribution:
        """Return N(mean, self) as torch.distributions has it."""
        if self.factor is None:
            return Independent(Normal(mean, self.diagonal.sqrt().expand(self.dim), validate_args=False), 1)
        return LowRankMultivariateNormal(mean, self.factor, self.diagonal.expand(self.dim), validate_args=False)

    def whitened_factor(self) -> Tensor:
        """Return W, shape (D, r), with ``inverse = diag(1/d) - W W^T`` (Woodbury)."""
        assert self.factor is not None
        scaled = self.factor / (self.diagonal if self.diagonal.ndim == 0 else self.diagonal[:, None])
        capacitance = self.factor.T @ scaled
        chol = torch.linalg.cholesky(capacitance + torch.eye(self.rank, dtype=scaled.dtype, device=scaled.device))
        return torch.linalg.solve_triangular(chol, scaled.T, upper=False).T


@dataclass(frozen=True)
class FullCovariance:
    """A positive definite D x D matrix, in double, for small D."""

    matrix: Tensor

    factor = None
    is_scalar = False
    rank = 0

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.shape[0] != self.matrix.shape[1]:
            raise ValueError(f"Expected a square covariance; got {tuple(self.matrix.shape)}.")
        if torch.linalg.cholesky_ex(self.matrix).info != 0:
            raise ValueError("Expected a positive definite covariance; got one that is not.")

    @property
    def dim(self) -> int:
        """D."""
        return len(self.matrix)

    def variances(self) -> Tensor:
        """Return the diagonal of the matrix, shape (D,)."""
        return self.matrix.diagonal()

    def trace(self) -> Tensor:
        """Return the sum of the variances, shape ()."""
        return self.matrix.trace()

    def dense(self) -> FullCovariance:
        """Return itself."""
        return self

    def matvec(self, v: Tensor) -> Tensor:
        """Return the matrix times each row of v, shape (..., D)."""
        return v @ self.matrix

    def solve(self, v: Tensor) -> Tensor:
        """Return the inverse of the matrix times each row of v, shape (..., D)."""
        rows = v.reshape(-1, self.dim)
        return torch.cholesky_solve(rows.T, torch.linalg.cholesky(self.matrix)).T.reshape(v.shape)

    def scaled(self, k: float) -> FullCovariance:
        """Return k times the matrix, k > 0."""
        return FullCovariance(self.matrix * k)

    def colour(self, normal: Tensor, low: Tensor | None) -> Tensor:
        """Colour standard-normal draws, (n, D), to samples of N(0, self), (n, D)."""
        return normal @ torch.linalg.cholesky(self.matrix).T

    def distribution(self, mean: Tensor) -> Distribution:
        """Return N(mean, self) as torch.distributions has it."""
        return MultivariateNormal(mean, self.matrix, validate_args=False)


Covariance = Union[DiagonalPlusLowRank, FullCovariance]


def as_covariance(
    value: float | Tensor | Covariance,
    dim: int,
    factor: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Covariance:
    """Return a covariance of size D x D from what says it.

    Args:
        value: a number lambda for ``lambda I``; shape (D,) for a diagonal; (D, D) for a full matrix.
        dim: D.
        factor: U, shape (D, r), to add ``U U^T`` to a number or a diagonal.
        device: where a number is put; a tensor stays where it is.
    """
    if isinstance(value, (DiagonalPlusLowRank, FullCovariance)):
        if value.dim != dim:
            raise ValueError(f"Expected a covariance of D = {dim}; got D = {value.dim}.")
        return value
    if isinstance(value, str):
        raise ValueError(f'Expected a covariance as a number or a tensor; got "{value}", which model.condition takes.')
    tensor = value.double() if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.float64, device=device)
    if tensor.ndim == 2:
        if tensor.shape != (dim, dim) or factor is not None:
            raise ValueError(f"Expected a full covariance of shape ({dim}, {dim}) alone; got {tuple(tensor.shape)}.")
        return FullCovariance(tensor)
    return DiagonalPlusLowRank(dim, tensor, None if factor is None else factor.double())


def add(a: Covariance, b: Covariance, weight_a: float = 1.0, weight_b: float = 1.0) -> Covariance:
    """Return ``weight_a a + weight_b b``; a weight of 0 drops its term."""
    if weight_b == 0:
        return a.scaled(weight_a)
    if weight_a == 0:
        return b.scaled(weight_b)
    a, b = a.scaled(weight_a), b.scaled(weight_b)
    if isinstance(a, DiagonalPlusLowRank) and isinstance(b, DiagonalPlusLowRank):
        factors = [c.factor for c in (a, b) if c.factor is not None]
        return DiagonalPlusLowRank(a.dim, a.diagonal + b.diagonal, torch.cat(factors, 1) if factors else None)
    return FullCovariance(a.dense().matrix + b.dense().matrix)


def condition_covariance(prior: Covariance, noise: Covariance, count: int) -> Covariance:
    """Return ``Sigma_p = (Sigma_0^-1 + m Sigma^-1)^-1``, equation (3), for m = count >= 1."""
    if isinstance(prior, DiagonalPlusLowRank) and isinstance(noise, DiagonalPlusLowRank):
        q = 1 / (1 / prior.diagonal + count / noise.diagonal)
        if not prior.rank and not noise.rank:
            return DiagonalPlusLowRank(prior.dim, q)
        w = torch.cat([c.whitened_factor() * math.sqrt(k) for c, k in ((prior, 1), (noise, count)) if c.rank], 1)
        qw = w * (q if q.ndim == 0 else q[:, None])
        gap = torch.eye(w.shape[1], dtype=w.dtype, device=w.device) - w.T @ qw
        del w  # as large as all the evidence
        # Sigma_p is positive definite, so gap is; R = L^-T of its Cholesky factor L.
        chol = torch.linalg.cholesky(gap)
        return DiagonalPlusLowRank(prior.dim, q, torch.linalg.solve_triangular(chol, qw.T, upper=False).T)
    # Sigma_p = Sigma_0 (Sigma_0 + Sigma/m)^-1 Sigma/m needs one inverse of a well-conditioned sum.
    p0, n0 = prior.dense().matrix, noise.dense().matrix / count
    matrix = p0 @ torch.linalg.solve(p0 + n0, n0)
    return FullCovariance((matrix + matrix.T) / 2)
