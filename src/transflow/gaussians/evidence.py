"""What a set of latents says: count, sum and scatter. Evidence adds, and subtracts.

For latents zeta_1 .. zeta_m, each of D numbers, every closed form needs only

    m,   total = sum_i zeta_i,   scatter = sum_i (zeta_i - zeta_bar)(zeta_i - zeta_bar)^T,

or the diagonal of the scatter where D is large. Two sets merge by (Chan, Golub, LeVeque 1983)

    scatter = scatter_1 + scatter_2 + (m_1 m_2 / m) delta delta^T,   delta = zeta_bar_2 - zeta_bar_1,

and one is taken out of the other by the same formula read backwards. All sums are kept in
double: latents of single precision add up without rounding, so removing restores them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
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

    @classmethod
    def none(cls, dim: int, *, full: bool = False, device: torch.device | str = "cpu") -> Evidence:
        """Return the evidence of no latent at all, which changes nothing it is added to."""
        zeros = torch.zeros(dim, dtype=torch.float64, device=device)
        scatter = zeros.new_zeros(dim, dim) if full else zeros.clone()  # no memory shared: a file has both
        return cls(0, zeros, scatter)

    @classmethod
    def of(cls, latents: Tensor, *, full: bool = False) -> Evidence:
        """Return the evidence of latents.

        Args:
            latents: zeta, shape (m, D), any floating dtype.
            full: keep the whole (D, D) scatter; without it, its diagonal.

        Raises:
            ValueError: the latents are not a matrix of finite numbers.
        """
        if latents.ndim != 2:
            raise ValueError(f"Expected latents of shape (m, D); got {tuple(latents.shape)}.")
        if len(latents) == 0:
            return cls.none(latents.shape[1], full=full, device=latents.device)
        z = latents.double()
        if not torch.isfinite(z).all():
            raise ValueError("Expected finite latents; got NaN or infinity.")
        centred = z - z.mean(0)
        scatter = centred.T @ centred if full else centred.square().sum(0)
        return cls(len(z), z.sum(0), scatter)

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
    def scatter_diagonal(self) -> Tensor:
        """The diagonal of the scatter, shape (D,), double."""
        return self.scatter.diagonal() if self.full else self.scatter

    @property
    def squared_radius(self) -> float:
        """r = |zeta_bar|^2 / D: 1 for one typical latent, falling as differing latents average out."""
        return self.mean.square().mean().item()

    def __add__(self, other: Evidence) -> Evidence:
        self._check(other)
        if not self.count or not other.count:
            return other if not self.count else self
        count = self.count + other.count
        between = self.count * other.count / count * self._square(other.mean - self.mean)
        return Evidence(count, self.total + other.total, self.scatter + other.scatter + between)

    def __sub__(self, other: Evidence) -> Evidence:
        """Take out latents that were added before; the inverse of ``+`` up to rounding in double.

        Raises:
            ValueError: more is taken out than is there, or what is taken out was never in.
        """
        self._check(other)
        if not other.count:
            return self
        count = self.count - other.count
        if count < 0:
            raise ValueError(f"Expected to take out at most {self.count} latents; got {other.count}.")
        rest = Evidence(count, self.total - other.total, self.scatter)
        between = count * other.count / self.count * self._square(other.mean - rest.mean)
        scatter = self.scatter - other.scatter - between
        # What was in leaves no negative scatter, and nothing at all where it was the last; the
        # slack is for latents encoded twice, which differ by single precision.
        slack = 1e-4 * (self.scatter_diagonal + self.count * self.mean.square())
        slack = slack + slack.mean()
        diagonal = scatter.diagonal() if self.full else scatter
        if (-diagonal > slack).any() or (count == 0 and (rest.total.square() > slack).any()):
            raise ValueError("Expected to take out latents that are part of this evidence; got some that never were.")
        if count == 0:
            return Evidence.none(self.dim, full=self.full, device=self.total.device)
        return Evidence(count, rest.total, scatter if self.full else scatter.clamp(min=0))

    def _square(self, delta: Tensor) -> Tensor:
        return torch.outer(delta, delta) if self.full else delta.square()

    def _check(self, other: Evidence) -> None:
        if not isinstance(other, Evidence):
            raise TypeError(f"Expected Evidence; got {type(other).__name__}.")
        if (self.dim, self.full) != (other.dim, other.full):
            raise ValueError(
                f"Expected evidence of D = {self.dim}, {'full' if self.full else 'diagonal'} scatter; "
                f"got D = {other.dim}, {'full' if other.full else 'diagonal'} scatter."
            )
