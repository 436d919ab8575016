"""The scatter of latents about their mean, S = sum_i (zeta_i - zeta_bar)(zeta_i - zeta_bar)^T, by its structure.

`DiagonalScatter` keeps the diagonal of S, for large D; `FullScatter` the whole matrix. Statistics of two sets merge by

    S = S_1 + S_2 + w delta delta^T,

so a structure needs addition, subtraction and this update of rank one. Without the entries off the diagonal,
tr(Sigma^-1 S) is known for a diagonal Sigma alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from transflow.gaussians.covariance import Covariance


class Scatter(ABC):
    """A scatter matrix of size D x D.

    Attributes:
        structure: its name in messages.
        tensor: the numbers that are kept, in double.
    """

    structure: ClassVar[str]
    tensor: Tensor

    @classmethod
    @abstractmethod
    def zeros(cls, dim: int, device: torch.device | str = "cpu") -> Self:
        """Return the scatter of no latent of D = dim numbers."""

    @classmethod
    @abstractmethod
    def of(cls, centred: Tensor) -> Self:
        """Return the scatter of latents minus their mean, shape (m, D), double."""

    @abstractmethod
    def diagonal(self) -> Tensor:
        """Return the diagonal of S, shape (D,)."""

    @abstractmethod
    def plus(self, other: Self, weight: float, delta: Tensor) -> Self:
        """Return ``S + S_other + weight delta delta^T``, delta of shape (D,)."""

    @abstractmethod
    def minus(self, other: Self, weight: float, delta: Tensor) -> Self:
        """Return ``S - S_other - weight delta delta^T``, delta of shape (D,)."""

    @abstractmethod
    def clipped(self) -> Self:
        """Return S without what rounding made negative, where the structure shows it."""

    @abstractmethod
    def solved_trace(self, covariance: Covariance) -> Tensor:
        """Return ``tr(Sigma^-1 S)``, shape ().

        Raises:
            ValueError: Sigma has entries off the diagonal and S does not.
        """


@dataclass(frozen=True, eq=False)
class DiagonalScatter(Scatter):
    """The diagonal of S.

    Attributes:
        tensor: sums of squared deviations, shape (D,), double.
    """

    tensor: Tensor
    structure = "diagonal"

    @classmethod
    def zeros(cls, dim: int, device: torch.device | str = "cpu") -> Self:
        """Return the scatter of no latent of D = dim numbers."""
        return cls(torch.zeros(dim, dtype=torch.float64, device=device))

    @classmethod
    def of(cls, centred: Tensor) -> Self:
        """Return the scatter of latents minus their mean, shape (m, D), double."""
        return cls(centred.square().sum(0))

    def diagonal(self) -> Tensor:
        """Return the diagonal of S, shape (D,)."""
        return self.tensor

    def plus(self, other: Self, weight: float, delta: Tensor) -> Self:
        """Return the diagonal of ``S + S_other + weight delta delta^T``, delta of shape (D,)."""
        return type(self)(self.tensor + other.tensor + weight * delta.square())

    def minus(self, other: Self, weight: float, delta: Tensor) -> Self:
        """Return the diagonal of ``S - S_other - weight delta delta^T``, delta of shape (D,)."""
        return type(self)(self.tensor - other.tensor - weight * delta.square())

    def clipped(self) -> Self:
        """Return S with negative entries set to 0."""
        return type(self)(self.tensor.clamp(min=0))

    def solved_trace(self, covariance: Covariance) -> Tensor:
        """Return ``tr(Sigma^-1 S)`` for a diagonal Sigma, shape ()."""
        if not covariance.is_diagonal:
            raise ValueError(
                "Expected evidence with its full scatter for a noise with off-diagonal entries; "
                "got the diagonal. Use Evidence.of(latents, full=True)."
            )
        return (self.tensor / covariance.variances()).sum()


@dataclass(frozen=True, eq=False)
class FullScatter(Scatter):
    """The whole matrix S.

    Attributes:
        tensor: S, shape (D, D), double.
    """

    tensor: Tensor
    structure = "full"

    @classmethod
    def zeros(cls, dim: int, device: torch.device | str = "cpu") -> Self:
        """Return the scatter of no latent of D = dim numbers."""
        return cls(torch.zeros(dim, dim, dtype=torch.float64, device=device))

    @classmethod
    def of(cls, centred: Tensor) -> Self:
        """Return the scatter of latents minus their mean, shape (m, D), double."""
        return cls(centred.T @ centred)

    def diagonal(self) -> Tensor:
        """Return the diagonal of S, shape (D,)."""
        return self.tensor.diagonal()

    def plus(self, other: Self, weight: float, delta: Tensor) -> Self:
        """Return ``S + S_other + weight delta delta^T``, delta of shape (D,)."""
        return type(self)(self.tensor + other.tensor + weight * torch.outer(delta, delta))

    def minus(self, other: Self, weight: float, delta: Tensor) -> Self:
        """Return ``S - S_other - weight delta delta^T``, delta of shape (D,)."""
        return type(self)(self.tensor - other.tensor - weight * torch.outer(delta, delta))

    def clipped(self) -> Self:
        """Return S; where rounding made an entry of its diagonal negative, its nearest of no negative eigenvalue."""
        if (self.tensor.diagonal() >= 0).all():
            return self
        values, directions = torch.linalg.eigh((self.tensor + self.tensor.T) / 2)
        return type(self)((directions * values.clamp(min=0)) @ directions.T)

    def solved_trace(self, covariance: Covariance) -> Tensor:
        """Return ``tr(Sigma^-1 S)``, shape ()."""
        return covariance.solve(self.tensor).trace()


def as_scatter(tensor: Tensor) -> Scatter:
    """Return the scatter that a tensor of shape (D,) or (D, D) holds."""
    return FullScatter(tensor) if tensor.ndim == 2 else DiagonalScatter(tensor)


def structure(full: bool) -> type[Scatter]:
    """Return the class that keeps the whole matrix, or its diagonal alone."""
    return FullScatter if full else DiagonalScatter
