"""How near samples are to pictures of a kind, and how near to the evidence: figures by features of a frozen network.

    distance    Fréchet distance to the judges' pictures, of equal counts; too large by an amount that depends on the
                count, the more the fewer, so photographs against photographs stand beside it
    kernel      1000 times the unbiased kernel distance (k = (x.y / D + 1)^3): no such amount; also to those of the
                judges whom the model's training never saw
    density, coverage    by balls around the judges' pictures to their fifth neighbour, of equal counts
    share       of samples that a logistic regression on features takes for the kind
    spread      mean distance between samples, over that between the judges' pictures; and of samples that have the
                same nearest evidence picture, over the same
    nearest     median distance to the nearest evidence picture, over the same of the judges' pictures: of features, of
                the latents' coarsest level, of pixels
    copies      share of samples that stand out as near to one evidence picture: their distance to the nearest, over the
                median of those to all, is smaller than of 99 in 100 other pictures of the kind; less that one. (The
                distance alone would count bland samples, which are near to everything.)
    known       share of samples that a measure of identity takes for one of the evidence's people by their other
                photographs, at a threshold that one in a hundred of the judges' photographs passes
    broken      share of samples of which over 2 % of the values are more than 0.15 beyond the range

References: Heusel et al. 2017, arXiv 1706.08500; Bińkowski et al. 2018, arXiv 1801.01401 (the kernel distance);
Naeem et al. 2020, arXiv 2002.09797 (density and coverage); Ojha et al. 2021, arXiv 2104.06820 (spread about evidence).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from torch import Tensor

from seen import Seen
from transflow.metrics import frechet_distance

NEIGHBOUR = 5
FEWEST = 40  # pictures below which no Fréchet distance is given


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Return 1000 times the unbiased squared kernel distance of features (n, D) and (m, D)."""
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.trace()) / (len(x) * (len(x) - 1))

    return 1000 * float(within(a) + within(b) - 2 * kernel(a, b).mean())


def density_and_coverage(made: Tensor, real: Tensor) -> tuple[float, float]:
    """Return both, of features (n, D) and as many of real pictures."""
    radii = torch.cdist(real, real).kthvalue(NEIGHBOUR + 1, dim=1).values
    inside = torch.cdist(real, made) <= radii[:, None]
    return float(inside.float().sum(0).mean() / NEIGHBOUR), float(inside.any(1).float().mean())


def mean_distance(x: Tensor) -> float:
    """Return the mean distance between different rows."""
    return float(torch.cdist(x, x).sum() / (len(x) * (len(x) - 1)))


def standing_out(distances: Tensor) -> Tensor:
    """Return the least of distances to all evidence, (n, m), as a share of their median, (n,)."""
    return distances.min(1).values / distances.median(1).values


def broken(unclamped: Tensor) -> Tensor:
    """Return which pictures of floats (n, C, H, W), not cut to [0, 1], have broken up, (n,)."""
    return ((unclamped < -0.15) | (unclamped > 1.15)).float().flatten(1).mean(1) > 0.02


class Identity:
    """Who is on a photograph: features whitened by how photographs of one person differ, compared by cosine.

    Args:
        features: (n, D), of photographs.
        people: (n,).
    """

    def __init__(self, features: Tensor, people: NDArray[np.int64], directions: int = 256) -> None:
        self.people, self.mean = people, features.double().mean(0)
        centred = features.double() - self.mean
        _, _, axes = torch.linalg.svd(centred, full_matrices=False)
        low = centred @ axes[:directions].T
        _, index = np.unique(people, return_inverse=True)
        groups = torch.from_numpy(index)
        sums = torch.zeros(int(groups.max()) + 1, directions, dtype=torch.float64).index_add(0, groups, low)
        within = low - (sums / torch.bincount(groups)[:, None])[groups]
        cov = within.T @ within / len(within)
        cov = 0.9 * cov + 0.1 * torch.eye(directions, dtype=torch.float64) * cov.trace() / directions
        self.map = axes[:directions].T @ torch.linalg.inv(torch.linalg.cholesky(cov)).T
        self.features, self.known = features, self(features)

    def __call__(self, features: Tensor) -> Tensor:
        return torch.nn.functional.normalize((features.double() - self.mean) @ self.map, dim=1)

    def gallery(self, person: int, evidence: Tensor) -> Tensor:
        """Return a person's known photographs, less those that are evidence (features (m, D))."""
        rows = np.flatnonzero(self.people == person)
        other = torch.cdist(self.features[rows], evidence).min(1).values > 1e-2
        return self.known[rows][other]


