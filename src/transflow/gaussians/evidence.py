"""Sufficient statistics of a set of latents: count, sum and scatter. Evidence adds, and subtracts.

For latents zeta_1 .. zeta_m, each of D numbers, every closed form needs only

    m,   total = sum_i zeta_i,   scatter = sum_i (zeta_i - zeta_bar)(zeta_i - zeta_bar)^T,

or the diagonal of the scatter where D is large (see `scatter`). Two sets merge by

    scatter = scatter_1 + scatter_2 + (m_1 m_2 / m) delta delta^T,   delta = zeta_bar_2 - zeta_bar_1,

and one is taken out of the other by the same formula solved for scatter_1. All sums are kept in
double: latents of single precision add up without rounding, so removing restores them.

Reference: Chan, Golub and LeVeque 1983, *Algorithms for computing the sample variance*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transflow.gaussians.scatter import Scatter, as_scatter, structure
from transflow.plain_values import one_line, whole


@dataclass(frozen=True, eq=False)
class Evidence:
    """Sufficient statistics of m latents of D numbers each.

    Attributes:
        count: m, the number of latents.
        total: their sum, shape (D,), double.
        scatter: the sum of squared deviations from the mean, double: shape (D,) for its
            diagonal alone, or (D, D) for the whole matrix.

    >>> z = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    >>> both = Evidence.of(z[:1]) + Evidence.of(z[1:])
    >>> both.count, both.mean.tolist(), both.scatter.tolist()
    (2, [2.0, 2.0], [2.0, 0.0])
    >>> (both - Evidence.of(z[1:])).mean.tolist()
    [1.0, 2.0]
    """

    count: int
    total: Tensor
    scatter: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", whole(self.count, "the count of latents"))
        for name in ("total", "scatter"):
            tensor = getattr(self, name)
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.ndim not in (1, 2):
                got = f"{tensor.dtype} {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
                raise ValueError(f"Expected {name} as a vector or matrix of floats; got {got}.")
            object.__setattr__(self, name, tensor.double())
        dim = len(self.total)
        if self.total.ndim != 1 or self.scatter.shape not in ((dim,), (dim, dim)):
            got = f"{tuple(self.total.shape)} and {tuple(self.scatter.shape)}"
            raise ValueError(f"Expected a total (D,) and a scatter (D,) or (D, D); got {got}.")
        if self.total.device.type != "cpu":  # a look at numbers there would wait for all that is computed
            return
        spread = self.scatter if self.scatter.ndim == 1 else self.scatter.diagonal()
        rounding = 1e-6 * (spread.abs().amax() + self.total.square().amax() + 1e-3) if dim else 0.0
        if not (self.total.isfinite().all() and self.scatter.isfinite().all() and (spread >= -rounding).all()):
            raise ValueError("Expected a finite total, and a finite scatter of 0 or more; got others.")

    @classmethod
    def none(cls, dim: int, *, full: bool = False, device: torch.device | str = "cpu") -> Evidence:
        """Return the evidence of no latent, the neutral element of addition."""
        zeros = torch.zeros(dim, dtype=torch.float64, device=device)
        return cls(0, zeros, structure(full).zeros(dim, device).tensor)

    @classmethod
    def of(cls, latents: Tensor | NDArray[Any], *, full: bool = False) -> Evidence:
        """Return the evidence of latents.

        Args:
            latents: zeta, shape (m, D), a tensor or an array of any dtype of real numbers.
            full: keep the whole (D, D) scatter; without it, its diagonal.

        Raises:
            ValueError: the latents are not a matrix of finite numbers.
        """
        if isinstance(latents, np.ndarray):
            latents = torch.from_numpy(np.ascontiguousarray(latents))
        if not isinstance(latents, Tensor) or latents.is_complex():
            raise ValueError(f"Expected latents as a tensor or an array (m, D); got {type(latents).__name__}.")
        if latents.ndim != 2:
            raise ValueError(f"Expected latents of shape (m, D); got {tuple(latents.shape)}.")
        if len(latents) == 0:
            return cls.none(latents.shape[1], full=full, device=latents.device)
        z = latents.double()
        if not torch.isfinite(z).all():
            raise ValueError("Expected finite latents; got NaN or infinity.")
        return cls(len(z), z.sum(0), structure(full).of(z - z.mean(0)).tensor)

    @classmethod
    def stream(cls, batches: Iterable[Tensor], *, full: bool = False) -> Evidence:
        """Return the evidence of batches of latents, each (b, D), in memory that does not grow with them."""
        evidence: Evidence | None = None
        for batch in batches:
            part = cls.of(batch, full=full)
            evidence = part if evidence is None else evidence + part
        if evidence is None:
            raise ValueError("Expected at least one batch of latents; got none.")
        return evidence

    @property
    def dim(self) -> int:
        """D, the length of a latent."""
        return len(self.total)

    @property
    def full(self) -> bool:
        """Whether the whole scatter matrix is kept."""
        return self.scatter.ndim == 2

    @property
    def mean(self) -> Tensor:
        """zeta_bar, shape (D,), double; zeros where there is no evidence."""
        return self.total / max(self.count, 1)

    @property
    def structured_scatter(self) -> Scatter:
        """The scatter with its algebra (see `scatter`)."""
        return as_scatter(self.scatter)

    @property
    def scatter_diagonal(self) -> Tensor:
        """The diagonal of the scatter, shape (D,), double."""
        return as_scatter(self.scatter).diagonal()

    @property
    def squared_radius(self) -> float:
        """r = |zeta_bar|^2 / D: 1 for one typical latent, falling as differing latents average out."""
        return self.mean.square().mean().item()

    def __repr__(self) -> str:
        return one_line(
            self, f"{self.count} latents", f"D = {self.dim}", f"{self.structured_scatter.structure} scatter"
        )

    def __add__(self, other: Evidence) -> Evidence:
        self._check(other)
        if not self.count or not other.count:
            return other if not self.count else self
        count = self.count + other.count
        weight = self.count * other.count / count
        scatter = self.structured_scatter.plus(other.structured_scatter, weight, other.mean - self.mean)
        return Evidence(count, self.total + other.total, scatter.tensor)

    def __sub__(self, other: Evidence) -> Evidence:
        """Remove latents that were added before; the inverse of ``+`` up to rounding in double.

        Raises:
            ValueError: more latents are removed than there are, or some that were never added.
        """
        self._check(other)
        if not other.count:
            return self
        count = self.count - other.count
        if count < 0:
            raise ValueError(f"Expected to remove at most {self.count} latents; got {other.count}.")
        rest = Evidence(count, self.total - other.total, self.scatter)
        weight = count * other.count / self.count
        scatter = self.structured_scatter.minus(other.structured_scatter, weight, other.mean - rest.mean)
        # Latents that were added leave no negative scatter, and nothing at all where they were the
        # last; the slack is for latents encoded twice, which differ by single precision.
        slack = 1e-4 * (self.scatter_diagonal + self.count * self.mean.square())
        slack = slack + slack.mean()
        if (-scatter.diagonal() > slack).any() or (count == 0 and (rest.total.square() > slack).any()):
            raise ValueError("Expected to remove latents that are in this evidence; got some that are not.")
        if count == 0:
            return Evidence.none(self.dim, full=self.full, device=self.total.device)
        return Evidence(count, rest.total, scatter.clipped().tensor)

    def _check(self, other: Evidence) -> None:
        if not isinstance(other, Evidence):
            raise TypeError(f"Expected Evidence; got {type(other).__name__}.")
        mine, theirs = self.structured_scatter.structure, other.structured_scatter.structure
        if (self.dim, mine) != (other.dim, theirs):
            raise ValueError(
                f"Expected evidence of D = {self.dim}, {mine} scatter; got D = {other.dim}, {theirs} scatter."
            )
