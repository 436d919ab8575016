"""A new model that has the evidence's look: its mean, its covariance, and a little isotropic noise beside them.

With C = S / m, the covariance of the m latents about their mean zeta_bar, new latents are drawn from

    z ~ N(s zeta_bar, a C + b I),

a of 0 to 1: how much of the evidence's variety there is. In a level l of the model (see `protocols.HasLevels`) of D_l
numbers, with a_l of its own if need be,

    covariance of levels k and l    sqrt(a_k a_l) C_kl,  plus b_l I where k = l,
    b_l = min(R_l^2, tau^2) - s^2 |zeta_bar_l|^2 / D_l - a_l tr(C_l) / D_l,   R_l^2 = (|zeta_bar_l|^2 + tr C_l) / D_l,

so that the expected squared radius of a sample is the evidence's own, R_l^2, which is short for drawn pictures, and
nowhere beyond tau^2, the model's typical one. Where the evidence is no longer and s = 1, b_l = (1 - a_l) tr(C_l) / D_l:
the shrinkage of C towards a multiple of I that keeps its trace. One draw of the low-rank part serves all levels, which
so stay correlated.

This is the expected covariance of `inverse_wishart` without its term of zeta_bar, a = m / (n_0 + m). With a = 0 and b
given it is the paper's posterior (b = 1 - s) and predictive (b = 1 - s + lambda). C is never written out: S = A^T A, by
the deviations A (r, D), r = m, or by a sketch of them (see `sketch`), whose loss b makes good.

References: Ledoit and Wolf 2004, *A well-conditioned estimator for large-dimensional covariance matrices*; Gambardella,
Baydin and Torr 2019, arXiv 1911.13270.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from transflow.gaussians.covariance import DiagonalPlusLowRank
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.gaussian import Gaussian

VARIETY = 0.9  # of 0.5 and 0.9 the one with more samples of the kind, on photographs of hats and of eyeglasses
SMALLEST = 1e-3  # b at least: a covariance has no direction without variance


@dataclass(frozen=True, eq=False)
class Learned:
    """``N(s zeta_bar, a C + b I)``.

    Attributes:
        mean: s zeta_bar, shape (D,), double.
        covariance: a C + b I, by its structure.
        variety: a of each level.
        isotropic: b of each level.
        level_sizes: numbers of each level, which sum to D; (D,) for one level.
        note: what the user should know about the choice; may be empty.

    >>> z = torch.tensor([[1.0, 0.0, 0.2], [0.0, 1.0, 0.2]])
    >>> learned = Learned.of(Evidence.of(z), z - z.mean(0), 0.5)
    >>> round(learned.isotropic[0], 4), round(learned.squared_radius(), 4), round(z.square().mean().item(), 4)
    (0.0833, 0.3467, 0.3467)
    """

    mean: Tensor
    covariance: DiagonalPlusLowRank
    variety: tuple[float, ...]
    isotropic: tuple[float, ...]
    level_sizes: tuple[int, ...]
    note: str = ""

    @classmethod
    def of(
        cls,
        evidence: Evidence,
        deviations: Tensor,
        variety: float | Sequence[float] = VARIETY,
        *,
        share: float = 1.0,
        level_sizes: Sequence[int] | None = None,
        radius: float = 1.0,
        isotropic: float | Sequence[float] | None = None,
    ) -> Self:
        """Return the learned Gaussian of evidence.

        Args:
            evidence: statistics of m latents of D numbers, m of 2 or more.
            deviations: A, shape (r, D), with ``A^T A = S``: the rows zeta_i - zeta_bar, or a sketch's factor.
            variety: a of 0 to 1, one for all levels or one a level, finest first.
            share: s of 0 to 1.
            level_sizes: of the model's levels, finest first; None for one level.
            radius: tau, the length over sqrt(D) of the model's typical latents.
            isotropic: b, one or one a level; None to follow the radius.

        Raises:
            ValueError: fewer than two different latents; deviations of other evidence; numbers out of range.
        """
        m, dim = evidence.count, evidence.dim
        sizes = (dim,) if level_sizes is None else tuple(level_sizes)
        if sum(sizes) != dim or min(sizes) < 1:
            raise ValueError(f"Expected sizes of levels that sum to D = {dim}; got {list(sizes)}.")
        a = _per_level(variety, sizes, "the variety", 1.0)
        if not 0 <= share <= 1:
            raise ValueError(f"Expected a share of the mean of 0 to 1; got {share}.")
        if not 0 < radius < math.inf:
            raise ValueError(f"Expected a radius above 0; got {radius}.")
        _check_deviations(evidence, deviations)

        mean, total = share * evidence.mean, evidence.scatter_diagonal / m
        of_mean, of_evidence = (_level_means(v.square(), sizes) for v in (mean, evidence.mean))
        kept = _level_means(deviations.double().square().sum(0) / m, sizes)
        note = ""
        if isotropic is None:
            typical = (of_evidence + _level_means(total, sizes)).clamp(max=radius**2)
            wanted = typical - of_mean - kept.new_tensor(a) * kept
            b = tuple(wanted.clamp(min=SMALLEST).tolist())
            over = (of_mean + kept.new_tensor(a) * kept + SMALLEST) @ kept.new_tensor(sizes) / dim
            if over > (1.05 * radius) ** 2:
                note = (
                    f"samples are {over.sqrt().item() / radius:.2f} times as long as the model's own latents, as the "
                    "evidence's are too long; less variety or a smaller share of the mean shortens them"
                )
        else:
            b = _per_level(isotropic, sizes, "the isotropic variance", math.inf)
            if min(b) <= 0:
                raise ValueError(f"Expected an isotropic variance above 0; got {min(b)}.")

        repeats = torch.tensor(sizes, device=mean.device, dtype=torch.long)
        diagonal = mean.new_tensor(b[0]) if len(set(b)) == 1 else mean.new_tensor(b).repeat_interleave(repeats)
        factor = None
        if any(a):
            weights = (mean.new_tensor(a) / m).sqrt().repeat_interleave(repeats)
            factor = (deviations.double() * weights).T
        return cls(mean, DiagonalPlusLowRank(dim, diagonal, factor), a, b, sizes, note)

    @property
    def gaussian(self) -> Gaussian:
        """The same as a `Gaussian`."""
        return Gaussian(self.mean, self.covariance)

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, *, seed: int | None = None
    ) -> Tensor:
        """Return n latents, shape (n, D), single precision, as `Gaussian.sample` does."""
        return self.gaussian.sample(n, generator, temperature, seed=seed)

    def log_prob(self, latents: Tensor) -> Tensor:
        """Return the log density of latents (n, D) in nats, shape (n,), double."""
        return self.gaussian.log_prob(latents)

    def squared_radius(self) -> float:
        """Return the expected ``|z|^2 / D`` of a sample."""
        return self.gaussian.squared_radius()


def _per_level(value: float | Sequence[float], sizes: tuple[int, ...], name: str, most: float) -> tuple[float, ...]:
    """One number a level, each from 0 to ``most``."""
    found = tuple(map(float, value)) if isinstance(value, Sequence) else (float(value),) * len(sizes)
    if len(found) != len(sizes):
        raise ValueError(f"Expected {name} as one number or one for each of {len(sizes)} levels; got {len(found)}.")
    if not all(0 <= x <= most and math.isfinite(x) for x in found):
        limit = "0 or more" if most == math.inf else f"0 to {most:g}"
        raise ValueError(f"Expected {name} of {limit}; got {', '.join(f'{x:g}' for x in found)}.")
    return found


def _level_means(values: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The mean of values (D,) over each level, shape (L,)."""
    return torch.stack([part.mean() for part in values.split(sizes)])


def _check_deviations(evidence: Evidence, deviations: Tensor) -> None:
    """Refuse evidence without variety, and deviations that are not of it."""
    if deviations.ndim != 2 or deviations.shape[1] != evidence.dim:
        raise ValueError(f"Expected deviations of shape (r, {evidence.dim}); got {tuple(deviations.shape)}.")
    if not torch.isfinite(deviations).all():
        raise ValueError("Expected finite deviations; got NaN or infinity.")
    total = evidence.scatter_diagonal.sum().item()
    if evidence.count < 2 or total <= 1e-12 * evidence.count * (evidence.mean.square().sum().item() + 1e-12):
        raise ValueError(
            f"Expected at least two different pictures to learn how they differ; got {evidence.count}"
            f"{', all alike' if evidence.count > 1 else ''}. Learn the mean alone, as the paper does."
        )
    found = deviations.double().square().sum().item()
    if found > total * (1 + 1e-4):
        raise ValueError(
            f"Expected the deviations of this evidence, of total square {total:.4g}; got {found:.4g}. "
            "Give the latents minus their mean."
        )
