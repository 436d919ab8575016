"""The minimum of a function from each of many starts at once: L-BFGS in one batch, each row for itself.

    x' = x + t d,   d = -H g,   H of the last pairs (x' - x, g' - g) of the row, from which H_0 = (s.y / y.y) I

A row takes the whole step if it lowers the function enough (Armijo), else a shorter one by a parabola; what the rows
still ask for is evaluated in one call. A row whose last steps lowered the function by less than a tolerance is done and
is evaluated no more, so a batch costs what its rows need.

Reference: Liu and Nocedal 1989, *On the limited memory BFGS method for large scale optimization*, Math. Program. 45.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

HISTORY = 20  # pairs of each row
SHORTENED = 10  # times a step is shortened at most
ENOUGH = 1e-4  # share of the decrease that the slope promises
CALM = 2  # steps below the tolerance, one after the other, after which a row is done

Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the rows ended.

    Attributes:
        points: (n, D).
        values: of the function, (n,), double.
        evaluations: how many each row took, (n,).
    """

    points: Tensor
    values: Tensor
    evaluations: Tensor


def minimise(function: Function, starts: Tensor, steps: int, tolerance: float) -> Minimum:
    """Return where each row ends.

    Args:
        function: of points (k, D) and the numbers of their rows (k,): values (k,), double, and gradients (k, D). A
            value that is not finite makes the step shorter.
        starts: (n, D).
        steps: of each row, at most.
        tolerance: a row is done once two steps in turn lower the function by less.
    """
    x = starts.clone()
    every = torch.arange(len(x), device=x.device)
    f, g = function(x, every)
    taken = torch.ones_like(every)
    calm = torch.zeros_like(every)
    pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=HISTORY)
    scale = 1 / g.norm(dim=1).clamp(min=1)
    for _ in range(steps):
        rows = (calm < CALM).nonzero()[:, 0]
        if not len(rows):
            break
        direction = -_times_inverse(pairs, rows, g[rows], scale[rows])
        slope = (direction * g[rows]).sum(1).double()
        wrong = slope >= 0
        direction[wrong] = -g[rows[wrong]] * scale[rows[wrong], None]
        slope = (direction * g[rows]).sum(1).double()
        x_old, f_old, g_old = x.clone(), f.clone(), g.clone()
        _search(function, rows, direction, slope, (x, f, g), taken)
        s, y = x - x_old, g - g_old
        curved = (s * y).sum(1)
        length = y.square().sum(1)
        fine = curved > 1e-10 * length
        pairs.append((s, y, torch.where(fine, 1 / curved.clamp(min=1e-30), 0)))
        scale = torch.where(fine, curved / length.clamp(min=1e-30), scale)
        calm = torch.where(f_old - f < tolerance, calm + 1, 0)
    return Minimum(x, f, taken)


def _times_inverse(
    pairs: deque[tuple[Tensor, Tensor, Tensor]], rows: Tensor, gradient: Tensor, scale: Tensor
) -> Tensor:
    """``H g`` of some rows, by the two loops over the pairs."""
    q, kept = gradient.clone(), []
    for s, y, weight in reversed(pairs):
        a = weight[rows] * (s[rows] * q).sum(1)
        q -= a[:, None] * y[rows]
        kept.append(a)
    q *= scale[:, None]
    for (s, y, weight), a in zip(pairs, reversed(kept), strict=True):
        b = weight[rows] * (y[rows] * q).sum(1)
        q += (a - b)[:, None] * s[rows]
    return q


def _search(
    function: Function,
    rows: Tensor,
    direction: Tensor,
    slope: Tensor,
    at: tuple[Tensor, Tensor, Tensor],
    taken: Tensor,
) -> None:
    """Move rows of points, values and gradients along their directions, each as far as lowers its value enough."""
    x, f, g = at
    length = torch.ones_like(slope)
    waiting = torch.arange(len(rows), device=rows.device)
    for _ in range(SHORTENED):
        there, t, falls = rows[waiting], length[waiting], slope[waiting]
        tried = x[there] + t[:, None].to(x) * direction[waiting]
        value, gradient = function(tried, there)
        taken[there] += 1
        fine = value.isfinite() & (value <= f[there] + ENOUGH * t * falls)
        parabola = (-falls * t.square() / (2 * (value - f[there] - falls * t))).nan_to_num(0.0)
        length[waiting] = torch.where(fine, t, parabola.clamp(0.1 * t, 0.5 * t))
        moved = there[fine]
        x[moved], f[moved], g[moved] = tried[fine], value[fine], gradient[fine]
        waiting = waiting[~fine]
        if not len(waiting):
            return
