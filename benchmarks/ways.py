"""Ways to draw new latents from those of the evidence, zeta_1 .. zeta_m of mean zeta_bar and covariance C.

    model        T g,  g ~ N(0, I)
    paper        N(s zeta_bar, (1 - s) I) (Gambardella et al. 2019)
    covariance   N(zeta_bar, a C + b I), of the evidence's radius (`gaussians.learned`)
    mixture      a kernel mixture of bandwidth h (`gaussians.mixture`)
    parents      a few pictures' deviations, of square weights softmax(spread g) (`gaussians.parents`)

and what others do in closed form with latents: mean and variance of each number (Everaert et al. 2023, arXiv
2309.15842, there of pictures in the initial noise), mean and one variance, and spherical interpolation of pairs (Zhu et
al. 2023, arXiv 2310.09213), combinations of unit norm (Bodin et al. 2025, arXiv 2408.08558), SMOTE (Chawla et al.
2002). All but the model's, the paper's, and those of single pictures have the evidence's mean as theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from scipy.fft import dctn, idctn
from torch import Tensor

from transflow.gaussians.evidence import Evidence
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.kept import Kept
from transflow.gaussians.learned import Learned
from transflow.gaussians.levels import Cut, Levels, levels_of
from transflow.gaussians.mixture import Mixture
from transflow.gaussians.noise import choose_noise
from transflow.gaussians.novelty import Weights
from transflow.gaussians.parents import Parents


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
    def levels(self) -> Levels:
        return levels_of(self.sizes, self.shapes[0] if len(self.shapes) == 1 else ())

    @cached_property
    def kept(self) -> Kept:
        return Kept.of(self.zeta.float())

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


def learned(e: Given, variety: float | Sequence[float]) -> Learned:
    evidence = Evidence.of(e.zeta)
    sizes = e.sizes if isinstance(variety, Sequence) else None
    return Learned.of(evidence, e.deviations, variety, level_sizes=sizes)


def covariance(e: Given, variety: float | Sequence[float]) -> Tensor:
    return learned(e, variety).sample(e.n, e.generator)


def covariance_cut(e: Given, variety: float) -> Tensor:
    """Each level's deviation no longer than the evidence's median deviation there."""
    deviation = learned(e, variety).sample(e.n, e.generator).double() - e.mean
    return e.mean + Cut.of(e.levels, e.deviations)(deviation)


def covariance_by_frequency(e: Given) -> Tensor:
    """Low frequencies of each level by a = 1, high ones by a = 0.5, of one draw."""
    one = Learned.of(Evidence.of(e.zeta), e.deviations, 1.0).gaussian.sample(e.n, seed=e.seed)
    half = Learned.of(Evidence.of(e.zeta), e.deviations, 0.5).gaussian.sample(e.n, seed=e.seed)
    parts = []
    for shape, a, b in zip(e.shapes, one.split(e.sizes, 1), half.split(e.sizes, 1), strict=True):
        below, above = (dctn(x.unflatten(1, shape).numpy(), axes=(2, 3), norm="ortho") for x in (a, b))
        rows, columns = np.indices(shape[1:])
        mixed = np.where((rows + columns) < (shape[1] + shape[2]) / 4, below, above)
        parts.append(torch.from_numpy(idctn(mixed, axes=(2, 3), norm="ortho")).flatten(1))
    return torch.cat(parts, 1)


def mixture(e: Given, h: float) -> Tensor:
    return Mixture(e.kept, h, long=True).sample(e.n, e.generator)


def parents(e: Given, count: int, spread: float = 0.0, cut: bool = True, temperature: float = 1.0) -> Tensor:
    return Parents(e.kept, Weights(count, spread), e.levels, cut, long=True).sample(e.n, e.generator, temperature)


def parents_cut_at(e: Given, count: int, spread: float, share: float) -> Tensor:
    """Each level's deviation no longer than a share of the evidence's median deviation there."""
    deviation = parents(e, count, spread, cut=False).double() - e.mean
    whole = Cut.of(e.levels, e.deviations)
    return e.mean + Cut(whole.levels, share * whole.limits)(deviation)


def variation(e: Given, count: int) -> Tensor:
    """The coarsest level of one parent, the finer ones of several, the same one among them."""
    drawn = Parents(e.kept, Weights(count, 0.0), e.levels, long=True)
    each = -(-e.n // len(e.kept))
    return torch.cat([drawn.vary(i, each, e.generator).latents for i in range(len(e.kept))])[: e.n]


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


COUNTS, SPREADS = (2, 3, 4, 6), (0.0, 0.4, 1.0)


def ways(m: int, levels: int) -> dict[str, Way]:
    """Return the ways that evidence of m pictures has, with a model of so many levels, by name."""
    counts = [count for count in COUNTS if count <= m // 2]
    several = levels > 1
    named: dict[str, Way] = {f"the model, T = {t}": partial(from_model, temperature=t) for t in (0.8, 0.9, 1.0)}
    named |= {f"paper, {noise}": partial(paper, noise=noise) for noise in ("typical", "0.5m", "1m")}
    named |= {f"covariance, {a:g}": partial(covariance, variety=a) for a in (1.0, 0.9, 0.5)}
    named |= {"covariance, 0.9, cut": partial(covariance_cut, variety=0.9)}
    if several:
        named |= {"covariance, by level": partial(covariance, variety=(0.0, *(levels - 1) * [0.9]))}
    named |= {"covariance, by frequency": covariance_by_frequency}
    named |= {f"mixture, h = {h}": partial(mixture, h=h) for h in (0.3, 0.5, 0.7, 0.85)}
    for count in counts:
        for spread in SPREADS:
            words = f"parents, {count}" + (f", spread {spread:g}" if spread else ", equal")
            named[words] = partial(parents, count=count, spread=spread)
            if not spread:
                named[f"{words}, uncut"] = partial(parents, count=count, spread=spread, cut=False)
    for count in (3, 4):
        if count in counts:
            words = f"parents, {count}, spread 0.4"
            named[f"{words}, cut at 0.9"] = partial(parents_cut_at, count=count, spread=0.4, share=0.9)
            named[f"{words}, T = 0.9"] = partial(parents, count=count, spread=0.4, temperature=0.9)
            named[f"{words}, T = 0.8"] = partial(parents, count=count, spread=0.4, temperature=0.8)
    if several:
        named["variations, 3"] = partial(variation, count=3)
    named |= {"variance of each number (Everaert)": each_variance, "one variance (Zhu)": one_variance}
    named |= {"spherical pairs (Zhu)": spherical_pairs, "SMOTE": smote}
    named |= {f"unit norm of {k} (Bodin)": partial(unit_norm, count=k) for k in (2, 3, 5)}
    return named | {"the evidence itself": evidence_itself}
