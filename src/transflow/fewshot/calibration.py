"""Calibration of class probabilities, and tail probabilities of outliers.

`calibrate` finds the temperature of one table of left-out log densities, `weigh` the weights of several; `unskewed` and
`upper_tail` turn a standardised distance into a p-value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.special import stdtr
from torch import Tensor


def calibrate(log_density: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return T, and the mean log probability of the true class, of left-out log densities (L, C).

    T maximises a concave function of 1/T; the maximum is found by golden section.
    """
    target = smoothed(log_density, truth)
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


def weigh(log_densities: Sequence[Tensor], truth: Tensor) -> Tensor:
    """Return a weight beta_v of 0 or more for each table v of left-out log densities (L, C), shape (V,).

    They maximise the concave

        sum_i log softmax_y(sum_v beta_v l_vi) - sum_v (beta_v - 1/V)^2,

    the labels smoothed as in `calibrate`: one multinomial logistic regression with V coefficients.
    Reference: Hinton 2002 (products of experts); Wolpert 1992 (stacked generalization).
    """
    x = torch.stack([part.double() for part in log_densities])
    target, even = smoothed(x[0], truth), 1 / len(x)

    def value(beta: Tensor) -> float:
        joint = (beta[:, None, None] * x).sum(0).log_softmax(1)
        return ((target * joint).sum() - (beta - even).square().sum()).item()

    beta = x.new_full((len(x),), even)
    for _ in range(50):  # Newton's method, on the weights that are not held at 0
        p = (beta[:, None, None] * x).sum(0).softmax(1)
        gradient = ((target - p) * x).sum((1, 2)) - 2 * (beta - even)
        free = (beta > 0) | (gradient > 0)
        centred = x - (p * x).sum(2, keepdim=True)
        one = torch.eye(len(x), dtype=x.dtype, device="cpu")
        hessian = torch.einsum("lc,vlc,wlc->vw", p, centred, centred) + 2 * one
        step = torch.zeros_like(beta)
        step[free] = torch.linalg.solve(hessian[free][:, free], gradient[free])
        best, share = value(beta), 1.0
        while value(moved := (beta + share * step).clamp(min=0)) < best and share > 1e-6:
            share /= 2
        if (moved - beta).abs().max() < 1e-9:
            break
        beta = moved
    return beta


def smoothed(log_density: Tensor, truth: Tensor) -> Tensor:
    """Return labels (L,) as probabilities (L, C): one part in L + 2 is spread over all classes."""
    count, classes = log_density.shape
    wrong = 1 / (count + 2)
    target = torch.full_like(log_density, wrong / classes)
    target[torch.arange(count, device="cpu"), truth] += 1 - wrong
    return target


def unskewed(t: Tensor, skewness: float) -> Tensor:
    """Return standardised numbers of a gamma distribution of this skewness, transformed to nearly normal ones.

    Reference: Wilson and Hilferty 1931, *The distribution of chi-square*.

    >>> x = torch.distributions.Chi2(10.0).sample((20000,))
    >>> z = unskewed((x - 10) / 20**0.5, (8 / 10) ** 0.5)
    >>> round((z > 2.326).double().mean().item(), 2)    # of a normal, 0.01
    0.01
    """
    if abs(skewness) < 1e-3:
        return t
    return 6 / skewness * ((t * skewness / 2 + 1).clamp(min=0).pow(1 / 3) - 1) + skewness / 6


def upper_tail(t: Tensor, freedom: int) -> Tensor:
    """Return P(T > t) of a Student t of this many degrees of freedom, of the shape of t, double.

    >>> round(upper_tail(torch.tensor([2.764]), 10).item(), 4)
    0.01
    """
    return torch.from_numpy(stdtr(freedom, -t.double().numpy()))
