"""How sure, and how far out: the temperature of log densities, and the tail of a Student t."""

from __future__ import annotations

import math
import statistics

import torch
from torch import Tensor


def calibrate(log_density: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return T, and the mean log probability of the true class, of left-out log densities (L, C).

    T maximises a concave function of 1/T; the maximum is found by golden section.
    """
    count, classes = log_density.shape
    wrong = 1 / (count + 2)
    target = torch.full_like(log_density, wrong / classes)
    target[torch.arange(count), truth] += 1 - wrong
    centred = log_density - log_density.mean(1, keepdim=True)
    unit = centred.abs().max().item() or 1.0

    def value(log_t: float) -> float:
        return (target * (centred / (unit * math.exp(log_t))).log_softmax(1)).sum(1).mean().item()

    low, high, ratio = -12.0, 6.0, (math.sqrt(5) - 1) / 2
    for _ in range(60):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if value(a) > value(b) else (a, high)
    temperature = unit * math.exp((low + high) / 2)
    log_prob = (centred / temperature).log_softmax(1).gather(1, truth[:, None]).mean().item()
    return temperature, log_prob


def upper_t(t: float, freedom: int) -> float:
    """Return P(T > t) of a Student t, by a normal of nearly the same tails (Wallace 1959).

    >>> round(upper_t(2.764, 10), 3)     # exactly 0.01
    0.01
    """
    u = math.sqrt(freedom * math.log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    tail = statistics.NormalDist().cdf(-u)
    return tail if t > 0 else 1 - tail
