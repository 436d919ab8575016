"""A scatter by its rows, S = F^T F, F of shape (r, D): taken apart without any matrix of size D x D.

S of m latents has one row for each, and what is asked of it needs the eigenvectors of F F^T (r, r) alone:

    taking out     F'^T F' = F^T F - G^T G            for rows G that were added before
    fewer rows     F'^T F' = sum_i (l_i - d)_+ v_i v_i^T,   d = l_(k+1): the k largest eigenvalues l, all less by d,

with 0 <= S - F'^T F' <= d I, and (k + 1) d at most what the trace loses.

Reference for fewer rows: Ghashami, Liberty, Phillips and Woodruff 2016, *Frequent directions*.
"""

from __future__ import annotations

import torch
from torch import Tensor

NONE = 1e-13  # an eigenvalue below this share of the largest is rounding


def _eigen(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of F^T F above rounding, rising, and their eigenvectors as rows, (r', D)."""
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    several = values > NONE * values[-1].clamp(min=0) if len(values) else values > 0
    values = values[several]
    return values, (vectors[:, several] / values.sqrt()).T @ rows


def without(rows: Tensor, leaving: Tensor) -> Tensor | None:
    """Return F' with ``F'^T F' = F^T F - G^T G``; None where that is not positive, since G was never added.

    Args:
        rows: F, shape (r, D), double.
        leaving: G, shape (q, D), double.
    """
    values, basis = _eigen(rows)
    largest = values[-1] if len(values) else rows.new_zeros(())
    slack = 1e-4 * largest  # latents encoded twice differ by single precision
    inside = leaving @ basis.T
    if leaving.square().sum() - inside.square().sum() > slack:
        return None
    left, turn = torch.linalg.eigh(torch.diag(values) - inside.T @ inside)
    if len(left) and left[0] < -slack:
        return None
    stay = left > NONE * largest
    return (turn[:, stay] * left[stay].sqrt()).T @ basis


def limited(rows: Tensor, most: int) -> tuple[Tensor, float]:
    """Return F' of at most so many rows, and d, with ``0 <= F^T F - F'^T F' <= d I``; d is 0 where S has that rank.

    Args:
        rows: F, shape (r, D), double.
        most: rows of F' at most, 1 or more.
    """
    if len(rows) <= most:
        return rows, 0.0
    values, basis = _eigen(rows)
    lost = values[-most - 1] if len(values) > most else values.new_zeros(())
    if lost <= 1e-12 * values.sum():  # rounding
        lost = torch.zeros_like(lost)
    values, basis = values[-most:] - lost, basis[-most:]
    return values.clamp(min=0).sqrt()[:, None] * basis, lost.item()
