"""Examples that are given twice, such as one photograph exported twice: they are counted once.

Left out, such an example is classified by evidence that still has its twin: the temperatures, the choice and the
distances of left-out examples to their class would be of examples seen before, and every new input an outlier. Two of
a class are one example where their keys are equal, or where their features are `NEAR` each other,

    |z_i - z_j|  <  NEAR sqrt(2 S / m),    S the class's sum of squared deviations, m its count,

the root being the usual distance of two examples of the class. In a space of few dimensions near ones are common, so
there equal ones alone count.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NEAR = 0.05
FEWEST_DIMENSIONS = 64
MOST = 1000  # examples of a class that are compared with each other; of larger classes the keys alone are


def distinct(rows: Tensor, labels: Tensor, keys: Sequence[str]) -> Tensor:
    """Return whether each example is the first of its kind in its class, shape (n,).

    Args:
        rows: features, (n, D).
        labels: class of each, (n,).
        keys: an identifier of each, such as a digest.
    """
    stay = torch.ones(len(labels), dtype=torch.bool, device="cpu")
    seen = set()
    for i, pair in enumerate(zip(labels.tolist(), keys, strict=True)):
        stay[i] = pair not in seen
        seen.add(pair)
    if rows.shape[1] < FEWEST_DIMENSIONS:
        return stay
    for c in labels.unique().tolist():
        members = ((labels == c) & stay).nonzero()[:, 0]
        if not 2 < len(members) <= MOST:
            continue
        z = rows[members].double()
        usual = (2 * (z - z.mean(0)).square().sum() / len(z)).sqrt()
        near = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist") < NEAR * usual
        for j in range(1, len(members)):
            stay[members[j]] = not (near[j, :j] & stay[members[:j]]).any()
    return stay
