"""What adversaries have alike: the loss by which one learns to tell given pictures from made ones, and what holds it.

    softplus(-D(x)) + softplus(D(y)) + g/2 |grad_x D(x)|^2,    x given, y made,

the cross entropy of both kinds and a penalty that keeps D from growing steep about given pictures (R1). D is told how
much a batch varies, by the mean over features of their deviations, so that a model that makes one picture only is
found out.

Reference: Mescheder, Geiger and Nowozin 2018, *Which training methods for GANs do actually converge?*, arXiv
1801.04406; the deviation of a batch is Karras et al.'s 2018, arXiv 1710.10196.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from transflow.generative.codec import CodecConfig

SLOPE = 0.2  # of an adversary's LeakyReLU
JUDGE = 256  # hidden numbers of an adversary's last layers


@dataclass(frozen=True)
class AdversaryConfig(CodecConfig):
    """The architecture of a model with an adversary, and what that is held by.

    Attributes:
        penalty: g, the weight of the adversary's gradient at pictures, whose range is 1.
    """

    penalty: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"Expected a weight of the penalty of 0 or more; got {self.penalty}.")


def tell_apart(judge: Callable[[Tensor], Tensor], x: Tensor, made: Tensor, penalty: float) -> Tensor:
    """Return what an adversary makes small, (B,).

    Args:
        judge: D, pictures (B, C, H, W) to (B,).
        x: given pictures.
        made: D of made pictures, (B,).
        penalty: g.
    """
    x = x.detach().requires_grad_()
    given = judge(x)
    (slope,) = torch.autograd.grad(given.sum(), x, create_graph=True)
    return F.softplus(-given) + F.softplus(made) + penalty / 2 * slope.square().sum((1, 2, 3))


def deviation(features: Tensor) -> Tensor:
    """Return the mean deviation over a batch of its features (B, F), the same for all of it, (B, 1)."""
    found = (features.var(0, unbiased=False) + 1e-8).sqrt().mean()
    return found.expand(len(features), 1)
