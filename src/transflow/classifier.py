"""Few-shot classification in closed form: which likelihood, how sure, and what belongs to no class.

Evidence is labelled latents, perhaps in several views (a model's latents, its inner activations,
each alone or with copies under small affine maps). A candidate is a view and a likelihood. Of
each candidate every example is classified by the evidence without it, and its log densities
l_ic are divided by the temperature T that maximises the mean of

    log p_i(y_i),   p_i(c) = softmax_c(l_ic / T),

so the candidate is chosen and its probabilities are calibrated by the evidence alone. One part
in L + 2 of each label is spread over all classes, so that T is finite where nothing was wrong.
The distances of the left-out examples to their own class say which input belongs to none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from transflow import likelihoods, posterior
from transflow.calibration import calibrate, upper_t
from transflow.evidence import Evidence
from transflow.likelihoods import Examples, Likelihood
from transflow.posterior import NoiseLike

LEFT_OUT = 100  # at most so many examples are left out in turn
KEPT = 20_000  # rows kept for the shared covariance and for leaving out; sums go on past it
RIDGES = (0.3, 3.0)  # times the mean eigenvalue of the scatter
PAPER = (0.1, 0.5, 1.0)  # lambda in units of m
OF_COPIES = " of copies"
NAMED = ("auto", "pooled", "levels", "shared", "student")


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
        if math.isnan(self.log_prob):
            return f"{self.likelihood} on {self.view}: no class has two examples, so nothing was compared"
        return (
            f"{self.likelihood} on {self.view}: left out, {self.accuracy:.1%} told rightly, log p {self.log_prob:.3f}"
        )


@dataclass(frozen=True, eq=False)
class View:
    """One way to see the examples.

    Attributes:
        rows: n kept examples of K copies, the example itself first: (n, K, D).
        evidence: statistics of all copies of each class.
        levels: sizes of the levels, which sum to D.
        standard: whether the prior is N(0, I); if not, it is fitted: mean and variance of all examples.
    """

    rows: Tensor
    evidence: tuple[Evidence, ...]
    levels: tuple[int, ...]
    standard: bool

    @classmethod
    def of(cls, rows: Tensor, labels: Tensor, classes: int, levels: tuple[int, ...] | None = None) -> View:
        """Return the view of examples (n, K, D) of classes 0 .. C - 1; with ``levels``, their prior is N(0, I)."""
        dim = rows.shape[2]
        evidence = [Evidence.of(rows[labels == c].flatten(0, 1)) for c in range(classes)]
        return cls(rows, tuple(evidence), levels or (dim,), levels is not None)

    @property
    def copies(self) -> int:
        """K."""
        return self.rows.shape[1]

    def kept(self, room: int) -> View:
        """Return the same sums, and at most ``room`` rows."""
        return replace(self, rows=self.rows[:room].clone() if room < len(self.rows) else self.rows)

    def joined(self, new: View, room: int) -> View:
        """Return both, of the new rows at most ``room``."""
        known = len(self.evidence)
        both = [a + b for a, b in zip(self.evidence, new.evidence, strict=False)]
        rows = torch.cat([self.rows, new.rows[:room]]) if room else self.rows
        return replace(self, rows=rows, evidence=(*both, *new.evidence[known:]))

    def first(self, labels: Tensor) -> View:
        """Return the examples without their copies."""
        levels = self.levels if self.standard else None
        return View.of(self.rows[:, :1], labels, len(self.evidence), levels)

    def without(self, labels: Tensor, stay: Tensor, more: Tensor | None, gone: Tensor, whole: bool) -> View:
        """Return the view of the kept examples that ``stay``, and without ``more`` of the classes ``gone``."""
        left = replace(self, rows=self.rows[stay])
        if whole:
            levels = self.levels if self.standard else None
            return View.of(left.rows, labels[stay], len(self.evidence), levels)
        out = View.of(self.rows[~stay], labels[~stay], len(self.evidence)).evidence
        if more is not None:
            rest = View.of(more, gone, len(self.evidence)).evidence
            out = tuple(a + b for a, b in zip(out, rest, strict=True))
        return replace(left, evidence=tuple(a - b for a, b in zip(self.evidence, out, strict=True)))

    def examples(self, labels: Tensor) -> tuple[Examples, Tensor, float]:
        """Return the examples in units of their prior, and its mean (D,) and standard deviation."""
        k = self.copies
        total = sum(self.evidence[1:], self.evidence[0])
        origin, unit = torch.zeros_like(total.mean), 1.0
        if not self.standard:
            origin = total.mean
            unit = math.sqrt((total.scatter.sum() / max(total.count - 1, 1) / total.dim).item()) or 1.0
        counts = torch.tensor([e.count / k for e in self.evidence])
        means = torch.stack([(e.mean - origin) / unit for e in self.evidence]).to(self.rows)
        scatter = torch.stack([e.scatter / unit**2 for e in self.evidence]).to(self.rows)
        origin = origin.to(self.rows)
        rows = self.rows if self.standard else (self.rows - origin) / unit
        return Examples(rows, labels, counts.to(self.rows), means, scatter, self.levels), origin, unit


@dataclass(frozen=True, eq=False)
class Fitted:
    """The chosen candidate, ready for new latents.

    Attributes:
        chosen: the candidate.
        considered: all that were compared, the best first.
        likelihood: the chosen density.
        origin: mean of the prior, (D,).
        unit: its standard deviation.
        distances: ``-2 log density`` of each left-out example in its own class, shape (L,).
    """

    chosen: Candidate
    considered: tuple[Candidate, ...]
    likelihood: Likelihood
    origin: Tensor
    unit: float
    distances: Tensor

    def scores(self, latents: Tensor) -> Tensor:
        """Return log densities over T, up to a constant in each row, (B, C), of latents (B, D)."""
        if self._linear is None:
            return self.likelihood.log_density(self._units(latents)) / self.chosen.temperature
        weights, offset = self._linear
        return latents @ weights.T + offset

    @cached_property
    def _linear(self) -> tuple[Tensor, Tensor] | None:
        """Weights and offsets on latents as they come: prior and temperature worked in."""
        found = self.likelihood.linear()
        if found is None:
            return None
        weights, offset = (part - part.mean(0) for part in found)
        weights = weights / self.unit
        offset = offset - weights @ self.origin
        return weights / self.chosen.temperature, offset / self.chosen.temperature

    @property
    def tells_outliers(self) -> bool:
        """Whether enough examples could be left out to say what belongs to no class."""
        return len(self.distances) >= 3

    def p_values(self, latents: Tensor) -> Tensor:
        """Return how often an example of some class lies at least as far out as each latent, shape (B,).

        The left-out examples' distances are taken for normal, and a Student t allows for how few they are.

        Raises:
            ValueError: fewer than three examples could be left out.
        """
        n = len(self.distances)
        if not self.tells_outliers:
            raise ValueError(
                f"Expected at least three examples that can be left out, to say what belongs to no class; got {n}. "
                "Give two or more of each class."
            )
        known = self.distances.double()
        far = -2 * self.likelihood.log_density(self._units(latents)).amax(1).double()
        t = (far - known.mean()) / (known.std() * math.sqrt(1 + 1 / n)).clamp(min=1e-12)
        return torch.tensor([upper_t(x, n - 1) for x in t.tolist()], dtype=torch.float64)

    def _units(self, latents: Tensor) -> Tensor:
        return latents if self.unit == 1 else (latents - self.origin) / self.unit


@dataclass(frozen=True, eq=False)
class FewShot:
    """Labelled evidence, to which more is added and from which it is taken; a frozen value.

    Attributes:
        noise: "auto", or one likelihood: "0.5m", a number, "pooled", "levels", "shared", "student".
        classes: their names, in the order they came.
        labels: class of each kept example, shape (n,).
        keys: what each kept example is known by, n of them.
        views: by name; where the evidence cannot choose, the last is taken.
    """

    noise: NoiseLike = "auto"
    classes: tuple[Any, ...] = ()
    labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    keys: tuple[str, ...] = ()
    views: Mapping[str, View] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_noise(self.noise)

    @property
    def counts(self) -> list[int]:
        """m_c, how many examples each class has."""
        return [e.count // v.copies for v in list(self.views.values())[:1] for e in v.evidence]

    @property
    def whole(self) -> bool:
        """Whether every example is kept, not in the sums alone."""
        return sum(self.counts) == len(self.labels)

    def add(
        self,
        latents: Mapping[str, Tensor],
        names: Sequence[Any],
        keys: Sequence[str],
        levels: Mapping[str, tuple[int, ...]],
    ) -> FewShot:
        """Return the evidence with n more examples.

        Args:
            latents: by view, shape (n, K, D), the example itself the first of K copies.
            names: class of each.
            keys: what each is known by when it is taken out again.
            levels: by view, the sizes of the levels, for the views whose prior is N(0, I).
        """
        classes = tuple(dict.fromkeys((*self.classes, *names)))
        number = {name: i for i, name in enumerate(classes)}
        labels = torch.tensor([number[name] for name in names])
        room = max(0, KEPT // sum(rows.shape[1] for rows in latents.values()) - len(self.labels))
        views = {}
        for view, rows in latents.items():
            old = self.views.get(view)
            new = View.of(rows, labels, len(classes), levels.get(view))
            views[view] = new.kept(room) if old is None else old.joined(new, room)
        together = torch.cat([self.labels, labels[:room]])
        return replace(self, classes=classes, labels=together, keys=(*self.keys, *keys[:room]), views=views)

    def remove(self, names: Sequence[Any], keys: Sequence[str], latents: Callable[[], Mapping[str, Tensor]]) -> FewShot:
        """Return the evidence without examples: the same as if they had never been in.

        Args:
            names: class of each.
            keys: what each is known by.
            latents: gives their latents, where they are needed: of examples that are in the sums alone.

        Raises:
            ValueError: one was never in.
        """
        places: dict[tuple[str, Any], list[int]] = {}
        for i, (key, label) in enumerate(zip(self.keys, self.labels.tolist(), strict=True)):
            places.setdefault((key, self.classes[label]), []).append(i)
        out, rest = [], []
        for j, pair in enumerate(zip(keys, names, strict=True)):
            out.append(places[pair].pop()) if places.get(pair) else rest.append(j)
        unknown = [j for j in rest if self.whole or names[j] not in self.classes]
        if unknown:
            which = ", ".join(str(j + 1) for j in unknown[:5])
            raise ValueError(
                f"Expected examples that are part of the evidence, with their labels; got {len(unknown)} of "
                f"{len(keys)} that never were (number {which}). Nothing was changed."
            )
        stay = torch.ones(len(self.labels), dtype=torch.bool)
        stay[out] = False
        labels, views = self.labels[stay], {}
        more = latents() if rest else {}
        gone = torch.tensor([self.classes.index(names[j]) for j in rest], dtype=torch.long)
        for name, view in self.views.items():
            views[name] = view.without(self.labels, stay, more[name][rest] if rest else None, gone, self.whole)
        smaller = replace(
            self, labels=labels, keys=tuple(k for k, s in zip(self.keys, stay.tolist(), strict=True) if s), views=views
        )
        return smaller._without_empty_classes()

    def _without_empty_classes(self) -> FewShot:
        left = [c for c, count in enumerate(self.counts) if count]
        number = torch.full((len(self.classes),), -1)
        number[left] = torch.arange(len(left))
        views = {name: replace(v, evidence=tuple(v.evidence[c] for c in left)) for name, v in self.views.items()}
        return replace(self, classes=tuple(self.classes[c] for c in left), labels=number[self.labels], views=views)

    @cached_property
    def fitted(self) -> Fitted:
        """The likelihood of these examples: the one that was asked for, or the best of all by `Candidate`."""
        which = self._left_out()
        trials = [trial for name, view in self._seen() for trial in self._trials(name, view, which)]
        if len(which):
            trials.sort(key=lambda trial: -trial.chosen.log_prob)
        best = trials[0]
        return replace(best, considered=tuple(trial.chosen for trial in trials))

    def _seen(self) -> Iterator[tuple[str, View]]:
        """Every view, that of copies also without them; the one to take where nothing can be compared first."""
        for name, view in reversed(list(self.views.items())):
            yield name + (OF_COPIES if view.copies > 1 else ""), view
            if view.copies > 1 and self.whole and self.noise == "auto":
                yield name, view.first(self.labels)

    def _trials(self, name: str, view: View, which: Tensor) -> Iterator[Fitted]:
        examples, origin, unit = view.examples(self.labels)
        ways = likelihood_ways(self.noise, view, inner=name.startswith("activations"))
        for said, make in ways.items():
            yield self._trial(Candidate(name, said), make, examples, which, origin, unit)

    def _trial(
        self,
        candidate: Candidate,
        make: Callable[[Examples], Likelihood],
        examples: Examples,
        which: Tensor,
        origin: Tensor,
        unit: float,
    ) -> Fitted:
        likelihood = make(examples)
        if not len(which):
            chosen = replace(candidate, temperature=plain_temperature(likelihood, examples))
            return Fitted(chosen, (), likelihood, origin, unit, examples.means.new_zeros(0))
        left_out = likelihood.left_out(examples, which).double()
        truth = self.labels[which]
        own = left_out.gather(1, truth[:, None])[:, 0]
        temperature, log_prob = calibrate(left_out, truth)
        accuracy = (left_out.argmax(1) == truth).double().mean().item()
        chosen = Candidate(candidate.view, candidate.likelihood, temperature, log_prob, accuracy)
        return Fitted(chosen, (), likelihood, origin, unit, -2 * own)

    def _left_out(self) -> Tensor:
        """At most `LEFT_OUT` kept examples of classes of two or more, the classes taking turns."""
        counts = self.counts
        turn: dict[int, int] = {}
        order = []
        for i, c in enumerate(self.labels.tolist()):
            if counts[c] > 1:
                turn[c] = turn.get(c, 0) + 1
                order.append((turn[c], i))
        return torch.tensor(sorted(i for _, i in sorted(order)[:LEFT_OUT]), dtype=torch.long)


def check_noise(noise: NoiseLike) -> None:
    """Raise `ValueError` if a classifier does not know this noise."""
    if noise in NAMED:
        return
    try:
        kind, _ = posterior.parse(noise)
    except ValueError:
        kind = ""
    if kind not in ("per count", "lambda"):
        raise ValueError(
            f'Expected as noise a number above 0, a number of m ("0.5m") or one of {", ".join(NAMED)}; got {noise!r}.'
        )


def likelihood_ways(
    noise: NoiseLike, view: View, *, inner: bool = False
) -> dict[str, Callable[[Examples], Likelihood]]:
    """Return the likelihoods to consider for a view, by name; of inner activations, the shared covariance alone.

    With copies the ridge hardly matters: one is tried.
    """
    ridges: dict[str, Callable[[Examples], Likelihood]] = {
        f"shared, ridge {ridge:g}": partial(likelihoods.shared, ridge=ridge)
        for ridge in (RIDGES if view.copies == 1 else RIDGES[:1])
    }
    if noise == "shared" or (noise == "auto" and inner):
        return ridges
    simple: dict[str, Callable[[Examples], Likelihood]] = {
        "pooled": likelihoods.scaled,
        "levels": likelihoods.per_level,
        "student": likelihoods.student,
    }
    if isinstance(noise, str) and noise in simple:
        return {noise: simple[noise]}
    if noise != "auto":
        kind, number = posterior.parse(noise)
        if kind == "per count":
            return {str(noise): partial(likelihoods.scaled, per_count=number)}
        return {str(noise): partial(likelihoods.scaled, value=number)}
    if len(view.levels) == 1:
        del simple["levels"]
    paper = {f"{share:g}m": partial(likelihoods.scaled, per_count=share) for share in PAPER}
    return ridges | simple | paper


def plain_temperature(likelihood: Likelihood, examples: Examples) -> float:
    """Return T where no example can be left out: an eighth of the classes' mean distance in log density."""
    own = likelihood.log_density(examples.means)
    gap = (own.diagonal()[:, None] - own).sum().item() / max(1, len(own) * (len(own) - 1))
    return max(gap / 8, 1e-12) if gap > 0 else 1.0
