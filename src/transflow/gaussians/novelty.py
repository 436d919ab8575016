"""One number for how new samples are: 0 the evidence itself, 1 its Gaussian; and the weights of parents.

A sample keeps the share c of the deviation of its nearest parent: the largest of its parents' weights, or
``c = sqrt(1 - h^2)`` of the one parent of a kernel mixture. Deviations of unrelated pictures are nearly orthogonal and
as long as each other, so it lies ``sqrt(2 (1 - c))`` from that parent, where another picture of the evidence lies
sqrt(2). Novelty is their ratio,

    novelty = sqrt(1 - E c),   E max_j w_j = 1 - novelty^2,   h^2 = 1 - (1 - novelty^2)^2:

how far a sample is from its nearest parent, as a share of how far pictures of the evidence are from each other. Equal
steps are equal distances, in decoded pixels too (measured with faces-32, up to 0.6; from there on a sample is as far
from its nearest parent as from others). Two, three, four and six equal parents, of ``1 / sum_j w_j^4`` = 2, 3, 4 and 6
effective ones, have 0.54, 0.65, 0.71 and 0.77; h = 0.3, 0.5, 0.7 and 0.85 have 0.21, 0.37, 0.53 and 0.69.

Random weights are ``w_j = sqrt(p_j)``, ``p = softmax(spread g + lead e_1)``, g standard normal (Aitchison and Shen
1980): positive, of square sum 1. Spread 0 and lead 0 make them equal; a large lead leaves the first parent alone, so
with the same g a sample moves from its main parent to a new picture, each as far as the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from transflow.plain_values import scalar

SPREAD = 0.4  # of log weights: the largest of three squares is 0.45 on average, and no two samples are equal
DRAWS = 4096  # of quasi-random numbers, by which moments of weights are known to about 1e-3


@dataclass(frozen=True)
class Weights:
    """The distribution of the weights of n parents: ``w = sqrt(softmax(spread g + lead e_1))``.

    Attributes:
        count: n, the number of parents.
        spread: of log squares; 0 for weights that are always the same.
        lead: of the first parent; 0 where all are alike.

    >>> Weights(3, 0.0).effective, round(Weights(3).effective, 1), round(Weights(3).novelty, 2)
    (3.0, 2.7, 0.58)
    """

    count: int
    spread: float = SPREAD
    lead: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", scalar(self.count))
        if isinstance(self.count, bool) or not (isinstance(self.count, int) and self.count >= 1):
            raise ValueError(f"Expected 1 parent or more; got {self.count}.")
        if not (0 <= self.spread < math.inf and 0 <= self.lead < math.inf):
            raise ValueError(
                f"Expected a spread and a lead of weights of 0 or more; got {self.spread} and {self.lead}."
            )

    @property
    def equal(self) -> bool:
        """Whether all samples have equal weights."""
        return self.count == 1 or self.spread == self.lead == 0

    def of(self, normal: Tensor) -> Tensor:
        """Return weights (n, count) of standard-normal numbers of at least as many columns."""
        logits = self.spread * normal[:, : self.count]
        logits[:, 0] += self.lead
        return logits.softmax(1).sqrt()

    @property
    def effective(self) -> float:
        """``1 / E sum_j w_j^4``, the effective number of parents; count for equal weights."""
        return float(self.count) if self.equal else _moments(self)[0]

    @property
    def squared_sum(self) -> float:
        """``E (sum_j w_j)^2``; count for equal weights."""
        return float(self.count) if self.equal else _moments(self)[1]

    @property
    def largest(self) -> float:
        """``E max_j w_j``; one over the root of count for equal weights."""
        return 1 / math.sqrt(self.count) if self.equal else _moments(self)[2]

    @property
    def novelty(self) -> float:
        """How new samples of these weights are, 0 to 1."""
        return math.sqrt(1 - self.largest)


def weights_for(novelty: float, m: int, spread: float = SPREAD) -> Weights | None:
    """Return the weights of a novelty: of as few parents as have it, the first in the lead.

    Args:
        novelty: 0 to 1.
        m: how many different pictures there are.
        spread: of weights.

    Returns:
        None where more than m / 2 parents would be needed: the Gaussian is drawn.

    >>> weights_for(0, 24).count, weights_for(0.55, 24).count, weights_for(1, 24)
    (1, 3, None)
    """
    check_novelty(novelty)
    if novelty == 0:
        return Weights(1, 0.0)
    wanted = 1 - novelty * novelty
    counts = range(max(2, math.ceil(wanted**-2) if wanted else m), m // 2 + 1)
    count = next((n for n in counts if Weights(n, spread).largest <= wanted), None)
    if count is None:
        return None
    low, high = 0.0, 40.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        if Weights(count, spread, middle).largest < wanted:
            low = middle
        else:
            high = middle
    return Weights(count, spread, low)


def bandwidth_of(novelty: float) -> float:
    """Return the h of the kernel mixture that has a novelty.

    >>> bandwidth_of(0), round(bandwidth_of(0.5), 3), bandwidth_of(1)
    (0.0, 0.661, 1.0)
    """
    check_novelty(novelty)
    return math.sqrt(1 - (1 - novelty * novelty) ** 2)


def novelty_of_bandwidth(h: float) -> float:
    """Return the novelty of the kernel mixture of a bandwidth h, 0 to 1.

    >>> round(novelty_of_bandwidth(bandwidth_of(0.3)), 12)
    0.3
    """
    return math.sqrt(1 - math.sqrt(1 - h * h))


def check_novelty(novelty: float) -> None:
    """Raise `ValueError` where a novelty is no number from 0 to 1."""
    novelty = scalar(novelty)
    if isinstance(novelty, bool) or not isinstance(novelty, (int, float)) or not 0 <= novelty <= 1:
        raise ValueError(f"Expected a novelty from 0 (the evidence itself) to 1 (its Gaussian); got {novelty!r}.")


@lru_cache(maxsize=4096)
def _moments(weights: Weights) -> tuple[float, float, float]:
    """``1 / E sum w^4``, ``E (sum w)^2`` and ``E max w`` of random weights, by quasi-random numbers."""
    w = weights.of(_normal(weights.count))
    return 1 / w.pow(4).sum(1).mean().item(), w.sum(1).square().mean().item(), w.max(1).values.mean().item()


@lru_cache(maxsize=8)
def _normal(count: int) -> Tensor:
    uniform = torch.quasirandom.SobolEngine(count, scramble=True, seed=0).draw(DRAWS, dtype=torch.float64)
    return torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
