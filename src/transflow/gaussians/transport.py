"""The optimal transport map from one Gaussian to another, and the straight way there.

    T(z) = mu_b + A (z - mu_a),   A = Sigma_a^(-1/2) (Sigma_a^(1/2) Sigma_b Sigma_a^(1/2))^(1/2) Sigma_a^(-1/2)

is the map that takes N(mu_a, Sigma_a) to N(mu_b, Sigma_b) and moves points as little as can be, in mean square. A share
t of the way, ``z_t = (1 - t) z + t T(z)``, they are N((1-t) mu_a + t mu_b, A_t Sigma_a A_t), A_t = (1-t) I + t A. From
N(0, I) to N(s zeta_bar, (1-s) I) it is ``T(z) = s zeta_bar + sqrt(1 - s) z``.

Of covariances a I + U_a U_a^T and b I + U_b U_b^T, A is sqrt(b / a) outside the span of (U_a, U_b) and the formula
above, of the span's few dimensions, inside.

Reference: Peyré and Cuturi 2019, *Computational Optimal Transport*, arXiv 1803.00567, remark 2.31.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.gaussians.covariance import Covariance, DiagonalPlusLowRank
from transflow.gaussians.gaussian import Gaussian

INDEPENDENT = 1e-10  # a direction of smaller variance, beside the largest of the span, is rounding


@dataclass(frozen=True, eq=False)
class Transport:
    """``T(z) = mu_b + A (z - mu_a)``, with ``A = diag(scale) + basis inner basis^T``, in double.

    Attributes:
        start: mu_a, shape (D,).
        end: mu_b, shape (D,).
        scale: shape () or (D,).
        basis: orthonormal columns, shape (D, r), or None where A is diagonal.
        inner: symmetric, shape (r, r), or None.

    >>> a, b = Gaussian.standard(2), Gaussian.of(torch.ones(2), 4.0)
    >>> transport(a, b).move(torch.tensor([[0.0, 3.0]]), 1.0).tolist()
    [[1.0, 7.0]]
    """

    start: Tensor
    end: Tensor
    scale: Tensor
    basis: Tensor | None = None
    inner: Tensor | None = None

    def move(self, latents: Tensor, strength: float) -> Tensor:
        """Return latents (n, D), moved by a share of the way: 0 leaves them as they are, exactly; 1 is T."""
        z = latents.double()
        deviation = z - self.start
        moved = self.end + self.scale * deviation
        if self.basis is not None and self.inner is not None:
            moved = moved + ((deviation @ self.basis) @ self.inner) @ self.basis.T
        return (z + strength * (moved - z)).to(latents)


def transport(a: Gaussian, b: Gaussian) -> Transport:
    """Return the optimal transport map from one Gaussian to another of the same D.

    Raises:
        ValueError: D differs; or D is large and a covariance has a part of low rank on a diagonal of unequal numbers,
            of whose square root nothing smaller than D x D is known.
    """
    if a.dim != b.dim:
        raise ValueError(f"Expected two Gaussians of the same D; got {a.dim} and {b.dim}.")
    of, to = a.covariance, b.covariance
    if isinstance(of, DiagonalPlusLowRank) and isinstance(to, DiagonalPlusLowRank):
        if of.factor is None and to.factor is None:
            return Transport(a.mean, b.mean, (to.diagonal / of.diagonal).sqrt())
        if of.diagonal.ndim == to.diagonal.ndim == 0:
            return _in_the_span(a, b, of, to)
    matrix = _matrix(_dense(of), _dense(to))
    eye = torch.eye(a.dim, dtype=matrix.dtype, device=matrix.device)
    return Transport(a.mean, b.mean, matrix.new_zeros(()), eye, matrix)


def _in_the_span(a: Gaussian, b: Gaussian, of: DiagonalPlusLowRank, to: DiagonalPlusLowRank) -> Transport:
    factors = [c.factor for c in (of, to) if c.factor is not None]
    basis = _orthonormal(torch.cat(factors, 1))
    eye = torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device)
    small = []
    for c in (of, to):
        inside = c.diagonal * eye
        if c.factor is not None:
            projected = basis.T @ c.factor
            inside = inside + projected @ projected.T
        small.append(inside)
    scale = (to.diagonal / of.diagonal).sqrt()
    return Transport(a.mean, b.mean, scale, basis, _matrix(*small) - scale * eye)


def _orthonormal(columns: Tensor) -> Tensor:
    """An orthonormal basis of the span of (D, r) columns, by their r x r products; dependent ones are dropped."""
    values, vectors = torch.linalg.eigh(columns.T @ columns)
    kept = values > INDEPENDENT * values[-1].clamp(min=torch.finfo(values.dtype).tiny)
    basis: Tensor = columns @ (vectors[:, kept] / values[kept].sqrt())
    return torch.linalg.qr(basis)[0]  # the products square the condition: once more


def _matrix(of: Tensor, to: Tensor) -> Tensor:
    """A, written out, of two covariances written out."""
    root, inverse = _power(of, 0.5), _power(of, -0.5)
    return inverse @ _power(root @ to @ root, 0.5) @ inverse


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp(min=torch.finfo(values.dtype).tiny) ** exponent) @ vectors.T


def _dense(covariance: Covariance) -> Tensor:
    return covariance.dense().matrix
