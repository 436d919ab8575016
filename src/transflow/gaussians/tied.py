"""One covariance for several sets of latents, shrunk towards a multiple of I so that few latents will do.

    Sigma = (1 - g) S + g tau I,   S = (1/n) sum (zeta - mean of its set)(zeta - mean of its set)^T,   tau = tr S / D

S has at most the rank of its n rows, so Sigma is diagonal plus low rank. The shrinkage g that is nearest to the truth
in mean square, for large n and D, is Ledoit and Wolf's: with ``|S|^2`` the sum of the squares of all numbers of S,

    g = min(1, b / d),   d = |S|^2 - D tau^2,   b = (sum |row|^4 / n - |S|^2) / n.

Reference: Ledoit and Wolf 2004, *A well-conditioned estimator for large-dimensional covariance matrices*.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from transflow.gaussians.covariance import DiagonalPlusLowRank

LEAST = 1e-6  # shrinkage below which Sigma could not be inverted in double


def tied(sets: Sequence[Tensor], shrinkage: float | None = None) -> DiagonalPlusLowRank:
    """Return the covariance within sets of latents; I where no set has two different ones.

    Args:
        sets: latents (n, D) each, double.
        shrinkage: g, above 0 to 1; None for Ledoit and Wolf's.

    Raises:
        ValueError: a shrinkage of another size.
    """
    if shrinkage is not None and not LEAST <= shrinkage <= 1:
        raise ValueError(f"Expected a shrinkage from {LEAST:g} to 1; got {shrinkage:g}.")
    rows = _centred(sets)
    n, dim = rows.shape
    tau = rows.square().sum() / (n * dim) if n else rows.new_zeros(())
    if not tau > 0:
        return DiagonalPlusLowRank(dim, tau.new_ones(()))
    g = ledoit_wolf(sets) if shrinkage is None else shrinkage
    return DiagonalPlusLowRank(dim, g * tau, rows.T * ((1 - g) / n) ** 0.5 if g < 1 else None)


def ledoit_wolf(sets: Sequence[Tensor]) -> float:
    """Return Ledoit and Wolf's shrinkage of the covariance within sets of latents (n, D); 1 where there is none."""
    rows = _centred(sets)
    n, dim = rows.shape
    gram = rows @ rows.T / max(n, 1)
    square = gram.square().sum()
    spread = square - gram.trace().square() / dim
    error = gram.diagonal().square().sum() - square / max(n, 1)
    return float((error / spread).clamp(LEAST, 1)) if spread > 0 else 1.0


def _centred(sets: Sequence[Tensor]) -> Tensor:
    """The deviations of all latents from the means of their sets; one latent alone has none."""
    several = [part.double() for part in sets if len(part) > 1] or [sets[0][:0].double()]
    return torch.cat([part - part.mean(0) for part in several])
