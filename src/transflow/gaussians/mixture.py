"""The shrunk kernel mixture: each sample a variation of one picture of the evidence, by a bandwidth h.

    z = zeta_bar + sqrt(1 - h^2) (zeta_i - zeta_bar) + h g,   i uniform over the pictures,   g ~ N(0, K).

A kernel K of the evidence's own covariance C keeps mean and covariance for every h, where plain kernels widen them;
h = 0 is the evidence itself, h = 1 the Gaussian N(zeta_bar, K). The default is 0.9 C + 0.1 (tr C / D) I: of C's trace,
and with a density,

    p(z) = (1/m) sum_i N(z; zeta_bar + sqrt(1 - h^2) d_i, h^2 K),

whose terms are the pictures' responsibilities. Inverses are those of a diagonal plus low rank.

Reference: Silverman and Young 1987, *The bootstrap: to smooth or not to smooth?*; West 1993, *Approximating posterior
distributions by mixtures*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from transflow.gaussians.covariance import Covariance, DiagonalPlusLowRank, weighted_sum
from transflow.gaussians.draws import Drawn, drawing, normal
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.kept import LIMIT, Kept
from transflow.gaussians.novelty import novelty_of_bandwidth
from transflow.gaussians.parents import RIDGE

SHARE = 0.9  # of the kernel's variance that is of the evidence's own covariance; the rest is isotropic


@dataclass(frozen=True, eq=False)
class Mixture:
    """The distribution of variations of pictures of the evidence.

    Attributes:
        kept: latents of the evidence.
        bandwidth: h, 0 to 1.
        kernel: K; None for the default.
        long: draw from pictures whose latents are far too long, too.

    >>> mixture = Mixture.of(torch.randn(10, 4, generator=torch.Generator().manual_seed(0)), 0.5)
    >>> mixture.sample(5, seed=0).shape, mixture.responsibilities(mixture.sample(5, seed=0)).shape
    (torch.Size([5, 4]), torch.Size([5, 10]))
    """

    kept: Kept
    bandwidth: float
    kernel: Covariance | None = None
    long: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.bandwidth <= 1:
            raise ValueError(f"Expected a bandwidth from 0 to 1; got {self.bandwidth}.")
        if not len(self.kept):
            raise ValueError("Expected latents of at least one picture to draw from; got none.")

    @classmethod
    def of(cls, latents: Tensor | Kept, bandwidth: float, kernel: Covariance | None = None) -> Mixture:
        """Return the mixture of latents (m, D), or of those kept."""
        kept = latents if isinstance(latents, Kept) else Kept.of(latents, limit=max(LIMIT, len(latents)))
        return cls(kept, bandwidth, kernel)

    @property
    def m(self) -> int:
        """How many different pictures it draws from."""
        return len(self.rows)

    @property
    def novelty(self) -> float:
        """How new its samples are: 0 the evidence itself, 1 its Gaussian (see `novelty`)."""
        return novelty_of_bandwidth(self.bandwidth)

    @cached_property
    def rows(self) -> Tensor:
        """The latents that it draws from, shape (m, D)."""
        return self.kept.rows[self.kept.usable(self.long)]

    @cached_property
    def mean(self) -> Tensor:
        """zeta_bar of the pictures it draws from, shape (D,), double."""
        return self.rows.double().mean(0)

    @cached_property
    def spread(self) -> Covariance:
        """K, the covariance of what is added to a picture."""
        return self._evidence_covariance(SHARE) if self.kernel is None else self.kernel

    @property
    def covariance(self) -> Covariance:
        """``(1 - h^2) C + h^2 K``, with a millionth of the mean variance on the diagonal where it would be singular."""
        own, h2 = self._evidence_covariance(1.0), self.bandwidth**2
        return weighted_sum(own, self.spread, 1 - h2, h2)

    @property
    def gaussian(self) -> Gaussian:
        """The Gaussian of the same mean and covariance."""
        return Gaussian(self.mean, self.covariance)

    def squared_radius(self) -> float:
        """Return the expected ``|z|^2 / D`` of a sample."""
        mean, h2 = self.mean.square().mean().item(), self.bandwidth**2
        own = self.rows.double().square().mean().item() - mean
        return mean + (1 - h2) * own + h2 * self.spread.trace().item() / len(self.mean)

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, *, seed: int | None = None
    ) -> Tensor:
        """Return n latents, shape (n, D), single precision; deviations from the mean are scaled by temperature."""
        return self.draw(n, generator, temperature, seed=seed).latents

    def draw(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, *, seed: int | None = None
    ) -> Drawn:
        """Return n samples with the picture each is a variation of, and a weight of 1."""
        n, temperature, generator = drawing(n, temperature, generator, seed)
        device = self.mean.device
        chosen = torch.rand(n, dtype=torch.float64, device=generator.device, generator=generator)
        chosen = (chosen * self.m).long().clamp(max=self.m - 1).to(device)
        deviations = (self.rows[chosen].double() - self.mean) * math.sqrt(1 - self.bandwidth**2)
        if self.bandwidth:
            rank = self.spread.rank
            whole = normal(generator, n, len(self.mean), device=device)
            low = normal(generator, n, rank, device=device) if rank else None
            deviations += self.bandwidth * self.spread.colour(whole, low)
        latents = (self.mean + temperature * deviations).float()
        return Drawn(latents, self.kept.usable(self.long)[chosen][:, None], torch.ones_like(chosen[:, None]).double())

    def log_prob(self, latents: Tensor) -> Tensor:
        """Return the log density of latents (n, D) in nats, shape (n,), double.

        Raises:
            ValueError: h is 0: the evidence alone has no density.
        """
        return self._log_terms(latents).logsumexp(1) - math.log(self.m)

    def responsibilities(self, latents: Tensor) -> Tensor:
        """Return how probably each latent (n, D) is a variation of each picture, shape (n, m), rows of sum 1."""
        return self._log_terms(latents).softmax(1)

    def add(self, more: Kept) -> Mixture:
        """Return the mixture of more evidence, the same as if all had come at once."""
        return replace(self, kept=self.kept + more)

    def remove(self, keys: Sequence[str]) -> Mixture:
        """Return the mixture without these pictures, the same as if they had never come (see `Kept.remove`)."""
        return replace(self, kept=self.kept.remove(keys))

    def _evidence_covariance(self, share: float) -> DiagonalPlusLowRank:
        """``share C + (1 - share) (tr C / D) I``, or with a tiny diagonal."""
        deviations = self.rows.double() - self.mean
        variance = deviations.square().mean().item()
        diagonal = self.mean.new_tensor((max(1 - share, RIDGE) * variance) or RIDGE)
        return DiagonalPlusLowRank(len(self.mean), diagonal, deviations.T * math.sqrt(share / self.m))

    def _log_terms(self, latents: Tensor) -> Tensor:
        """The log density of each latent under each picture's kernel, shape (n, m)."""
        if not self.bandwidth:
            raise ValueError("Expected a bandwidth above 0 for a density; got 0: the evidence itself has none.")
        kernel = self.spread.scaled(self.bandwidth**2)
        centres = (self.rows.double() - self.mean) * math.sqrt(1 - self.bandwidth**2)
        x = latents.double() - self.mean
        solved = kernel.solve(centres)
        own = (centres * solved).sum(1)
        at_mean = Gaussian(torch.zeros_like(self.mean), kernel).log_prob(x)
        return at_mean[:, None] + x @ solved.T - 0.5 * own
