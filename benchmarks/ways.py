"""Ways to draw new latents from those of the evidence, zeta_1 .. zeta_m of mean zeta_bar and covariance C.

    model        T g,  g ~ N(0, I)
    paper        N(s zeta_bar, (1 - s) I) (Gambardella et al. 2019)
    covariance   zeta_bar + sqrt(a) A u + sqrt(b) g,  A A^T = C; a and b for all numbers, by level or by frequency
    mixture      zeta_bar + sqrt(1 - h^2) (zeta_i - zeta_bar) + h (the covariance's deviation)
    parents      zeta_bar + sum_j w_j (zeta_ij - zeta_bar),  different pictures,  sum w^2 = 1
    cut          each level's deviation no longer than the evidence's median deviation there

and what others do in closed form with latents: mean and variance of each number (Everaert et al. 2023, arXiv
2309.15842, there of pictures in the initial noise), mean and one variance, and spherical interpolation of pairs (Zhu et
al. 2023, arXiv 2310.09213), combinations of unit norm (Bodin et al. 2025, arXiv 2408.08558), SMOTE (Chawla et al. 2002).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from scipy.fft import dctn, idctn
from torch import Tensor

from transflow.gaussians.evidence import Evidence
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.noise import choose_noise


@dataclass(frozen=True)
class Given:
    """The evidence's latents, and how many new ones are wanted.

    Attributes:
        zeta: (m, D), double.
        shapes: (C, H, W) of each level of a latent, finest first.
        n: latents to draw.
        seed: of what is random.
    """

    zeta: Tensor
    shapes: tuple[tuple[int, int, int], ...]
    n: int
    seed: int
    generator: torch.Generator = field(default_factory=torch.Generator)

    def __post_init__(self) -> None:
        self.generator.manual_seed(self.seed)

    @property
    def sizes(self) -> list[int]:
        return [int(np.prod(shape)) for shape in self.shapes]

    @cached_property
    def mean(self) -> Tensor:
        return self.zeta.mean(0)

    @cached_property
    def deviations(self) -> Tensor:
        return self.zeta - self.mean

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def pick(self, count: int) -> Tensor:
        """Rows of different evidence pictures, (n, count)."""
        return torch.rand(self.n, len(self.zeta), generator=self.generator).argsort(1)[:, :count]


Way = Callable[[Given], Tensor]


def from_model(e: Given, temperature: float) -> Tensor:
    return temperature * e.normal(e.n, e.zeta.shape[1])


def paper(e: Given, noise: str) -> Tensor:
    evidence, prior = Evidence.of(e.zeta), Gaussian.standard(e.zeta.shape[1])
    posterior = prior.condition(evidence, choose_noise(noise, evidence, prior).value)
    return posterior.sample(e.n, e.generator)


def coloured(e: Given, a: float, b: float) -> Tensor:
    u = e.normal(e.n, len(e.zeta))
    return (a / len(e.zeta)) ** 0.5 * u @ e.deviations + b**0.5 * e.normal(e.n, e.zeta.shape[1])


def cut_whole(e: Given, deviation: Tensor) -> Tensor:
    limit = e.deviations.norm(dim=1).median()
    return deviation * (limit / deviation.norm(dim=1, keepdim=True)).clamp(max=1)


def cut_by_level(e: Given, deviation: Tensor) -> Tensor:
    parts = zip(deviation.split(e.sizes, 1), e.deviations.split(e.sizes, 1), strict=True)
    return torch.cat([d * (own.norm(dim=1).median() / d.norm(dim=1, keepdim=True)).clamp(max=1) for d, own in parts], 1)


def covariance(e: Given, a: float, b: float, cut: Callable[[Given, Tensor], Tensor] | None = None) -> Tensor:
    deviation = coloured(e, a, b)
    return e.mean + (deviation if cut is None else cut(e, deviation))


def covariance_by_level(e: Given) -> Tensor:
    """The finest level's noise for its covariance: (0, 0.6) there, (0.9, 0.1) above."""
    fine = e.sizes[0]
    above = coloured(e, 0.9, 0.1)
    above[:, :fine] = 0.6**0.5 * e.normal(e.n, fine)
    return e.mean + above


def covariance_by_frequency(e: Given) -> Tensor:
    """Low frequencies of each level by (1, 0), high ones by (0.5, 0.3): shares of one draw."""
    u = e.normal(e.n, len(e.zeta))
    low = len(e.zeta) ** -0.5 * u @ e.deviations
    high = 0.5**0.5 * low + 0.3**0.5 * e.normal(e.n, e.zeta.shape[1])
    parts = []
    for shape, a, b in zip(e.shapes, low.split(e.sizes, 1), high.split(e.sizes, 1), strict=True):
        below, above = (dctn(x.unflatten(1, shape).numpy(), axes=(2, 3), norm="ortho") for x in (a, b))
        rows, columns = np.indices(shape[1:])
        is_low = (rows + columns) < (shape[1] + shape[2]) / 4
        mixed = np.where(is_low, below, above)
        parts.append(torch.from_numpy(idctn(mixed, axes=(2, 3), norm="ortho")).flatten(1))
    return e.mean + torch.cat(parts, 1)


