"""What classifies: candidates with what is known of them, and the product of those in use.

A candidate is a view of the inputs (latents, inner activations) and a likelihood. Of each view one
is in use; their log densities l_v over the temperatures T_v add with weights beta_v:

    log p(c | z) = sum_v beta_v l_vc(z_v) / T_v + constant.

Reference: Hinton 2002, *Training products of experts by minimizing contrastive divergence*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from transflow.fewshot.calibration import unskewed, upper_t
from transflow.fewshot.densities import Likelihood

SKEWED = 20  # examples that the skewness of n is shrunk by, n / (n + this)


@dataclass(frozen=True)
class Candidate:
    """A view and a likelihood, and how well each example was told by the others.

    Attributes:
        view: which latents.
        likelihood: which density.
        temperature: T.
        log_prob: mean log probability of a left-out example's class, nats; NaN where none can be left out.
        accuracy: share of left-out examples told rightly.
    """

    view: str
    likelihood: str
    temperature: float = 1.0
    log_prob: float = math.nan
    accuracy: float = math.nan

    def __str__(self) -> str:
        return f"{self.likelihood} on {self.view}: {_told(self.log_prob, self.accuracy)}"


@dataclass(frozen=True)
class Choice:
    """What is in use: a candidate for each view, and how well left-out examples were told by all together.

    Attributes:
        candidates: one a view.
        weights: what the log densities of each are multiplied with, after their temperatures.
        log_prob: mean log probability of a left-out example's class, nats; NaN where none can be left out.
        accuracy: share of left-out examples told rightly.
    """

    candidates: tuple[Candidate, ...]
    weights: tuple[float, ...]
    log_prob: float = math.nan
    accuracy: float = math.nan

    def __str__(self) -> str:
        said = [f"{c.likelihood} on {c.view}" for c in self.candidates]
        if len(said) > 1:
            said = [f"{words} (weight {weight:.2f})" for words, weight in zip(said, self.weights, strict=True)]
        return f"{' with '.join(said)}: {_told(self.log_prob, self.accuracy)}"


def _told(log_prob: float, accuracy: float) -> str:
    if math.isnan(log_prob):
        return "no class has two examples, so nothing was compared"
    return f"left out, {accuracy:.1%} told rightly, log p {log_prob:.3f}"


@dataclass(frozen=True, eq=False)
class Member:
    """A candidate, ready for new latents of its view.

    Attributes:
        candidate: view, likelihood and temperature.
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
        """Weights and offsets on latents as they come: prior and temperature worked in."""
        found = self.likelihood.linear()
        if found is None:
            return None
        weights, offset = (part - part.mean(0) for part in found)
        weights = weights / self.unit
        offset = offset - weights @ self.origin
        return weights / self.candidate.temperature, offset / self.candidate.temperature


@dataclass(frozen=True, eq=False)
class Fitted:
    """The chosen candidates, ready for new latents.

    Attributes:
        choice: what is in use, and how well it does.
        considered: all candidates that were compared, the best first.
        experts: one a view.
        distances: ``-2 log density`` over temperature of each left-out example in its own class, weighted
            and summed over views, shape (L,).
    """

    choice: Choice
    considered: tuple[Candidate, ...]
    experts: tuple[Member, ...]
    distances: Tensor

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views that `scores` and `p_values` need."""
        return tuple(expert.candidate.view for expert in self.experts)

    def scores(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Return log probabilities, up to a constant in each row, (B, C), of latents (B, D) by view."""
        parts = [e.scores(latents[e.candidate.view]) * w for e, w in self._weighted()]
        return torch.stack(parts).sum(0)

    @property
    def tells_outliers(self) -> bool:
        """Whether enough examples could be left out to say what belongs to no class."""
        return len(self.distances) >= 3

    def p_values(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Return how often an example of some class lies at least as far out as each input, shape (B,).

        The left-out examples' distances are taken for a gamma distribution of their mean, spread and skewness
        (the skewness shrunk towards 0), and a Student t allows for how few they are.

        Raises:
            ValueError: fewer than three examples could be left out.
        """
        n = len(self.distances)
        if not self.tells_outliers:
            raise ValueError(
                f"Expected at least three examples that can be left out, to say what belongs to no class; got {n}. "
                "Give two or more of each class."
            )
        known = self.distances
        parts = [
            e.log_density(latents[e.candidate.view]).double() * (w / e.candidate.temperature)
            for e, w in self._weighted()
        ]
        far = -2 * torch.stack(parts).sum(0).amax(1)
        spread = known.std(correction=0).clamp(min=1e-12)
        skewness = ((known - known.mean()) / spread).pow(3).mean().clamp(0, 2).item() * n / (n + SKEWED)
        t = (far - known.mean()) / (known.std() * math.sqrt(1 + 1 / n)).clamp(min=1e-12)
        return torch.tensor([upper_t(x, n - 1) for x in unskewed(t, skewness).tolist()], dtype=torch.float64)

    def _weighted(self) -> Iterator[tuple[Member, float]]:
        return zip(self.experts, self.choice.weights, strict=True)
