"""A Gaussian over latents as standard-normal numbers: z = mu + T L xi, xi ~ N(0, I), L L^T = Sigma.

With Sigma = diag(d) + U U^T there are D + r of them, xi = (a, b) and L xi = sqrt(d) a + U b, so a prior of evidence is
whitened without any matrix of size D x D. Of all xi with the same z, the one nearest to a given xi_0 is

    xi = xi_0 + L^T Sigma^-1 (z - mu - T L xi_0) / T.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.gaussians.gaussian import Gaussian


@dataclass(frozen=True, eq=False)
class Whitened:
    """A Gaussian, whitened.

    Attributes:
        gaussian: N(mu, Sigma).
        temperature: T > 0, which multiplies the standard deviation.
    """

    gaussian: Gaussian
    temperature: float = 1.0

    @property
    def size(self) -> int:
        """How many standard-normal numbers there are: D, and the rank of a low-rank part."""
        return self.gaussian.dim + self.gaussian.covariance.rank

    def latents(self, xi: Tensor) -> Tensor:
        """Return z (n, D), float32, of xi (n, size), with gradients."""
        if self.gaussian.is_standard:
            return (self.temperature * xi).float()
        return (self.gaussian.mean + self.temperature * self._coloured(xi.double())).float()

    def nearest(self, latents: Tensor, xi: Tensor) -> Tensor:
        """Return of all numbers (n, size) that give these latents (n, D) the nearest to xi, in xi's dtype."""
        if self.gaussian.is_standard:
            return latents.to(xi) / self.temperature
        with torch.enable_grad():
            start = xi.detach().double().requires_grad_()
            coloured = self._coloured(start)
            missing = (latents.double() - self.gaussian.mean) / self.temperature - coloured.detach()
            (change,) = torch.autograd.grad(coloured, start, self.gaussian.covariance.solve(missing))
        return (xi.double() + change).to(xi)

    def _coloured(self, xi: Tensor) -> Tensor:
        dim = self.gaussian.dim
        return self.gaussian.covariance.colour(xi[:, :dim], xi[:, dim:] if xi.shape[1] > dim else None)