def mixture(e: Given, h: float) -> Tensor:
    parent = e.deviations[e.pick(1)[:, 0]]
    return e.mean + (1 - h * h) ** 0.5 * parent + h * coloured(e, 0.9, 0.1)


def parents(e: Given, count: int, random: bool = False, cut: bool = False) -> Tensor:
    weights = e.normal(e.n, count).abs() if random else torch.ones(e.n, count, dtype=torch.float64)
    weights = weights / weights.norm(dim=1, keepdim=True)
    deviation = (weights[..., None] * e.deviations[e.pick(count)]).sum(1)
    return e.mean + (cut_by_level(e, deviation) if cut else deviation)


def variation(e: Given, count: int) -> Tensor:
    """The coarsest level of one parent, the finer ones of several, the same one among them."""
    rows, coarse = e.pick(count), e.sizes[-1]
    deviation = cut_by_level(e, e.deviations[rows].sum(1) / count**0.5)
    return e.mean + torch.cat([deviation[:, :-coarse], e.deviations[rows[:, 0], -coarse:]], 1)


def each_variance(e: Given) -> Tensor:
    return e.mean + e.zeta.std(0, unbiased=False) * e.normal(e.n, e.zeta.shape[1])


def one_variance(e: Given) -> Tensor:
    return e.mean + e.deviations.square().mean() ** 0.5 * e.normal(e.n, e.zeta.shape[1])


def spherical_pairs(e: Given) -> Tensor:
    a, b = e.zeta[e.pick(2)].unbind(1)
    t = torch.rand(e.n, 1, generator=e.generator, dtype=torch.float64)
    angle = torch.acos(torch.nn.functional.cosine_similarity(a, b).clamp(-1, 1))[:, None]
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def unit_norm(e: Given, count: int) -> Tensor:
    weights = torch.rand(e.n, count, generator=e.generator, dtype=torch.float64)
    weights = weights / weights.norm(dim=1, keepdim=True)
    return (weights[..., None] * e.zeta[e.pick(count)]).sum(1)


def smote(e: Given, neighbours: int = 5) -> Tensor:
    first = e.pick(1)[:, 0]
    near = torch.cdist(e.zeta, e.zeta).argsort(1)[:, 1 : neighbours + 1]
    second = near[first, torch.randint(near.shape[1], (e.n,), generator=e.generator)]
    t = torch.rand(e.n, 1, generator=e.generator, dtype=torch.float64)
    return (1 - t) * e.zeta[first] + t * e.zeta[second]


def evidence_itself(e: Given) -> Tensor:
    return e.zeta[torch.arange(e.n) % len(e.zeta)]


COUNTS = (2, 3, 4, 6)


def ways(m: int, levels: int) -> dict[str, Way]:
    """Return the ways that evidence of m pictures has, with a model of so many levels, by name."""
    counts = [count for count in COUNTS if count <= m // 2]
    several = levels > 1
    named: dict[str, Way] = {f"the model, T = {t}": partial(from_model, temperature=t) for t in (0.7, 0.8, 0.9, 1.0)}
    named |= {f"paper, {noise}": partial(paper, noise=noise) for noise in ("typical", "0.5m", "1m")}
    named |= {f"covariance, {a:g} {b:g}": partial(covariance, a=a, b=b) for a, b in ((1, 0), (0.9, 0.1), (0.5, 0.3))}
    named |= {"covariance, 0.9 0.1, cut whole": partial(covariance, a=0.9, b=0.1, cut=cut_whole)}
    if several:
        named |= {"covariance, 0.9 0.1, cut by level": partial(covariance, a=0.9, b=0.1, cut=cut_by_level)}
        named |= {"covariance, by level": covariance_by_level}
    named |= {"covariance, by frequency": covariance_by_frequency}
    named |= {f"mixture, h = {h}": partial(mixture, h=h) for h in (0.3, 0.5, 0.7, 0.85)}
    for count in counts:
        for random in (False, True):
            for cut in (False, True):
                words = f"parents, {count}" + ", random" * random + ", cut" * cut
                named[words] = partial(parents, count=count, random=random, cut=cut)
    if several:
        named["variation, 3"] = partial(variation, count=3)
    named |= {"variance of each number (Everaert)": each_variance, "one variance (Zhu)": one_variance}
    named |= {"spherical pairs (Zhu)": spherical_pairs, "SMOTE": smote}
    named |= {f"unit norm of {k} (Bodin)": partial(unit_norm, count=k) for k in (2, 3, 5)}
    return named | {"the evidence itself": evidence_itself}
