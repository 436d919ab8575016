"""The inverse of a diagonal plus a matrix of low rank, by a matrix of that rank.

    (diag(d) + U U^T)^-1 = diag(1/d) - diag(1/d) U C^-1 U^T diag(1/d),   C = I + U^T diag(1/d) U,

with U of shape (D, r) and C of shape (r, r). With C = L L^T this is diag(1/d) - W W^T, W = diag(1/d) U L^-T. Nothing
of size D x D is built.

Reference: Woodbury 1950, *Inverting modified matrices*.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Woodbury:
    """The inverse of ``A = diag(d) + U U^T``, by the Cholesky factor of a matrix of U's r columns; in double.

    Attributes:
        diagonal: d, shape () or (D,).
        factor: U, shape (D, r).
        chol: L of ``C = L L^T = I + U^T diag(1/d) U``, shape (r, r).
    """

    diagonal: Tensor
    factor: Tensor
    chol: Tensor

    @classmethod
    def of(cls, diagonal: Tensor, factor: Tensor, gram: Tensor | None = None) -> Woodbury:
        """Return the inverse of ``diag(d) + U U^T``; of a number d, ``U^T U`` may be given as gram, (r, r)."""
        if gram is None:
            capacitance = factor.T @ (factor / (diagonal if diagonal.ndim == 0 else diagonal[:, None]))
        else:
            capacitance = gram / diagonal
        capacitance.diagonal().add_(1)
        return cls(diagonal, factor, torch.linalg.cholesky(capacitance))

    def solve(self, v: Tensor) -> Tensor:
        """Return ``A^-1`` times each row of v, shape (..., D), in v's dtype."""
        rows = v.reshape(-1, v.shape[-1])
        return ((rows - self.factor_times(rows).T @ self.factor.T) / self.diagonal).to(v).reshape(v.shape)

    def factor_times(self, v: Tensor) -> Tensor:
        """Return ``U^T A^-1 v^T = C^-1 U^T diag(1/d) v^T`` of rows v (n, D), shape (r, n)."""
        return torch.cholesky_solve(self.factor.T @ (v.double() / self.diagonal).T, self.chol)

    def factor_blocks(self, columns: Tensor) -> Tensor:
        """Return ``U_i^T A^-1 U_i`` of columns i = (b, k) of U, shape (b, k, k): blocks of ``I - C^-1``."""
        inverse = torch.cholesky_inverse(self.chol)
        eye = torch.eye(columns.shape[1], dtype=inverse.dtype, device=inverse.device)
        return eye - inverse[columns[:, :, None], columns[:, None, :]]

    def whitened_factor(self) -> Tensor:
        """Return W, shape (D, r), with ``A^-1 = diag(1/d) - W W^T``."""
        scaled = self.factor / (self.diagonal if self.diagonal.ndim == 0 else self.diagonal[:, None])
        return torch.linalg.solve_triangular(self.chol, scaled.T, upper=False).T
