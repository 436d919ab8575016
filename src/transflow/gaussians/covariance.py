"""Covariance matrices by their structure, so that none of size D x D is built for large D.

Two forms, closed under everything inference asks of them:

    DiagonalPlusLowRank:  diag(d) + U U^T,   d a number or (D,), U of shape (D, r), r small or 0
    FullCovariance:       any positive definite matrix, for small D

`condition` gives the precision-weighted mean's covariance, equation (3): with Sigma_0 = D_0 + U_0 U_0^T and
Sigma = D + U U^T, and inverses by the Woodbury identity,

    Sigma_0^-1 + m Sigma^-1 = Q^-1 - W W^T,   Q = (D_0^-1 + m D^-1)^-1,
    Sigma_p = Q + (Q W R)(Q W R)^T,           R R^T = (I - W^T Q W)^-1,

which is again diagonal plus low rank.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, LowRankMultivariateNormal, MultivariateNormal, Normal

from transflow.gaussians.woodbury import Woodbury

SYMMETRIC = 1e-8  # by how much a matrix may differ from its transpose, relative to its largest entry
DENSE_LIMIT = 8192  # a dense matrix of this side takes 512 MB in double


class Covariance(ABC):
    """A positive definite matrix of size D x D, in double.

    Attributes:
        dim: D.
    """

    dim: int

    @property
    def rank(self) -> int:
        """r, the standard-normal numbers that `colour` needs beside D."""
        return 0

    @property
    def is_diagonal(self) -> bool:
        """Whether the structure has no entries off the diagonal."""
        return False

    @property
    def is_identity(self) -> bool:
        """Whether the structure shows this to be I; D x D entries are not read for it."""
        return False

    @abstractmethod
    def variances(self) -> Tensor:
        """Return the diagonal of the matrix, shape (D,)."""

    def trace(self) -> Tensor:
        """Return the sum of the variances, shape ()."""
        return self.variances().sum()

    @abstractmethod
    def dense(self) -> FullCovariance:
        """Return the same matrix written out."""

    @abstractmethod
    def matvec(self, v: Tensor) -> Tensor:
        """Return the matrix times each row of v, shape (..., D)."""

    @abstractmethod
    def solve(self, v: Tensor) -> Tensor:
        """Return the inverse of the matrix times each row of v, shape (..., D)."""

    @abstractmethod
    def scaled(self, k: float) -> Self:
        """Return k times the matrix, k > 0."""

    def __add__(self, other: Covariance) -> Covariance:
        return FullCovariance(self.dense().matrix + other.dense().matrix)

    @abstractmethod
    def condition(self, noise: Covariance, count: int) -> Covariance:
        """Return ``Sigma_p = (Sigma_0^-1 + m Sigma^-1)^-1``, equation (3), of this Sigma_0, for m = count >= 1."""

    @abstractmethod
    def colour(self, normal: Tensor, low: Tensor | None) -> Tensor:
        """Colour standard-normal draws: normal (n, D) and low (n, r) to samples of N(0, self), (n, D)."""

    @abstractmethod
    def distribution(self, mean: Tensor) -> Distribution:
        """Return N(mean, self) as a distribution of torch."""

    def multivariate_normal(self, mean: Tensor) -> Distribution:
        """Return N(mean, self) in a form that torch has the KL divergence between any two of."""
        return self.distribution(mean)


@dataclass(frozen=True, eq=False)
class DiagonalPlusLowRank(Covariance):
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
        if self.factor is not None and not self.factor.isfinite().all():
            raise ValueError("Expected a covariance with a finite factor; got NaN or infinity.")

    @property
    def rank(self) -> int:
        """r, the columns of the low-rank part."""
        return 0 if self.factor is None else self.factor.shape[1]

    @property
    def is_diagonal(self) -> bool:
        """Whether there is no low-rank part."""
        return self.factor is None

    @property
    def is_identity(self) -> bool:
        """Whether this is the number 1 times I."""
        return self.factor is None and self.diagonal.ndim == 0 and self.diagonal.item() == 1

    def variances(self) -> Tensor:
        """Return the diagonal of the matrix, shape (D,)."""
        diagonal = self.diagonal.expand(self.dim)
        return diagonal if self.factor is None else diagonal + self.factor.square().sum(1)

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
        return v / self.diagonal if self.factor is None else Woodbury.of(self.diagonal, self.factor).solve(v)

    def scaled(self, k: float) -> DiagonalPlusLowRank:
        """Return k times the matrix, k > 0."""
        factor = None if self.factor is None else self.factor * math.sqrt(k)
        return DiagonalPlusLowRank(self.dim, self.diagonal * k, factor)

    def __add__(self, other: Covariance) -> Covariance:
        if not isinstance(other, DiagonalPlusLowRank):
            return super().__add__(other)
        factors = [c.factor for c in (self, other) if c.factor is not None]
        return DiagonalPlusLowRank(self.dim, self.diagonal + other.diagonal, torch.cat(factors, 1) if factors else None)

    def condition(self, noise: Covariance, count: int) -> Covariance:
        """Return Sigma_p, of the same structure where the noise has it."""
        if not isinstance(noise, DiagonalPlusLowRank):
            return self.dense().condition(noise, count)
        q = 1 / (1 / self.diagonal + count / noise.diagonal)
        whitened = [
            Woodbury.of(c.diagonal, c.factor).whitened_factor() * math.sqrt(k)
            for c, k in ((self, 1), (noise, count))
            if c.factor is not None
        ]
        if not whitened:
            return DiagonalPlusLowRank(self.dim, q)
        w = torch.cat(whitened, 1)
        qw = w * (q if q.ndim == 0 else q[:, None])
        gap = torch.eye(w.shape[1], dtype=w.dtype, device=w.device) - w.T @ qw
        del w, whitened  # as large as all the evidence
        # Sigma_p is positive definite, so gap is; R = L^-T of its Cholesky factor L.
        chol = torch.linalg.cholesky(gap)
        return DiagonalPlusLowRank(self.dim, q, torch.linalg.solve_triangular(chol, qw.T, upper=False).T)

    def colour(self, normal: Tensor, low: Tensor | None) -> Tensor:
        """Colour standard-normal draws: normal (n, D) and low (n, r) to samples of N(0, self), (n, D)."""
        out = normal * self.diagonal.sqrt()
        return out if self.factor is None or low is None else out + low @ self.factor.T

    def distribution(self, mean: Tensor) -> Distribution:
        """Return N(mean, self) as a distribution of torch."""
        if self.factor is None:
            return Independent(Normal(mean, self.diagonal.sqrt().expand(self.dim), validate_args=False), 1)
        return self.multivariate_normal(mean)

    def multivariate_normal(self, mean: Tensor) -> Distribution:
        """Return N(mean, self) with a low-rank part, of zeros if need be."""
        factor = mean.new_zeros(self.dim, 1) if self.factor is None else self.factor
        return LowRankMultivariateNormal(mean, factor, self.diagonal.expand(self.dim), validate_args=False)


@dataclass(frozen=True, eq=False)
class FullCovariance(Covariance):
    """A positive definite D x D matrix, in double, for small D."""

    matrix: Tensor

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.shape[0] != self.matrix.shape[1]:
            raise ValueError(f"Expected a square covariance; got {tuple(self.matrix.shape)}.")
        m = self.matrix
        if not m.isfinite().all() or ((m - m.T).abs() > SYMMETRIC * m.abs().amax()).any():
            raise ValueError("Expected a symmetric, finite covariance; got one that is not.")
        if torch.linalg.cholesky_ex(self.matrix).info != 0:
            raise ValueError("Expected a positive definite covariance; got one that is not.")

    @property
    def dim(self) -> int:  # type: ignore[override]
        """D."""
        return len(self.matrix)

    def variances(self) -> Tensor:
        """Return the diagonal of the matrix, shape (D,)."""
        return self.matrix.diagonal()

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

    def condition(self, noise: Covariance, count: int) -> FullCovariance:
        """Return Sigma_p as ``Sigma_0 (Sigma_0 + Sigma/m)^-1 Sigma/m``: one inverse, of a well-conditioned sum."""
        share = noise.dense().matrix / count
        matrix = self.matrix @ torch.linalg.solve(self.matrix + share, share)
        return FullCovariance((matrix + matrix.T) / 2)

    def colour(self, normal: Tensor, low: Tensor | None) -> Tensor:
        """Colour standard-normal draws, (n, D), to samples of N(0, self), (n, D)."""
        return normal @ torch.linalg.cholesky(self.matrix).T

    def distribution(self, mean: Tensor) -> Distribution:
        """Return N(mean, self) as a distribution of torch."""
        return MultivariateNormal(mean, self.matrix, validate_args=False)


def as_covariance(
    value: float | Tensor | Covariance,
    dim: int,
    factor: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Covariance:
    """Return a covariance of size D x D from a number or a tensor.

    Args:
        value: a number lambda for ``lambda I``; shape (D,) for a diagonal; (D, D) for a full matrix.
        dim: D.
        factor: U, shape (D, r), to add ``U U^T`` to a number or a diagonal.
        device: where a number is put; a tensor stays where it is.
    """
    if isinstance(value, Covariance):
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


def weighted_sum(a: Covariance, b: Covariance, weight_a: float = 1.0, weight_b: float = 1.0) -> Covariance:
    """Return ``weight_a a + weight_b b``; a weight of 0 drops its term."""
    if weight_b == 0:
        return a.scaled(weight_a)
    if weight_a == 0:
        return b.scaled(weight_b)
    return a.scaled(weight_a) + b.scaled(weight_b)
