"""Parents: samples made of a few pictures of the evidence, between the evidence itself and its Gaussian.

    z = zeta_bar + sum_j w_j (zeta_{i_j} - zeta_bar),   i_1 .. i_n different pictures,   sum_j w_j^2 = 1.

Different pictures' deviations add up to zero over the evidence, so two of them have covariance -C / (m - 1), and

    E z = zeta_bar,   Cov z = C (m - (sum w)^2) / (m - 1)   of given weights,   C = (1/m) sum_i d_i d_i^T.

Divided by the root of that ratio (`corrected`), samples have covariance C for every number of parents and every
distribution of weights; n and m - n equal parents are then mirror images, so n is at most m / 2. One parent gives the
evidence back. With independent draws (`replacement`) the covariance is C as it is, and n to infinity is the Gaussian
N(zeta_bar, C).

For more than one parent the deviation may be cut by level (see `levels`), which bends mean and covariance a little:
`bend` says by how much, and `mean` and `covariance` are those without. Isotropic noise is added last.

Near it: unit-norm combinations of latents, Bodin et al. 2025, arXiv 2408.08558, without a common mean; SMOTE, Chawla et
al. 2002, two parents without the length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import torch
from torch import Tensor

from transflow.gaussians.covariance import Covariance, DiagonalPlusLowRank
from transflow.gaussians.draws import Drawn, drawing, normal, orders
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.kept import LIMIT, Kept
from transflow.gaussians.levels import Bend, Cut, Levels
from transflow.gaussians.novelty import Weights

RIDGE = 1e-6  # of the mean variance, on the diagonal of a covariance that would have no inverse
SETS = 50_000  # of parents, of which a density sums
AT_ONCE = 64  # samples, of those that are only measured


@dataclass(frozen=True, eq=False)
class Parents:
    """The distribution of combinations of a few pictures of the evidence.

    Attributes:
        kept: latents of the evidence.
        weights: of the parents of a sample, and how many they are.
        levels: of the latents, for the cut and for variations; None for neither.
        cut: whether deviations are cut by level, where levels are given.
        corrected: whether the covariance is C for every number of parents.
        isotropic: variance of the noise beside the parents.
        replacement: draw parents independently: one may come twice.
        long: draw from pictures whose latents are far too long, too.

    >>> parents = Parents.of(torch.randn(10, 4, generator=torch.Generator().manual_seed(0)), 3)
    >>> parents.sample(5, seed=0).shape, parents.draw(5, seed=0).parents.shape
    (torch.Size([5, 4]), torch.Size([5, 3]))
    """

    kept: Kept
    weights: Weights
    levels: Levels | None = None
    cut: bool = True
    corrected: bool = True
    isotropic: float = 0.0
    replacement: bool = False
    long: bool = False
    _m: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_m", len(self.kept.usable(self.long)))
        if not self._m:
            raise ValueError("Expected latents of at least one picture to draw from; got none.")
        if not 0 <= self.isotropic < math.inf:
            raise ValueError(f"Expected an isotropic variance of 0 or more; got {self.isotropic}.")
        if self.weights.count > max(1, self._m // 2) and not self.replacement:
            raise ValueError(
                f"Expected at most half as many parents as there are different pictures, {max(1, self._m // 2)} of "
                f"{self._m}; got {self.weights.count}. More of them mirror fewer; the Gaussian is their limit."
            )

    @classmethod
    def of(cls, latents: Tensor | Kept, weights: int | Weights = 3, **more: object) -> Parents:
        """Return the parents of latents (m, D), or of those kept; a number of parents has random weights."""
        kept = latents if isinstance(latents, Kept) else Kept.of(latents, limit=max(LIMIT, len(latents)))
        return cls(kept, weights if isinstance(weights, Weights) else Weights(weights), **more)  # type: ignore[arg-type]

    @property
    def m(self) -> int:
        """How many different pictures it draws from."""
        return self._m

    @property
    def novelty(self) -> float:
        """How new its samples are: 0 the evidence itself, 1 its Gaussian (see `novelty`)."""
        return self.weights.novelty

    @cached_property
    def mean(self) -> Tensor:
        """zeta_bar of the pictures it draws from, shape (D,), double."""
        return self.rows.double().mean(0)

    @cached_property
    def rows(self) -> Tensor:
        """The latents that it draws from, shape (m, D)."""
        usable = self.kept.usable(self.long)
        return self.kept.rows if len(usable) == len(self.kept) else self.kept.rows[usable]

    @property
    def ratio(self) -> float:
        """The covariance as a multiple of C: 1 where it is corrected, or of independent draws."""
        if self.corrected or self.replacement or self.m == 1:
            return 1.0
        return (self.m - self.weights.squared_sum) / (self.m - 1)

    @property
    def covariance(self) -> Covariance:
        """``ratio C + isotropic I``, with a millionth of the mean variance on a diagonal that would be 0."""
        deviations = self._deviations()
        variance = self.ratio * deviations.square().mean().item()
        one = self.mean.new_ones(())
        diagonal = (self.isotropic or (RIDGE * variance or RIDGE)) * one
        return DiagonalPlusLowRank(len(self.mean), diagonal, deviations.T * math.sqrt(self.ratio / self.m))

    @property
    def gaussian(self) -> Gaussian:
        """The Gaussian of the same mean and covariance."""
        return Gaussian(self.mean, self.covariance)

    def squared_radius(self) -> float:
        """Return the expected ``|z|^2 / D`` of a sample, without the cut."""
        own = self.rows.double().square().mean().item()
        mean = self.mean.square().mean().item()
        return mean + self.ratio * (own - mean) + self.isotropic

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, *, seed: int | None = None
    ) -> Tensor:
        """Return n latents, shape (n, D), single precision; deviations from the mean are scaled by temperature."""
        return self.draw(n, generator, temperature, seed=seed).latents

    def draw(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, *, seed: int | None = None
    ) -> Drawn:
        """Return n samples with their parents and weights.

        The same seed draws the same pictures, in the same order, for every number of parents.
        """
        n, temperature, generator = drawing(n, temperature, generator, seed)
        return self._drawn(n, generator, temperature, None)

    def vary(
        self,
        parent: int,
        n: int,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        *,
        seed: int | None = None,
    ) -> Drawn:
        """Return variations of one picture: its coarsest level, and finer ones of it and the other parents.

        Args:
            parent: number of the kept picture.
            n, generator, temperature, seed: as `draw` takes them.

        Raises:
            ValueError: the latents have one level alone, or there is no such picture to draw from.
        """
        if self.levels is None or self.levels.count < 2:
            raise ValueError("Expected latents of several levels for variations of a picture; got one level alone.")
        usable = self.kept.usable(self.long).tolist()
        if parent not in usable:
            raise ValueError(f"Expected the number of a picture to draw from, 0 to {len(self.kept) - 1}; got {parent}.")
        n, temperature, generator = drawing(n, temperature, generator, seed)
        return self._drawn(n, generator, temperature, usable.index(parent))

    def log_prob(self, latents: Tensor) -> Tensor:
        """Return the log density of latents (n, D) in nats, shape (n,), double: a finite mixture over sets of parents.

        Raises:
            ValueError: weights are random, deviations are cut, there is no isotropic noise, or the sets are too many.
        """
        sets = math.comb(self.m, self.weights.count)
        why = ""
        if not self.weights.equal:
            why = "random weights"
        elif self.replacement:
            why = "independent parents"
        elif self._cut is not None:
            why = "deviations cut by level"
        elif not self.isotropic:
            why = "no isotropic noise beside the parents"
        elif sets > SETS:
            why = f"{sets:,} sets of parents"
        if why:
            raise ValueError(
                "Expected parents with a density: of equal weights, uncut, with isotropic noise, and at most "
                f"{SETS:,} sets; got {why}. The density of .gaussian is near it."
            )
        every = list(combinations(range(self.m), self.weights.count))
        chosen = torch.tensor(every, dtype=torch.long, device=self.mean.device)
        scale = self._correction(chosen.new_full((1,), self.weights.count).double().sqrt())
        scale = scale / math.sqrt(self.weights.count)
        deviations, x = self._deviations(), latents.double() - self.mean
        cross = (x @ deviations.T)[:, chosen].sum(2) * scale
        gram = deviations @ deviations.T
        own = gram[chosen[:, :, None], chosen[:, None, :]].sum((1, 2)) * scale.square()
        squares = x.square().sum(1)[:, None] - 2 * cross + own
        log_norm = 0.5 * len(self.mean) * math.log(2 * math.pi * self.isotropic)
        return (-0.5 * squares / self.isotropic).logsumexp(1) - math.log(sets) - log_norm

    def bend(self, draws: int = 512, seed: int = 0) -> Bend:
        """Return how far the cut by level bends mean and covariance, measured of so many samples."""
        if self._cut is None:
            return Bend(0.0, (1.0,) * (1 if self.levels is None else self.levels.count), 0.0)
        _, _, generator = drawing(draws, seed=seed)
        sizes = [min(AT_ONCE, draws - start) for start in range(0, draws, AT_ONCE)]
        return Bend.of(self._cut, (self._combined(*self._choice(n, generator, None)) for n in sizes))

    def add(self, more: Kept) -> Parents:
        """Return the parents of more evidence, the same as if all had come at once."""
        return replace(self, kept=self.kept + more)

    def remove(self, keys: Sequence[str]) -> Parents:
        """Return the parents without these pictures, the same as if they had never come (see `Kept.remove`)."""
        return replace(self, kept=self.kept.remove(keys))

    @cached_property
    def _cut(self) -> Cut | None:
        if self.levels is None or not self.cut or self.weights.count == 1:
            return None
        return Cut.of(self.levels, self._deviations())

    def _deviations(self) -> Tensor:
        return self.rows.double() - self.mean

    def _correction(self, total: Tensor) -> Tensor:
        """What deviations of weights of these sums, of any shape, are multiplied by."""
        if not self.corrected or self.replacement or self.weights.count == 1:
            return torch.ones_like(total)
        return ((self.m - 1) / (self.m - total.square())).sqrt()

    def _choice(self, n: int, generator: torch.Generator, first: int | None) -> tuple[Tensor, Tensor]:
        """Parents among the rows and weights, each (n, k), of draws that are as many for every k."""
        device = self.mean.device
        if self.replacement:
            drawn = torch.rand(n, self.weights.count, dtype=torch.float64, device=generator.device, generator=generator)
            chosen = (drawn * self.m).long().clamp(max=self.m - 1).to(device)
        else:
            order = orders(generator, n, self.m, device)
            if first is not None:
                order = torch.cat([torch.full_like(order[:, :1], first), order[order != first].view(n, -1)], 1)
            chosen = order[:, : self.weights.count]
        columns = max(self.m, self.weights.count)
        return chosen, self.weights.of(normal(generator, n, columns, device=device))

    def _combined(self, chosen: Tensor, weights: Tensor) -> Tensor:
        """Deviations (n, D) of parents and weights, uncut."""
        total = weights.sum(1, keepdim=True)
        out = -total * self.mean
        for j in range(chosen.shape[1]):
            out += weights[:, j, None] * self.rows[chosen[:, j]]
        return out * self._correction(total)

    def _drawn(self, n: int, generator: torch.Generator, temperature: float, vary: int | None) -> Drawn:
        chosen, weights = self._choice(n, generator, vary)
        deviations = self._combined(chosen, weights)
        if self._cut is not None:
            deviations = self._cut(deviations)
        if vary is not None and self.levels is not None:
            own = (self.rows[vary].double() - self.mean).expand_as(deviations)
            deviations = self.levels.spliced(deviations, own)
        if self.isotropic:
            deviations += math.sqrt(self.isotropic) * normal(generator, n, len(self.mean), device=self.mean.device)
        latents = (self.mean + temperature * deviations).float()
        return Drawn(latents, self.kept.usable(self.long)[chosen], weights)
