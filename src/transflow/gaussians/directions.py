"""Directions of latents along which one attribute changes, and others stay.

Two sets of latents, one with more of an attribute and one with less, with means zeta_1 and zeta_0, and the covariance
Sigma of latents within a set, tied to be one for all sets. How much of the attribute a latent has is read along
Fisher's discriminant w = Sigma^-1 (zeta_1 - zeta_0), and likewise for each attribute that shall stay. The step that
strength 1 adds is the least change that moves the reading from one mean to the other and leaves the others as they are,

    d = argmin d^T M d   with   w . d = w . (zeta_1 - zeta_0),   w_j . d = 0:
    d = M^-1 W^T (W M^-1 W^T)^-1 (w . (zeta_1 - zeta_0), 0, .., 0)^T,   W the rows w, w_1, w_2, ..

The least in which metric M is a choice: M = Sigma^-1, the sets' own, gives the difference of means d = zeta_1 - zeta_0
(less what belongs to the attributes that stay); M = I, the prior's, gives Fisher's direction d ~ w. A direction that
stays is orthogonal to d in the tied metric: (difference_j) . Sigma^-1 d = 0.

References: Fisher 1936; Kingma and Dhariwal 2018 (Glow, arXiv 1807.03039), section 6.1, for differences of means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.gaussians.tied import tied

SAME = 1e-10  # squared distance of two means, beside the largest latent's squared length, that is rounding
LEFT = 1e-3  # of the reading's squared length that the attributes that stay must leave


@dataclass(frozen=True, eq=False)
class Direction:
    """What a unit of strength adds to a latent.

    Attributes:
        step: d, shape (D,), double.
        readings: W, shape (1 + k, D): the discriminant of the attribute, and those of the k that stay.
    """

    step: Tensor
    readings: Tensor

    def move(self, latents: Tensor, strength: float) -> Tensor:
        """Return latents (n, D) with so much more of the attribute; 0 leaves them as they are, exactly."""
        return (latents.double() + strength * self.step).to(latents)


def direction(
    more: Tensor,
    less: Tensor,
    keep: Sequence[Tensor | tuple[Tensor, Tensor]] = (),
    *,
    fisher: bool = True,
    shrinkage: float | None = None,
) -> Direction:
    """Return the direction from one set of latents to another.

    Args:
        more: latents (n_1, D) with more of the attribute, n_1 of 1 or more.
        less: latents (n_0, D) with less of it.
        keep: for each attribute that stays, two sets with it and without, (n, D) each; or one, beside ``less``.
        fisher: the least change in the prior's metric (Fisher's direction); else in the sets' own (the difference of
            means).
        shrinkage: of the tied covariance towards a multiple of I, above 0 to 1; None for that of Ledoit and Wolf.

    Raises:
        ValueError: a set is empty or of another D, two sets have one mean, or nothing is left beside what stays.

    >>> more, less = torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    >>> direction(more, less, shrinkage=1.0).step.tolist()
    [2.0, -2.0]
    """
    pairs = [(more, less), *(pair if isinstance(pair, tuple) else (pair,) for pair in keep)]
    sets = [part.double() for pair in pairs for part in pair]
    for part in sets:
        if part.ndim != 2 or not len(part) or part.shape[1] != sets[0].shape[-1]:
            shapes = ", ".join(str(tuple(each.shape)) for each in sets)
            raise ValueError(f"Expected sets of 1 or more latents (n, D) of one D; got {shapes}.")
    means = [[part.double().mean(0) for part in pair] for pair in pairs]
    gaps = torch.stack([first - (rest[0] if rest else means[0][1]) for first, *rest in means])
    largest = max(part.square().sum(1).max() for part in sets)
    if (gaps.square().sum(1) <= SAME * largest).any():
        raise ValueError("Expected two sets of different means; got equal ones, which show no attribute.")
    readings = tied(sets, shrinkage).solve(gaps)
    least = readings if fisher else gaps  # M^-1 W^T, transposed
    return Direction(_least_change(least, readings, gaps), readings)


def _least_change(least: Tensor, readings: Tensor, gaps: Tensor) -> Tensor:
    """d, shape (D,), of ``M^-1 W^T`` transposed and W, both (1 + k, D)."""
    gram = least @ readings.T
    wanted = readings[0] @ gaps[0]
    if len(gram) == 1:
        return least[0] * (wanted / gram[0, 0])
    unit = gram.diagonal().sqrt()
    correlation = gram / unit[:, None] / unit
    others = torch.linalg.pinv(correlation[1:, 1:], hermitian=True, rtol=1e-8)
    weights = torch.cat([correlation.new_ones(1), -others @ correlation[1:, 0]])
    left = correlation[0] @ weights
    if left < LEFT:
        raise ValueError(
            "Expected an attribute that differs from those that stay; got one that they account for. Keep fewer."
        )
    return (weights / unit) @ least * (wanted / (left * unit[0]))
