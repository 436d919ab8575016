"""Prior, posterior and predictive as one family: a Gaussian that can be conditioned.

With prior z ~ N(mu_0, Sigma_0), evidence zeta_i ~ N(z, Sigma), i = 1..m, mean zeta_bar:

    posterior   Sigma_p = (Sigma_0^-1 + m Sigma^-1)^-1                          (3)
                mu_p    = Sigma_p (Sigma_0^-1 mu_0 + m Sigma^-1 zeta_bar)       (4)
    predictive  N(mu_p, Sigma_p + Sigma)                                   (10)(11)

and with Sigma = lambda I, Sigma_0 = I, k = m / lambda, s = k / (k + 1) = m / (m + lambda):

    mu_p = k zeta_bar / (k + 1) = s zeta_bar,   Sigma_p = I / (k + 1) = (1 - s) I     (7)(8)

Reference: Gambardella, Baydin and Torr 2019, *Transflow Learning*, arXiv 1911.13270.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from transflow.gaussians.covariance import Covariance, DiagonalPlusLowRank, as_covariance
from transflow.gaussians.draws import drawing, normal
from transflow.gaussians.evidence import Evidence
from transflow.plain_values import one_line


@dataclass(frozen=True, eq=False)
class Gaussian:
    """N(mean, covariance) over latents of D numbers, in double.

    Attributes:
        mean: mu, shape (D,).
        covariance: Sigma, of any structure (see `covariance`).

    >>> prior = Gaussian.standard(3)
    >>> evidence = Evidence.of(torch.ones(4, 3))
    >>> prior.condition(evidence, noise=4.0).mean.tolist()     # lambda = m: half way to the evidence
    [0.5, 0.5, 0.5]
    """

    mean: Tensor
    covariance: Covariance

    @classmethod
    def standard(cls, dim: int, device: torch.device | str = "cpu") -> Gaussian:
        """Return N(0, I) over D = dim numbers, a flow's prior."""
        one = torch.ones((), dtype=torch.float64, device=device)
        return cls(torch.zeros(dim, dtype=torch.float64, device=device), DiagonalPlusLowRank(dim, one))

    @classmethod
    def of(cls, mean: Tensor, covariance: float | Tensor | Covariance, factor: Tensor | None = None) -> Gaussian:
        """Return a Gaussian.

        Args:
            mean: mu, shape (D,).
            covariance: a number for a multiple of I, (D,) for a diagonal, (D, D) for a full matrix.
            factor: U, shape (D, r): adds ``U U^T``.
        """
        if mean.ndim != 1:
            raise ValueError(f"Expected a mean of shape (D,); got {tuple(mean.shape)}.")
        return cls(mean.double(), as_covariance(covariance, len(mean), factor, mean.device))

    def __repr__(self) -> str:
        return one_line(self, f"D = {self.dim}", type(self.covariance).__name__, str(self.mean.device))

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    @property
    def is_standard(self) -> bool:
        """Whether this is N(0, I)."""
        return self.covariance.is_identity and not self.mean.any()

    def condition(self, evidence: Evidence, noise: float | Tensor | Covariance) -> Gaussian:
        """Return the posterior of the latent mean given evidence, equations (3) and (4).

        Args:
            evidence: of m latents of D numbers. None at all (m = 0) gives this Gaussian back.
            noise: Sigma, as a number lambda, a diagonal (D,), a full (D, D), or a `Covariance`.

        Raises:
            ValueError: sizes differ, or the noise is not positive definite.
        """
        if evidence.dim != self.dim:
            raise ValueError(f"Expected evidence of D = {self.dim}; got D = {evidence.dim}.")
        sigma = self._noise(noise)
        if not evidence.count:
            return self
        sigma_p = self.covariance.condition(sigma, evidence.count)
        pull = evidence.count * sigma.solve(evidence.mean - self.mean)
        return Gaussian(self.mean + sigma_p.matvec(pull), sigma_p)

    def predictive(self, noise: float | Tensor | Covariance) -> Gaussian:
        """Return the distribution of a new latent, ``N(mu, Sigma_p + Sigma)``, equations (10) and (11).

        Args:
            noise: Sigma, as in `condition`.
        """
        return Gaussian(self.mean, self.covariance + self._noise(noise))

    def log_marginal(self, evidence: Evidence, noise: float | Tensor | Covariance) -> float:
        """Return the log density of all the evidence jointly, the latent mean integrated out, in nats.

        ``log p(zeta_1..m) = log N(zeta_bar; mu_0, Sigma_0 + Sigma/m) - D/2 log m
        - (m-1)/2 log |2 pi Sigma| - tr(Sigma^-1 scatter)/2``.

        Raises:
            ValueError: the noise has off-diagonal entries and the evidence keeps only the diagonal scatter.
        """
        sigma = self._noise(noise)
        m = evidence.count
        if m == 0:
            return 0.0
        of_mean = Gaussian(self.mean, self.covariance + sigma.scaled(1 / m))
        mean_part = of_mean.log_prob(evidence.mean[None])
        zero = sigma.distribution(torch.zeros_like(self.mean))
        log_norm = -zero.log_prob(torch.zeros_like(self.mean))  # log |2 pi Sigma| / 2
        weighted = evidence.structured_scatter.solved_trace(sigma)
        return (mean_part[0] - self.dim / 2 * math.log(m) - (m - 1) * log_norm - weighted / 2).item()

    def log_prob(self, latents: Tensor) -> Tensor:
        """Return the log density of latents (n, D) in nats, shape (n,), double."""
        if latents.ndim != 2 or latents.shape[1] != self.dim:
            raise ValueError(f"Expected latents of shape (n, {self.dim}); got {tuple(latents.shape)}.")
        return self.distribution().log_prob(latents.double())

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, *, seed: int | None = None
    ) -> Tensor:
        """Return n latents, shape (n, D), single precision; the covariance is scaled by temperature squared.

        They are drawn on the generator's device, by default the CPU, and moved to the Gaussian's.

        Args:
            n: number of samples.
            generator: a stream of random numbers to draw from.
            temperature: multiplies the standard deviation; 0 gives the mean.
            seed: of a new generator, where none is given; the same seed gives the same latents on every device.

        Raises:
            ValueError: n or temperature is negative.
        """
        n, temperature, generator = drawing(n, temperature, generator, seed)
        device, rank = self.mean.device, self.covariance.rank
        whole = normal(generator, n, self.dim, device=device)
        low = normal(generator, n, rank, device=device) if rank else None
        return (self.mean + temperature * self.covariance.colour(whole, low)).float()

    def kl(self, other: Gaussian) -> float:
        """Return the divergence KL(self || other) in nats."""
        if other.dim != self.dim:
            raise ValueError(f"Expected a Gaussian of D = {self.dim}; got D = {other.dim}.")
        p, q = self.distribution(), other.distribution()
        if type(p) is not type(q):
            p, q = self.covariance.multivariate_normal(self.mean), other.covariance.multivariate_normal(other.mean)
        return kl_divergence(p, q).item()

    def distribution(self) -> Distribution:
        """Return the same Gaussian as a `torch.distributions.Distribution`."""
        return self.covariance.distribution(self.mean)

    def squared_radius(self) -> float:
        """Return the expected ``|z|^2 / D`` of a sample."""
        return ((self.mean.square().sum() + self.covariance.trace()) / self.dim).item()

    def _noise(self, noise: float | Tensor | Covariance) -> Covariance:
        sigma = as_covariance(noise, self.dim, device=self.mean.device)
        if sigma.variances().device != self.mean.device:
            raise ValueError(f"Expected the noise on {self.mean.device}; got it elsewhere.")
        return sigma


def shrinkage(count: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scalar case of (7)(8) and (10)(11), for the prior N(0, I) and the noise lambda I.

    With ``s = m / (m + lambda)`` the posterior of the mean is ``N(s zeta_bar, (1 - s) I)`` and the predictive of a new
    latent ``N(s zeta_bar, (1 - s + lambda) I)``.

    Args:
        count: m, of any shape.
        lam: lambda, of a shape that broadcasts with it.

    Returns:
        s and the predictive variance ``1 - s + lambda``.
    """
    s = count / (count + lam)
    return s, 1 - s + lam
