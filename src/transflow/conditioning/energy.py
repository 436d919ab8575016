"""How badly a picture's whitened latent agrees with what is known of it, and with a point of the prior, in nats.

    E(xi) = |A f(z(xi)) - y|^2 / (2 sigma^2) + |xi - xi_0|^2 / 2

With y as observed and xi_0 = 0 it is minus the log posterior, but for a constant; with both perturbed, what one draw of
randomise-then-optimise minimises. Near a minimum its curvature along each number is about one and the squared length of
the picture's derivative,

    d^2 E / d xi_j^2 = 1 + |A f' e_j|^2 / sigma^2,

which random signs v estimate (Hutchinson): the mean of (v^T A f')_j^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.conditioning.operators import Operator, apply
from transflow.conditioning.whitened import Whitened

STEEPEST = 1e12  # curvature at most
FAR = 20.0  # standard deviations of the prior from which on a number of xi is not tried
PROBES = 16  # random signs, over all rows


@dataclass(frozen=True, eq=False)
class Energy:
    """E of n rows at once, each with its own y and xi_0.

    Attributes:
        model: f.
        operator: A.
        prior: z of xi.
        target: y, (n, P), P numbers observed.
        centre: xi_0, (n, size).
        sigma: standard deviation of the noise on y, in units of the range of pixels.
    """

    model: BaseModel
    operator: Operator
    prior: Whitened
    target: Tensor
    centre: Tensor
    sigma: float

    def observed(self, xi: Tensor) -> Tensor:
        """Return A f(z(xi)), (k, P), of points (k, size), with gradients."""
        return apply(self.operator, self.model.decode_unclamped(self.prior.latents(xi))).flatten(1)

    def __call__(self, xi: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return E, (k,), double, and its gradient, (k, size), of points of some rows; infinite far off."""
        near = (xi.abs() < FAR).all(1)
        if not near.all():
            energy = torch.full((len(xi),), torch.inf, dtype=torch.float64, device=xi.device)
            gradient = torch.zeros_like(xi)
            if near.any():
                energy[near], gradient[near] = self(xi[near], rows[near])
            return energy, gradient
        with torch.enable_grad():
            xi = xi.detach().requires_grad_()
            residual = (self.observed(xi) - self.target[rows]) / self.sigma
            from_centre = xi - self.centre[rows]
            misfit = residual.double().square().sum(1) / 2
            gradient = self._gradient(misfit.sum(), xi) + from_centre.detach()
            energy = (misfit + from_centre.double().square().sum(1) / 2).detach()
        steep = ~(gradient.isfinite().all(1) & energy.isfinite())  # beyond what the dtype holds
        return energy.masked_fill(steep, torch.inf), gradient.masked_fill(steep[:, None], 0)

    def errors(self, xi: Tensor, y: Tensor) -> Tensor:
        """Return the root mean square difference of each row's observed part from y (1, P), (n,), double."""
        with torch.no_grad():
            return (self.observed(xi) - y).double().square().mean(1).sqrt()

    def widths(self, xi: Tensor, generator: torch.Generator) -> Tensor:
        """Return 1 / sqrt of the curvature along each number, (size,), the mean over the rows' points (n, size)."""
        total = torch.zeros_like(xi[0])
        times = max(2, -(-PROBES // len(xi)))
        for _ in range(times):
            with torch.enable_grad():
                points = xi.detach().requires_grad_()
                y = self.observed(points)
                signs = torch.randint(0, 2, y.shape, generator=generator, device="cpu").to(y) * 2 - 1
                found = self._gradient((y * signs).sum(), points)
            total += found.square().mean(0) / times
        return (1 + (total / self.sigma**2).nan_to_num(STEEPEST).clamp(max=STEEPEST)).rsqrt()

    def _gradient(self, total: Tensor, xi: Tensor) -> Tensor:
        """The gradient of a sum over what is observed.

        Raises:
            ValueError: the model's decode, or the operator, has none.
        """
        found = torch.autograd.grad(total, xi, allow_unused=True)[0] if total.requires_grad else None
        if found is not None:
            return found
        with torch.enable_grad():
            point = xi[:1].detach().requires_grad_()
            seen = self.model.decode_unclamped(self.prior.latents(point)).sum()
        if seen.requires_grad and torch.autograd.grad(seen, point, allow_unused=True)[0] is not None:
            raise ValueError("Expected an operator with gradients, by which completion searches; got one without.")
        raise ValueError(
            "Expected a model whose decode has gradients, by which completion searches; got "
            f"{self.model.name} ({self.model.family}) without."
        )
