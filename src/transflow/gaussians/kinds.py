"""Whether evidence is of two kinds: the variance between two groups of its latents.

Along the leading direction of the latents' covariance, the best cut into two groups explains 2 / pi = 64 % of the
variance of a normal distribution, and most of it where there are two clusters. Where it explains more than
`APART`, with enough pictures on either side, the two groups are reported with the share of the whole variance,

    between = m_1 m_2 / m^2 |zeta_bar_1 - zeta_bar_2|^2 / tr C,

that lies between them. One new model of both mixes them; one of each keeps them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

APART = (
    0.86  # of the leading direction's variance that lies between two kinds at least; drawn kinds alone have up to 0.83
)
LEAST = 0.05  # of all variance that lies between them at least; mixed photographs and drawings have 0.07 to 0.17
FEWEST = 8  # pictures of which kinds can be told, with a quarter of them, or 2, on either side


@dataclass(frozen=True)
class Kinds:
    """Evidence of two kinds.

    Attributes:
        first: the rows of one of them, the smaller.
        second: those of the other.
        between: the share of all variance that lies between them.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    between: float


def two_kinds(latents: Tensor) -> Kinds | None:
    """Return the two kinds that latents (m, D) are of, or None where they are of one.

    >>> z = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    >>> two_kinds(z), two_kinds(torch.cat([z, z + 4])).between > 0.5
    (None, True)
    """
    m = len(latents)
    if m < FEWEST:
        return None
    centred = latents.double() - latents.double().mean(0)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    total = values.clamp(min=0).sum()
    if total <= 0:
        return None
    score = vectors[:, -1] * values[-1].clamp(min=0).sqrt()
    ordered, order = score.sort()
    sizes = torch.arange(1, m, dtype=torch.float64, device=score.device)
    left = ordered.cumsum(0)[:-1]
    explained = left.square() * m / (sizes * (m - sizes))  # the scores sum to zero
    side = max(2, m // 4)
    explained[: side - 1] = 0
    explained[m - side :] = 0
    best = int(explained.argmax())
    one, other = order[: best + 1], order[best + 1 :]
    gap = centred[one].mean(0) - centred[other].mean(0)
    between = (len(one) * len(other) / m * gap.square().sum() / total).item()
    if explained[best] < APART * values[-1] or between < LEAST:
        return None
    small, large = sorted((sorted(one.tolist()), sorted(other.tolist())), key=len)
    return Kinds(tuple(small), tuple(large), between)
