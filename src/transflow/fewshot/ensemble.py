"""The ensemble: candidate likelihoods with their leave-one-out scores, and the weighted product of the selected ones.

A candidate is a set of features and a likelihood. Of each set one is selected; their log densities l_v over the
temperatures T_v add with weights beta_v:

    log p(c | z) = sum_v beta_v l_vc(z_v) / T_v + constant.

Reference: Hinton 2002, *Training products of experts by minimizing contrastive divergence*.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from transflow.fewshot.calibration import unskewed, upper_tail
from transflow.fewshot.densities import Likelihood

SKEWED = 20  # the skewness of n examples is shrunk by n / (n + this)


@dataclass(frozen=True)
class Candidate:
    """A set of features and a likelihood, and how well left-out examples were classified.

    Attributes:
        features: name of the set.
        likelihood: name of the likelihood.
        temperature: T.
        log_prob: mean log probability of a left-out example's class, nats; NaN where none can be left out.
        accuracy: share of left-out examples classified correctly.
    """

    features: str
    likelihood: str
    temperature: float = 1.0
    log_prob: float = math.nan
    accuracy: float = math.nan

    @property
    def view(self) -> str:
        """The old name of `features`."""
        warnings.warn("Candidate.view is Candidate.features now.", DeprecationWarning, stacklevel=2)
        return self.features

    def __str__(self) -> str:
        return f"{self.likelihood} on {self.features}: {_scores(self.log_prob, self.accuracy)}"


@dataclass(frozen=True)
class Selection:
    """The selected candidates, one for each set of features, and how well they classify left-out examples together.

    Attributes:
        candidates: one for each set of features.
        weights: factors of their log densities, after the temperatures.
        log_prob: mean log probability of a left-out example's class, nats; NaN where none can be left out.
        accuracy: share of left-out examples classified correctly.
        note: what the user should know about the selection; may be empty.
    """

    candidates: tuple[Candidate, ...]
    weights: tuple[float, ...]
    log_prob: float = math.nan
    accuracy: float = math.nan
    note: str = ""

    def __str__(self) -> str:
        names = [f"{c.likelihood} on {c.features}" for c in self.candidates]
        if len(names) > 1:
            names = [f"{name} (weight {weight:.2f})" for name, weight in zip(names, self.weights, strict=True)]
        return f"{' with '.join(names)}: {_scores(self.log_prob, self.accuracy)}"


def _scores(log_prob: float, accuracy: float) -> str:
    if math.isnan(log_prob):
        return "no class has two examples, so candidates could not be compared"
    return f"leave-one-out: {accuracy:.1%} correct, mean log probability {log_prob:.3f}"


@dataclass(frozen=True, eq=False)
class Member:
    """A candidate that classifies new latents of its set of features.

    Attributes:
        candidate: features, likelihood and temperature.
        likelihood: the density.
        origin: mean of the prior, (D,).
        unit: its standard deviation.
        left_out: log densities of the left-out examples, (L, C), double.
    """

    candidate: Candidate
    likelihood: Likelihood
    origin: Tensor
    unit: float
    left_out: Tensor

    def scores(self, latents: Tensor) -> Tensor:
        """Return log densities over T, up to a constant in each row, (B, C), of latents (B, D)."""
        if self._linear is None:
            return self.log_density(latents) / self.candidate.temperature
        weights, offset = self._linear
        return latents @ weights.T + offset

    def log_density(self, latents: Tensor) -> Tensor:
        """Return log densities, up to one constant, (B, C), of latents (B, D)."""
        units = latents if self.unit == 1 else (latents - self.origin) / self.unit
        return self.likelihood.log_density(units)

    @cached_property
    def _linear(self) -> tuple[Tensor, Tensor] | None:
        """Weights and offsets on latents before division by the prior's units, over the temperature."""
        found = self.likelihood.linear()
        if found is None:
            return None
        weights, offset = (part - part.mean(0) for part in found)
        weights = weights / self.unit
        offset = offset - weights @ self.origin
        return weights / self.candidate.temperature, offset / self.candidate.temperature


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The selected candidates, for new latents.

    Attributes:
        selection: the selected candidates, and how well they do.
        considered: all candidates that were compared, the best first.
        members: one for each set of features.
        distances: ``-2 log density`` over temperature of each left-out example in its own class, weighted
            and summed over sets of features, shape (L,).
    """

    selection: Selection
    considered: tuple[Candidate, ...]
    members: tuple[Member, ...]
    distances: Tensor

    @property
    def feature_sets(self) -> tuple[str, ...]:
        """The names of the sets of features that `scores` and `p_values` need."""
        return tuple(member.candidate.features for member in self.members)

    def scores(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Return log probabilities, up to a constant in each row, (B, C), of latents (B, D) by set of features."""
        parts = [e.scores(latents[e.candidate.features]) * w for e, w in self._weighted()]
        return torch.stack(parts).sum(0)

    @property
    def has_p_values(self) -> bool:
        """Whether enough examples can be left out to estimate p-values of outliers."""
        return len(self.distances) >= 3

    def p_values(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Return the probability that an example of some class lies at least as far out as each input, shape (B,).

        The left-out examples' distances are modelled by a gamma distribution of their mean, spread and skewness
        (the skewness shrunk towards 0), and a Student t accounts for their number.

        Raises:
            ValueError: fewer than three examples can be left out.
        """
        n = len(self.distances)
        if not self.has_p_values:
            raise ValueError(
                "Expected three or more examples in classes of two or more, to estimate p-values of outliers; "
                f"got {n}. Give two or more of each class."
            )
        known = self.distances
        parts = [
            e.log_density(latents[e.candidate.features]).double() * (w / e.candidate.temperature)
            for e, w in self._weighted()
        ]
        far = -2 * torch.stack(parts).sum(0).amax(1)
        spread = known.std(correction=0).clamp(min=1e-12)
        skewness = ((known - known.mean()) / spread).pow(3).mean().clamp(0, 2).item() * n / (n + SKEWED)
        t = (far - known.mean()) / (known.std() * math.sqrt(1 + 1 / n)).clamp(min=1e-12)
        return upper_tail(unskewed(t, skewness), n - 1)

    def _weighted(self) -> Iterator[tuple[Member, float]]:
        return zip(self.members, self.selection.weights, strict=True)
