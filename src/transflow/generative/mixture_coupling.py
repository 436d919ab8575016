"""A coupling by the distribution function of a mixture of logistics: many steps in one, inverted by search.

With weights p_k, means m_k and log-scales s_k, a and b, all functions of the half x_a that stays,

    z = exp(a) (logit F(x) + b),    F(x) = sum_k p_k sigmoid((x - m_k) exp(-s_k)).

F and 1 - F are kept as logarithms, so neither is lost far out, where the map is a straight line; and

    log dz/dx = a + log F'(x) - log F(x) - log(1 - F(x)).

The inverse lies between the least and the largest of what each logistic alone would give, ``m_k + exp(s_k) y``. There
Newton's method looks for it, and bisection wherever a Newton step would leave the bracket, in double.

Reference: Ho et al. 2019, *Flow++*, arXiv 1902.00275, section 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from transflow.generative.bijections import soft_bound

SHARPEST = 3.0  # bound of log-scales of the logistics
STEEPEST = 1.5  # bound of the log-scale after them
SEARCH = 80  # steps at most: bisection alone needs some 60 to double precision, with Newton's method about 10


class Mixture(NamedTuple):
    """What a network says of each number of the half that is changed; all but a and b have a last dimension K."""

    log_weight: Tensor
    mean: Tensor
    log_scale: Tensor
    a: Tensor
    b: Tensor

    @classmethod
    def of(cls, raw: Tensor, components: int) -> Mixture:
        """Return the mixture of a network's output, (B, C (3K + 2), H, W), for halves of C channels."""
        parts = raw.unflatten(1, (-1, 3 * components + 2)).movedim(2, -1)
        weight, mean, scale, ab = parts.split([components, components, components, 2], -1)
        a, b = ab.unbind(-1)
        return cls(weight.log_softmax(-1), mean, soft_bound(scale, SHARPEST), soft_bound(a, STEEPEST), b)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and ``log dz/dx``, each of x's shape."""
        y, slope = self.logit(x)
        return self.a.exp() * (y + self.b), self.a + slope

    def logit(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``y = logit F(x)`` and ``log dy/dx``, each of x's shape."""
        v = (x[..., None] - self.mean) * (-self.log_scale).exp()
        below, above = F.logsigmoid(v), F.logsigmoid(-v)
        log_f, log_rest = ((self.log_weight + part).logsumexp(-1) for part in (below, above))
        density = (self.log_weight + below + above - self.log_scale).logsumexp(-1)
        return log_f - log_rest, density - log_f - log_rest

    def inverse(self, z: Tensor) -> Tensor:
        """Return x, in z's dtype, as exact as that; with gradients for z and for what the mixture is made of."""
        double = Mixture(*(part.double() for part in self))
        y = z.double() * (-double.a).exp() - double.b
        x = double.search(y)
        found, slope = double.logit(x)
        return (x - (found - y) * (-slope.detach()).exp()).to(z.dtype)  # one more step, whose gradients are x's

    @torch.no_grad()
    def search(self, y: Tensor) -> Tensor:
        """Return x with ``logit F(x) = y``, in double; each number's search is its own."""
        ends = self.mean + self.log_scale.exp() * y[..., None]
        low, high = ends.amin(-1), ends.amax(-1)
        x = (low + high) / 2
        for _ in range(SEARCH):
            found, slope = self.logit(x)
            low, high = torch.where(found < y, x, low), torch.where(found > y, x, high)
            step = x - (found - y) * (-slope).exp()
            inside = (step > low) & (step < high)
            there = torch.where(found == y, x, torch.where(inside, step, (low + high) / 2))
            done = (there - x).abs() <= 1e-12 * (1 + x.abs())
            x = torch.where(done, x, there)
            if done.all():
                break
        return x
