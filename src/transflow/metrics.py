"""Figures of merit; the only place where bits per dimension exist."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def bits_per_dim(log_prob: Number, dim: int, bits: int) -> Number:
    """Return bits per dimension of a density over pictures scaled to unit range.

    ``-log_prob / (D ln 2) + n``: a bin of an n-bit pixel is ``2^-n`` wide in those units.

    Args:
        log_prob: log density of pictures in nats, summed over D.
        dim: D.
        bits: n, bits per pixel and channel.

    >>> bits_per_dim(0.0, dim=3072, bits=5)     # the uniform density knows nothing
    5.0
    """
    return -log_prob / (dim * math.log(2)) + bits


def calibration_error(probabilities: Tensor, truth: Tensor, bins: int = 15) -> float:
    """Return the expected calibration error: how far confidence is from accuracy.

    The mean over bins of the largest probability, weighted by how many fall in, of
    ``|accuracy - mean confidence|`` (Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599).

    Args:
        probabilities: of each class, shape (n, C).
        truth: 0 .. C - 1, shape (n,).
        bins: of equal width.

    >>> calibration_error(torch.tensor([[0.75, 0.25]] * 4), torch.tensor([0, 0, 0, 1]))    # right 3 times in 4
    0.0
    """
    confidence, predicted = probabilities.double().max(1)
    if not len(confidence):
        raise ValueError("Expected at least one prediction; got none.")
    right = (predicted == truth).double()
    bin_of = (confidence * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64, device="cpu").index_add(0, bin_of, right - confidence)
    return gaps.abs().sum().item() / len(confidence)


def p_values(values: Tensor, reference: Tensor, *, two_sided: bool = False) -> Tensor:
    """Return for each value how often one of ``reference`` is as small: ``(1 + #{r <= v}) / (1 + n)``, (B,).

    Args:
        values: shape (B,).
        reference: shape (n,).
        two_sided: how often one lies as far from the reference's median, on either side.
    """
    if not len(reference):
        raise ValueError("Expected at least one reference value; got none.")
    if reference.isnan().any():
        raise ValueError("Expected reference values; got NaN among them.")
    if two_sided:
        middle = reference.median()
        values, reference = -(values - middle).abs(), -(reference - middle).abs()
    values = values.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    return (1 + torch.searchsorted(reference.sort().values, values, right=True)) / (1 + len(reference))


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the squared Fréchet distance of the normals with the moments of two sets of features.

    ``|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))``. With centred features ``A = Q_a R_a`` and
    ``B = Q_b R_b``, the last trace is the nuclear norm of ``R_a R_b^T`` over ``sqrt((n - 1)(m - 1))``, so no
    root of a matrix is taken. The estimate is too large, the more so the fewer the features: compare sets
    of one size.

    Args:
        a: features, shape (n, D), n of 2 or more.
        b: features, shape (m, D), m of 2 or more.

    References: Dowson and Landau 1982; Heusel et al. 2017, arXiv 1706.08500 (of Inception features: FID).

    >>> x = torch.tensor([[0.0], [2.0]])
    >>> round(frechet_distance(x, x + 3), 6)    # equal spread, means 3 apart
    9.0
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"Expected features (n, D) and (m, D), n and m of 2 or more; got {tuple(a.shape)} and {tuple(b.shape)}."
        )
    means, roots = [], []
    for features in (a.double(), b.double()):
        means.append(features.mean(0))
        roots.append(torch.linalg.qr(features - means[-1], mode="r")[1] / math.sqrt(len(features) - 1))
    crossed = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    spread = sum(root.square().sum() for root in roots)
    return float((means[0] - means[1]).square().sum() + spread - 2 * crossed)