@dataclass(frozen=True)
class Judge:
    """What judges samples: pictures of one draw of a kind.

    Attributes:
        evidence: of the draw.
        judges: pictures of other people.
        teachers: of other people again, or the same where there are few.
        negatives: features of pictures that are not of the kind.
        apart: whether judges and teachers differ.
        unseen: judges and teachers whom the model's training never saw, features.
        galleries: known photographs of the evidence's people, whitened; empty for a kind without.
        identity: how people are known.
    """

    evidence: Seen
    judges: Seen
    teachers: Seen
    negatives: Tensor
    apart: bool
    unseen: Tensor
    galleries: list[Tensor]
    identity: Identity | None

    @cached_property
    def classifier(self) -> LogisticRegression:
        x, y = self._lesson
        return LogisticRegression(C=0.02, max_iter=1000, class_weight="balanced").fit(x, y)

    @property
    def _lesson(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        x = torch.cat([self.teachers.features, self.negatives]).numpy()
        return x, np.arange(len(x)) < len(self.teachers.features)

    @cached_property
    def classifier_right(self) -> float:
        """Share of the judges' pictures that the classifier takes for the kind."""
        if self.apart:
            return float(self.classifier.predict(self.judges.features.numpy()).mean())
        x, y = self._lesson
        folds = LogisticRegression(C=0.02, max_iter=1000, class_weight="balanced")
        return float(cross_val_predict(folds, x, y, cv=5)[: len(self.teachers.features)].mean())

    @cached_property
    def _nearest(self) -> dict[str, tuple[float, float]]:
        """Of each space: the judges' median distance to evidence, and how much one in a hundred others stands out."""
        found = {}
        others = self.teachers.spaces()
        for name, space in self.evidence.spaces().items():
            near = torch.cdist(self.judges.spaces()[name], space)
            both = torch.cat([near, torch.cdist(others[name], space)])
            found[name] = float(near.min(1).values.median()), float(standing_out(both).quantile(0.01))
        return found

    @cached_property
    def _strangers(self) -> float:
        return float(self._likeness(self.judges.features).quantile(0.99))

    def _likeness(self, features: Tensor) -> Tensor:
        assert self.identity is not None
        centres = torch.stack([g.mean(0) for g in self.galleries])
        return (self.identity(features) @ torch.nn.functional.normalize(centres, dim=1).T).max(1).values

    @cached_property
    def known_right(self) -> float | None:
        """Share of the evidence's people's other photographs that are known by the rest of those."""
        if len(self.galleries) < 5:
            return None
        right = []
        for gallery in self.galleries:
            for i in range(len(gallery)) if len(gallery) > 1 else ():
                rest = torch.cat([gallery[:i], gallery[i + 1 :]]).mean(0)
                right.append(float(gallery[i] @ torch.nn.functional.normalize(rest, dim=0)) > self._strangers)
        return float(np.mean(right))

    def measure(self, made: Seen) -> dict[str, float | None]:
        """Return the figures of samples."""
        f, real = made.features, self.judges.features
        n = min(len(f), len(real))
        density, coverage = density_and_coverage(f[:n], real[:n])
        spread = mean_distance(real)
        figures: dict[str, float | None] = {
            "count": n,
            "distance": frechet_distance(f[:n], real[:n]) if n >= FEWEST else None,
            "kernel": kernel_distance(f, real),
            "kernel, unseen": kernel_distance(f, self.unseen) if len(self.unseen) >= 10 else None,
            "density": density,
            "coverage": coverage,
            "share": float(self.classifier.predict(f.numpy()).mean()),
            "spread": mean_distance(f) / spread,
        }
        distances = torch.cdist(f, self.evidence.features)
        owners, clusters = distances.argmin(1), []
        for owner in owners.unique():
            if (mine := owners == owner).sum() > 1:
                clusters.append(mean_distance(f[mine]) / spread)
        figures["spread, same nearest"] = float(np.mean(clusters)) if clusters else None
        for name, space in made.spaces().items():
            near = torch.cdist(space, self.evidence.spaces()[name])
            median, least = self._nearest[name]
            figures[f"nearest, {name}"] = float(near.min(1).values.median()) / median
            figures[f"copies, {name}"] = float((standing_out(near) < least).float().mean()) - 0.01
        if len(self.galleries) >= 5:
            figures["known"] = float((self._likeness(f) > self._strangers).float().mean())
        return figures
