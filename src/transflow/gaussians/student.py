"""The multivariate Student t, what is predicted of a latent where its covariance is itself uncertain.

    log t(z) = log Gamma((nu + D) / 2) - log Gamma(nu / 2) - (D log(nu pi) + log |V| + (nu + D) log(1 + q / nu)) / 2,
    q = (z - mu)^T V^-1 (z - mu),

of nu degrees of freedom, location mu and shape V; for nu > 2 its covariance is nu / (nu - 2) V. A draw is one of
N(0, V) times sqrt(nu / chi^2_nu), one chi^2_nu for all D numbers. V has any structure of `covariance`.

Reference: Kotz and Nadarajah 2004, *Multivariate t distributions and their applications*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.gaussians.covariance import Covariance
from transflow.gaussians.draws import drawing
from transflow.gaussians.gaussian import Gaussian


@dataclass(frozen=True, eq=False)
class StudentT:
    """The multivariate t of location mu, shape V and nu degrees of freedom, in double.

    Attributes:
        mean: mu, shape (D,).
        shape: V, of any structure.
        freedom: nu, above 0.

    >>> t = StudentT(torch.zeros(1).double(), Gaussian.standard(1).covariance, 1.0)
    >>> round(t.log_prob(torch.zeros(1, 1)).exp().item() * math.pi, 6)     # Cauchy
    1.0
    """

    mean: Tensor
    shape: Covariance
    freedom: float

    def __post_init__(self) -> None:
        if not 0 < self.freedom < math.inf:
            raise ValueError(f"Expected degrees of freedom above 0; got {self.freedom}.")

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    @property
    def covariance(self) -> Covariance:
        """``nu / (nu - 2) V``.

        Raises:
            ValueError: nu is 2 or less.
        """
        if self.freedom <= 2:
            raise ValueError(f"Expected more than 2 degrees of freedom for a covariance; got {self.freedom:g}.")
        return self.shape.scaled(self.freedom / (self.freedom - 2))

    @property
    def gaussian(self) -> Gaussian:
        """The Gaussian of the same mean and covariance."""
        return Gaussian(self.mean, self.covariance)

    def log_prob(self, latents: Tensor) -> Tensor:
        """Return the log density of latents (n, D) in nats, shape (n,), double."""
        normal = Gaussian(self.mean, self.shape)
        top = normal.log_prob(self.mean[None])  # -log |2 pi V| / 2
        square = (2 * (top - normal.log_prob(latents))).clamp(min=0)
        freedom = torch.as_tensor(self.freedom, dtype=square.dtype, device=square.device)
        constant = top + self.dim / 2 * math.log(2)  # the t's own pi is in it
        return log_density(square, freedom, 1.0, self.dim) + constant

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, *, seed: int | None = None
    ) -> Tensor:
        """Return n latents, shape (n, D), single precision; temperature multiplies what is added to the mean."""
        n, temperature, generator = drawing(n, temperature, generator, seed)
        zero = Gaussian(torch.zeros_like(self.mean), self.shape)
        deviations = zero.sample(n, generator, temperature).double()
        half = torch.full((n,), self.freedom / 2, dtype=torch.float64, device=generator.device)
        stretch = (self.freedom / 2 / torch._standard_gamma(half, generator=generator)).sqrt()
        return (self.mean + stretch[:, None].to(self.mean) * deviations).float()

    def squared_radius(self) -> float:
        """Return the expected ``|z|^2 / D`` of a sample."""
        return self.gaussian.squared_radius()


def log_density(square: Tensor, freedom: Tensor, scale: Tensor | float, dim: int) -> Tensor:
    """Return the log density of a t of shape ``scale V``, without ``-(log |V| + D log pi) / 2``.

    Args:
        square: q by V alone, of any shape.
        freedom: nu, of a shape that broadcasts with it.
        scale: a number, or of a shape that broadcasts with it.
        dim: D.
    """
    half, total = freedom / 2, freedom * scale
    norm = torch.lgamma(half + dim / 2) - torch.lgamma(half) - dim / 2 * torch.log(total)
    return norm - (half + dim / 2) * torch.log1p(square / total)
