"""Latents of a Gaussian with a diagonal and a low-rank part made standard normal, without a matrix of size D x D.

    N(m, S (I + V V^T) S),  S = diag s:   eps = (I + V V^T)^(-1/2) (z - m) / s,
    log |det deps/dz| = - sum log s - log |I + V V^T| / 2.

With V V^T = Q diag(t^2 - 1) Q^T, Q of orthogonal columns, (I + V V^T)^(1/2) = I + Q diag(t - 1) Q^T.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.adapters.whiten import Diagonal


@dataclass(frozen=True)
class LowRank:
    """N(m, S (I + V V^T) S), S = diag s, made standard normal by the symmetric root.

    Attributes:
        mean: m, (D,), double.
        deviation: s, (D,), double.
        directions: Q, (D, r), double.
        stretch: t, (r,), double, more than 1.
    """

    mean: Tensor
    deviation: Tensor
    directions: Tensor
    stretch: Tensor

    note = ""

    @classmethod
    def of(cls, mean: Tensor, diagonal: Tensor, factor: Tensor) -> LowRank:
        """Return N(m, diag(d) + U U^T) of m (D,), d (D,) and U (D, r)."""
        deviation = diagonal.double().sqrt()
        directions, singular, _ = torch.linalg.svd(factor.double() / deviation[:, None], full_matrices=False)
        return cls(mean.double(), deviation, directions, (1 + singular.square()).sqrt())

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def standardise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the whitened latents, and their log-determinant."""
        y = (z.double() - self.mean) / self.deviation
        log_det = -self.deviation.log().sum() - self.stretch.log().sum()
        return y + (y @ self.directions * (1 / self.stretch - 1)) @ self.directions.T, log_det.expand(len(z))

    def restore(self, eps: Tensor) -> Tensor:
        """Return m + S (I + V V^T)^(1/2) eps."""
        eps = eps.double()
        y = eps + (eps @ self.directions * (self.stretch - 1)) @ self.directions.T
        return self.mean + self.deviation * y

    def variance(self, variance: Tensor) -> Tensor:
        """Return the variances (B, D) of eps, of independent variances (B, D) of z."""
        y = variance.double() / self.deviation.square()
        root = (self.directions * (1 / self.stretch - 1)) @ self.directions.T
        return y * (1 + 2 * root.diagonal()) + y @ root.square()


def gaussian_base(mean: Tensor, diagonal: Tensor, factor: Tensor | None) -> Diagonal | LowRank:
    """Return the base N(m, diag(d) + U U^T) of m (D,), d (D,) and U (D, r), or None for a diagonal."""
    return Diagonal.of(mean, diagonal.log() / 2) if factor is None else LowRank.of(mean, diagonal, factor)
