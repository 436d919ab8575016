"""Fixed points by Anderson acceleration, each picture of a batch by itself.

To solve F(x) = y with f(x) = (y - F(x)) / a, the plain iteration is x + f(x). Anderson's is

    x + f - (dX + dF) gamma,   gamma = argmin |f - dF gamma|,

dX and dF the last few differences of iterates and of f. A picture that has stopped getting better starts once more
from its best iterate with an empty memory, and is left at its best iterate after that. Pictures that are done leave
the batch, so that they are what they would be alone, and cost nothing.

Reference: Walker and Ni 2011, *Anderson acceleration for fixed-point iterations*, SIAM J. Numer. Anal. 49.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = {torch.float32: 3e-7, torch.float64: 1e-13}


@dataclass(frozen=True)
class Solver:
    """How far a step is solved, and when that is given up.

    Attributes:
        tolerance: stop at this ``max |F(x) - y|``; None is 3e-7 in float32 and 1e-13 in float64.
        bound: the largest residual of a picture that counts as solved where it could not be made smaller.
        limit: evaluations of F, at most.
        memory: how many differences Anderson's step is made of.
        patience: evaluations without a smaller residual before the restart, and again before the end.
    """

    tolerance: float | None = None
    bound: float = 1e-5
    limit: int = 60
    memory: int = 3
    patience: int = 10

    def solve(
        self, function: Callable[[Tensor], Tensor], a: float, y: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return x with F(x) = y, the residual ``max |F(x) - y|`` (B,), and the evaluations (B,), long.

        Args:
            function: F, (B, ...) to (B, ...), of which a picture's value depends on that picture alone.
            a: a number that F's derivative is near to.
            y: (B, ...).
            start: where to begin, (B, ...).
        """
        tolerance = TOLERANCE.get(y.dtype, 3e-7) if self.tolerance is None else self.tolerance
        solution = start.clone()
        residual = torch.full((len(y),), torch.inf, dtype=y.dtype, device=y.device)
        evaluations = torch.zeros(len(y), dtype=torch.long, device=y.device)
        live, stale = torch.arange(len(y), device=y.device), torch.zeros_like(evaluations)
        restarted, smallest = torch.zeros_like(live, dtype=torch.bool), residual.clone()
        x, best, best_f, old_x, old_f = start, start, torch.zeros_like(start), start, start
        dx = df = torch.zeros(len(y), self.memory, y[:1].numel(), dtype=y.dtype, device=y.device)
        for k in range(self.limit):
            f = (y - function(x)) / a
            size = (f * a).abs().flatten(1).amax(1)
            evaluations[live] += 1
            better = size < smallest  # NaN is never better
            smallest, stale = torch.where(better, size, smallest), torch.where(better, 0, stale + 1)
            best, best_f = _where(better, x, best), _where(better, f, best_f)
            if k:
                dx, df = _push(dx, x - old_x), _push(df, f - old_f)
            stuck = (stale >= self.patience) | ~size.isfinite()
            again, done = stuck & ~restarted, (smallest <= tolerance) | (stuck & restarted)
            x, f = _where(again, best, x), _where(again, best_f, f)
            dx, df = (_where(again, torch.zeros_like(d), d) for d in (dx, df))
            restarted, stale = restarted | again, torch.where(again, 0, stale)
            solution[live], residual[live] = best, smallest
            if done.all():
                break
            keep = ~done
            live, y, x, f, best, best_f = (v[keep] for v in (live, y, x, f, best, best_f))
            dx, df, smallest, stale, restarted = (v[keep] for v in (dx, df, smallest, stale, restarted))
            old_x, old_f, x = x, f, x + f - _mixed(dx, df, f).view(x.shape)
        return solution, residual, evaluations


def _where(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Return the pictures of one batch where the mask (n,) holds, of the other elsewhere."""
    return torch.where(mask.view(-1, *[1] * (yes.ndim - 1)), yes, no)


def _push(differences: Tensor, new: Tensor) -> Tensor:
    """Return differences (n, memory, D) without the oldest and with a new one (n, ...)."""
    return torch.cat([differences[:, 1:], new.flatten(1)[:, None]], 1)


def _mixed(dx: Tensor, df: Tensor, f: Tensor) -> Tensor:
    """Return (dX + dF) gamma, (n, D); the small system is solved in double, where zeros count for nothing."""
    wide = df.double()
    gram = wide @ wide.mT
    ridge = 1e-12 * gram.diagonal(dim1=1, dim2=2).sum(1) + 1e-300
    gram = gram + ridge[:, None, None] * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    gamma = torch.linalg.solve(gram, wide @ f.flatten(1).double()[:, :, None])
    return ((dx + df).mT @ gamma.to(dx.dtype))[:, :, 0]
