"""One number for how new samples are: 0 the evidence itself, 1 its Gaussian; and the weights of parents.

A sample of weights w has ``n = 1 / sum_j w_j^4`` effective parents, n for n equal weights; a kernel mixture
keeps the share ``c = sqrt(1 - h^2)`` of its one parent's deviation, where n equal parents keep ``c = 1 / sqrt(n)`` of
each. Deviations of unrelated pictures are nearly orthogonal and as long as each other, so such a sample lies
``sqrt(2 (1 - c))`` from its parent, where another picture of the evidence lies sqrt(2). Novelty is their ratio,

    novelty = sqrt(1 - c),   c = 1 / sqrt(n) of parents,   c = sqrt(1 - h^2) of the mixture:

how far a sample is from its nearest parent, as a share of how far pictures of the evidence are from each other. Two,
three, four and six equal parents have 0.54, 0.65, 0.71 and 0.77; h = 0.3, 0.5, 0.7 and 0.85 have 0.21, 0.37, 0.53 and
0.69.

Random weights are ``w_j = sqrt(p_j)``, ``p = softmax(spread g)``, g standard normal (Aitchison and Shen 1980):
positive, exchangeable, of square sum 1. Spread 0 makes them equal, and a large one leaves one parent alone, so with the
same g a sample moves without a jump from its main parent to a new picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

SPREAD = 0.4  # of log weights: the largest of three squares is 0.45 on average, and no two samples are equal
DRAWS = 4096  # of quasi-random numbers, by which moments of weights are known to about 1e-3


@dataclass(frozen=True)
class Weights:
    """The distribution of the weights of n parents: ``w = sqrt(softmax(spread g))``.

    Attributes:
        count: n, the number of parents.
        spread: 0 for equal weights.

    >>> Weights(3, 0.0).effective, round(Weights(3).effective, 1)
    (3.0, 2.7)
    """

    count: int
    spread: float = SPREAD

    def __post_init__(self) -> None:
        if not (isinstance(self.count, int) and self.count >= 1):
            raise ValueError(f"Expected 1 parent or more; got {self.count}.")
        if not 0 <= self.spread < math.inf:
            raise ValueError(f"Expected a spread of weights of 0 or more; got {self.spread}.")

    @property
    def equal(self) -> bool:
        """Whether all samples have the same weights."""
        return self.spread == 0 or self.count == 1

    def of(self, normal: Tensor) -> Tensor:
        """Return weights (n, count) of standard-normal numbers of at least as many columns."""
        return (self.spread * normal[:, : self.count]).softmax(1).sqrt()

    @property
    def effective(self) -> float:
        """``1 / E sum_j w_j^4``, the effective number of parents; count for equal weights."""
        return float(self.count) if self.equal else _moments(self.count, self.spread)[0]

    @property
    def squared_sum(self) -> float:
        """``E (sum_j w_j)^2``; count for equal weights."""
        return float(self.count) if self.equal else _moments(self.count, self.spread)[1]

    @property
    def novelty(self) -> float:
        """How new samples of these weights are, 0 to 1."""
        return math.sqrt(1 - 1 / math.sqrt(self.effective))


def weights_for(novelty: float, m: int, spread: float = SPREAD) -> Weights | None:
    """Return the weights of a novelty: as few parents as have it at this spread, or a larger one.

    Args:
        novelty: 0 to 1.
        m: how many different pictures there are.
        spread: the least spread of weights.

    Returns:
        None where more than m / 2 parents would be needed: the Gaussian is drawn.

    >>> weights_for(0, 24).count, weights_for(0.62, 24).count, weights_for(1, 24)
    (1, 3, None)
    """
    check_novelty(novelty)
    if novelty == 0:
        return Weights(1, 0.0)
    if novelty == 1:
        return None
    wanted = (1 - novelty * novelty) ** -2
    count = max(2, math.ceil(wanted))
    while count <= m // 2 and Weights(count, spread).effective < wanted:
        count += 1
    if count > m // 2:
        return None
    low, high = spread, 1e4
    while high - low > 1e-4 * low + 1e-6:
        middle = math.sqrt(max(low, 1e-6) * high)
        if Weights(count, middle).effective < wanted:
            high = middle
        else:
            low = middle
    return Weights(count, low)


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
    if isinstance(novelty, bool) or not isinstance(novelty, (int, float)) or not 0 <= novelty <= 1:
        raise ValueError(f"Expected a novelty from 0 (the evidence itself) to 1 (its Gaussian); got {novelty!r}.")


@lru_cache(maxsize=4096)
def _moments(count: int, spread: float) -> tuple[float, float]:
    """``1 / E sum w^4`` and ``E (sum w)^2`` of random weights, by quasi-random numbers."""
    w = Weights(count, spread).of(_normal(count))
    return 1 / w.pow(4).sum(1).mean().item(), w.sum(1).square().mean().item()


@lru_cache(maxsize=8)
def _normal(count: int) -> Tensor:
    uniform = torch.quasirandom.SobolEngine(count, scramble=True, seed=0).draw(DRAWS, dtype=torch.float64)
    return torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
