"""Mean and covariance of latents both unknown: the normal-inverse-Wishart family, centred on the model's prior.

    Sigma ~ IW(Psi, n + D + 1),   mu | Sigma ~ N(mu_0, Sigma / kappa),   E Sigma = Psi / n,

beforehand mu_0 = 0, kappa = kappa_0 and Psi = n_0 I: E Sigma = I, as if seen n_0 times. With m latents of mean zeta_bar
and scatter S,

    kappa' = kappa + m,   n' = n + m,   mu' = (kappa mu_0 + m zeta_bar) / kappa',
    Psi' = Psi + S + kappa m / kappa' (zeta_bar - mu_0)(zeta_bar - mu_0)^T,

so that the expected covariance is (n_0 I + S + kappa_0 m / (kappa_0 + m) zeta_bar zeta_bar^T) / (n_0 + m), and a new
latent is a multivariate t of n' + 2 degrees of freedom, location mu' and shape (1 + 1 / kappa') Psi' / (n' + 2). All
latents together have the density

    pi^(-mD/2) (kappa / kappa')^(D/2) |Psi|^(nu/2) / |Psi'|^(nu'/2) Gamma_D(nu'/2) / Gamma_D(nu/2),   nu = n + D + 1.

S adds, so evidence goes in and out exactly. Psi stays diag + F^T F with a row of F for each latent and one for their
mean. For E Sigma = lambda I, kappa_0 = lambda and n_0 to infinity these are the paper's posterior and predictive.

Reference: Gelman et al. 2013, *Bayesian data analysis*, section 3.6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from torch import Tensor

from transflow.gaussians.covariance import DiagonalPlusLowRank
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.factor import without
from transflow.gaussians.student import StudentT

Number = TypeVar("Number", float, Tensor)


@dataclass(frozen=True, eq=False)
class InverseWishart:
    """Normal-inverse-Wishart distribution of a mean and a covariance, in double.

    Attributes:
        mean: mu_0, shape (D,).
        kappa: pseudo-observations of the mean, above 0.
        weight: n, pseudo-observations of the covariance, above 0.
        diagonal: of Psi: shape () for a multiple of I, else (D,).
        factor: F, shape (r, D), with ``Psi = diag + F^T F``.

    >>> prior = InverseWishart.prior(2, kappa=1.0, weight=4.0)
    >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> posterior = prior.condition(Evidence.of(z), z - z.mean(0))
    >>> posterior.mean.tolist(), posterior.predictive.freedom
    ([0.3333333333333333, 0.3333333333333333], 8.0)
    """

    mean: Tensor
    kappa: float
    weight: float
    diagonal: Tensor
    factor: Tensor

    @classmethod
    def prior(
        cls, dim: int, kappa: float, weight: float, scale: float = 1.0, device: torch.device | str = "cpu"
    ) -> Self:
        """Return what is known before any latent: mean 0, ``E Sigma = scale I``.

        Args:
            dim: D.
            kappa: kappa_0, above 0.
            weight: n_0, above 0.
            scale: of the expected covariance; 1 for the model's own.
            device: where the statistics are kept.
        """
        for name, value in (("kappa", kappa), ("weight", weight), ("scale", scale)):
            if not 0 < value < math.inf:
                raise ValueError(f"Expected a {name} above 0; got {value}.")
        zeros = torch.zeros(dim, dtype=torch.float64, device=device)
        return cls(zeros, kappa, weight, zeros.new_tensor(weight * scale), zeros.new_zeros(0, dim))

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def condition(self, evidence: Evidence, deviations: Tensor) -> Self:
        """Return the posterior given m more latents.

        Args:
            evidence: their count and mean.
            deviations: A, shape (r, D), with ``A^T A = S``: the rows zeta_i - zeta_bar, or a sketch's factor.
        """
        m = self._checked(evidence, deviations)
        if not m:
            return self
        share, pull = shrinkage_and_pull(self.kappa, m)
        gap = evidence.mean - self.mean
        rows = torch.cat([self.factor, deviations.double(), math.sqrt(pull) * gap[None]])
        if len(rows) > self.dim:
            rows = torch.linalg.qr(rows, mode="r").R
        return type(self)(self.mean + share * gap, self.kappa + m, self.weight + m, self.diagonal, rows)

    def remove(self, evidence: Evidence, deviations: Tensor) -> Self:
        """Return the distribution without m latents that were added before, up to rounding.

        Raises:
            ValueError: they were never added.
        """
        m = self._checked(evidence, deviations)
        if not m:
            return self
        wrong = ValueError("Expected to remove latents that are in this evidence; got some that are not.")
        kappa, weight = self.kappa - m, self.weight - m
        if kappa <= 0 or weight <= 0:
            raise wrong
        mean = (self.kappa * self.mean - m * evidence.mean) / kappa
        gap = math.sqrt(shrinkage_and_pull(kappa, m)[1]) * (evidence.mean - mean)
        rows = without(self.factor, torch.cat([deviations.double(), gap[None]]))
        if rows is None:
            raise wrong
        return type(self)(mean, kappa, weight, self.diagonal, rows)

    @property
    def expected_covariance(self) -> DiagonalPlusLowRank:
        """``E Sigma = Psi / n``."""
        return self._psi(self.weight)

    @property
    def of_mean(self) -> StudentT:
        """The distribution of the mean mu alone: a t of shape ``Psi / (kappa (n + 2))``."""
        return StudentT(self.mean, self._psi(self.kappa * (self.weight + 2)), self.weight + 2)

    @property
    def predictive(self) -> StudentT:
        """The distribution of one more latent: a t of shape ``(1 + 1 / kappa) Psi / (n + 2)``."""
        freedom = self.weight + 2
        return StudentT(self.mean, self._psi(freedom / (1 + 1 / self.kappa)), freedom)

    def log_marginal(self, evidence: Evidence, deviations: Tensor) -> float:
        """Return the log density of all these latents jointly, mean and covariance integrated out, in nats."""
        after, m, dim = self.condition(evidence, deviations), evidence.count, self.dim
        ratio = dim / 2 * (math.log(self.kappa / after.kappa) - m * math.log(math.pi))
        return ratio + after._log_normaliser() - self._log_normaliser()

    def _log_normaliser(self) -> float:
        """``log Gamma_D(nu/2) - nu/2 log |Psi|``, without what cancels in a ratio."""
        nu = self.weight + self.dim + 1
        steps = torch.arange(self.dim, dtype=torch.float64, device=self.mean.device)
        log_det = self.diagonal.expand(self.dim).log().sum()
        if len(self.factor):
            inner = self.factor @ (self.factor / self.diagonal).T
            inner.diagonal().add_(1)
            log_det = log_det + 2 * torch.linalg.cholesky(inner).diagonal().log().sum()
        return (torch.lgamma((nu - steps) / 2).sum() - nu / 2 * log_det).item()

    def _psi(self, divisor: float) -> DiagonalPlusLowRank:
        factor = (self.factor / math.sqrt(divisor)).T if len(self.factor) else None
        return DiagonalPlusLowRank(self.dim, self.diagonal / divisor, factor)

    def _checked(self, evidence: Evidence, deviations: Tensor) -> int:
        if evidence.dim != self.dim or deviations.ndim != 2 or deviations.shape[1] != self.dim:
            raise ValueError(
                f"Expected evidence of D = {self.dim} and deviations of shape (r, {self.dim}); got D = {evidence.dim} "
                f"and {tuple(deviations.shape)}."
            )
        return evidence.count


def shrinkage_and_pull(kappa: Number, count: Number) -> tuple[Number, Number]:
    """Return ``m / (kappa + m)``, by which the mean moves to zeta_bar, and ``kappa m / (kappa + m)``.

    The second is the weight of ``(zeta_bar - mu_0)(zeta_bar - mu_0)^T`` beside the scatter.

    Args:
        kappa: pseudo-observations of the mean before.
        count: m; both numbers, or both tensors of shapes that broadcast.
    """
    return count / (kappa + count), kappa * count / (kappa + count)
