"""How latents vary, in a stated number of rows whatever their number: a sketch that streams and merges.

Of m latents the count, mean and diagonal of the scatter S are kept exactly (`Evidence`), and S as B^T B with B of at
most k rows, by frequent directions: sketches join as evidence does,

    B = [B_1; B_2; sqrt(m_1 m_2 / m) (zeta_bar_2 - zeta_bar_1)],

and of more than k rows the eigenvalues are made less by the (k+1)-th (see `factor`). What each such step takes is
summed as `lost`, so that always

    0 <= S - B^T B <= lost I,   lost <= (sum of the eigenvalues of S from the (j+1)-th on) / (k + 1 - j),   j <= k,

in whatever order and from however many workers. Up to k latents nothing is lost. `Learned` takes the sketch's rows for
deviations: the variance that they miss is in its isotropic part.

Reference: Ghashami, Liberty, Phillips and Woodruff 2016, *Frequent directions*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from transflow.gaussians.evidence import Evidence
from transflow.gaussians.factor import limited, without

ROWS = 256  # 403 MB of 196,608 numbers


@dataclass(frozen=True, eq=False)
class Sketch:
    """Count, mean and variances of latents exactly, and their scatter by at most so many rows.

    Attributes:
        evidence: statistics of the latents, with the diagonal of their scatter.
        factor: B, shape (r, D), r at most ``rows``, double.
        rows: k, 1 or more.
        lost: the largest eigenvalue of ``S - B^T B`` at most.

    >>> z = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    >>> sketch = Sketch.of(z[:20], rows=4) + Sketch.of(z[20:], rows=4)
    >>> sketch.evidence.count, tuple(sketch.factor.shape)
    (50, (4, 8))
    """

    evidence: Evidence
    factor: Tensor
    rows: int = ROWS
    lost: float = 0.0

    @classmethod
    def none(cls, dim: int, rows: int = ROWS, device: torch.device | str = "cpu") -> Self:
        """Return the sketch of no latent, the neutral element of addition."""
        if rows < 1 or int(rows) != rows:
            raise ValueError(f"Expected a sketch of 1 row or more; got {rows}.")
        evidence = Evidence.none(dim, device=device)
        return cls(evidence, evidence.total.new_zeros(0, dim), rows)

    @classmethod
    def of(cls, latents: Tensor, rows: int = ROWS) -> Self:
        """Return the sketch of latents, shape (m, D)."""
        evidence = Evidence.of(latents)
        empty = cls.none(evidence.dim, rows, latents.device)
        return empty._of(evidence, latents.double() - evidence.mean, 0.0)

    @classmethod
    def stream(cls, batches: Iterable[Tensor], rows: int = ROWS) -> Self:
        """Return the sketch of batches of latents, each (b, D), in memory that does not grow with them."""
        sketch: Self | None = None
        for batch in batches:
            part = cls.of(batch, rows)
            sketch = part if sketch is None else sketch + part
        if sketch is None:
            raise ValueError("Expected at least one batch of latents; got none.")
        return sketch

    @property
    def missing(self) -> float:
        """The variance that B misses, ``tr(S - B^T B) / tr S``, of 0 to 1; exact."""
        total = self.evidence.scatter_diagonal.sum().item()
        return max(0.0, 1 - self.factor.square().sum().item() / total) if total > 0 else 0.0

    def __add__(self, other: Self) -> Self:
        if other.rows != self.rows:
            raise ValueError(f"Expected two sketches of as many rows; got {self.rows} and {other.rows}.")
        a, b = self.evidence, other.evidence
        both = a + b
        if not a.count or not b.count:
            return self if a.count else other
        step = math.sqrt(a.count * b.count / both.count) * (b.mean - a.mean)
        return self._of(both, torch.cat([self.factor, other.factor, step[None]]), self.lost + other.lost)

    def __sub__(self, other: Self) -> Self:
        """Remove latents that were added before, where neither sketch has lost anything.

        Raises:
            ValueError: something is lost, or they were never added.
        """
        if self.lost or other.lost:
            raise ValueError(
                f"Expected evidence of at most {self.rows} pictures, from which pictures can be taken out exactly; got "
                f"{self.evidence.count}, of which the {self.rows} leading directions are kept. Start anew without them."
            )
        a, b = self.evidence, other.evidence
        rest = a - b
        if not b.count or not rest.count:
            return self if not b.count else type(self).none(a.dim, self.rows, a.total.device)
        step = math.sqrt(rest.count * b.count / a.count) * (b.mean - rest.mean)
        factor = without(self.factor, torch.cat([other.factor, step[None]]))
        if factor is None:
            raise ValueError("Expected to remove latents that are in this evidence; got some that are not.")
        return self._of(rest, factor, 0.0)

    def _of(self, evidence: Evidence, factor: Tensor, lost: float) -> Self:
        factor, more = limited(factor, self.rows)
        return type(self)(evidence, factor, self.rows, lost + more)
