"""Few-shot classification in closed form: which likelihood, how sure, and what belongs to no class.

Evidence is labelled latents, perhaps in several views (a model's latents, its inner activations,
alone or with copies under small affine maps). A candidate is a view and a likelihood. Of each
candidate every example is classified by evidence without it (see `likelihoods`), and its log
densities l_ic are divided by the temperature T that maximises the mean of

    log p_i(y_i),   p_i(c) = softmax_c(l_ic / T).

Of each view the best candidate is taken, and the views' densities are multiplied, each to the
power of a weight found in the same way (`calibration.weigh`). So the candidates are chosen and the
probabilities calibrated by the evidence alone. One part in L + 2 of each label is spread over all
classes, so that T is finite where nothing was wrong. The distances of the left-out examples to
their own class say which input belongs to none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from transflow.fewshot import densities as likelihoods
from transflow.fewshot.calibration import calibrate, weigh
from transflow.fewshot.densities import Examples, Likelihood
from transflow.fewshot.ensemble import Candidate, Choice, Fitted, Member
from transflow.gaussians import noise as noises
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.noise import NoiseSpec

LEFT_OUT = 100  # at most so many examples are left out in turn
KEPT = 20_000  # rows kept for the shared covariance and for leaving out; sums go on past it
RIDGES = (0.3, 3.0)  # times the mean eigenvalue of the scatter
PAPER = (0.1, 0.5, 1.0)  # lambda in units of m
Fold: TypeAlias = tuple[Tensor, Tensor]
NAMED = ("auto", "pooled", "levels", "shared", "student")


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
class FewShot:
    """Labelled evidence, to which more is added and from which it is taken; a frozen value.

    Attributes:
        noise: "auto", or one likelihood: "0.5m", a number, "pooled", "levels", "shared", "student".
        classes: their names, in the order they came.
        labels: class of each kept example, shape (n,).
        keys: what each kept example is known by, n of them.
        views: by name.
    """

    noise: NoiseSpec = "auto"
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
        """The likelihood of these examples: the one that was asked for, or the best of each view, multiplied."""
        folds = self._folds()
        truth = self.labels[torch.cat([told for _, told in folds])] if folds else self.labels[:0]
        trials = [self._trials(name, view, folds, truth) for name, view in self.views.items()]
        experts = [max(t, key=lambda e: e.candidate.log_prob) if folds else t[0] for t in trials]
        everyone = [e.candidate for t in trials for e in t]
        temperatures = [e.candidate.temperature for e in experts]
        candidates = tuple(e.candidate for e in experts)
        if not folds:
            even = (1.0,) * len(experts)
            return Fitted(Choice(candidates, even), tuple(everyone), tuple(experts), torch.zeros(0))
        parts = [e.left_out / t for e, t in zip(experts, temperatures, strict=True)]
        weights = weigh(parts, truth) if len(parts) > 1 else torch.ones(1, dtype=torch.float64)
        joint = (weights[:, None, None] * torch.stack(parts)).sum(0)
        own = joint.gather(1, truth[:, None])[:, 0]
        log_prob = joint.log_softmax(1).gather(1, truth[:, None]).mean().item()
        choice = Choice(candidates, tuple(weights.tolist()), log_prob, _share_right(joint, truth))
        considered = sorted(everyone, key=lambda c: -c.log_prob)
        return Fitted(choice, tuple(considered), tuple(experts), -2 * own)

    def _trials(self, name: str, view: View, folds: Sequence[Fold], truth: Tensor) -> list[Member]:
        """The candidates of a view; where nothing can be left out, the one to take is first."""
        examples, origin, unit = view.examples(self.labels)
        found = []
        for said, make in candidate_likelihoods(self.noise, view, inner=name == "activations").items():
            likelihood = make(examples)
            if not folds:
                candidate = Candidate(name, said, plain_temperature(likelihood, examples))
                left_out = examples.means.new_zeros(0, len(self.classes))
            else:
                left_out = torch.cat([likelihood.left_out(examples, out, told) for out, told in folds]).double()
                candidate = Candidate(name, said, *calibrate(left_out, truth), _share_right(left_out, truth))
            found.append(Member(candidate, likelihood, origin, unit, left_out))
        return found

    def _folds(self) -> list[Fold]:
        """In turn, the example that each class loses, (C,), -1 for none, and those of them to classify.

        Classes of two or more lose one each time. At most `LEFT_OUT` examples are classified, each once.
        """
        kept: list[list[int]] = [[] for _ in self.classes]
        for i, c in enumerate(self.labels.tolist()):
            kept[c].append(i)
        several = [c for c, count in enumerate(self.counts) if count > 1 and kept[c]]
        folds, room = [], LEFT_OUT
        for turn in range(max((len(kept[c]) for c in several), default=0)):
            told = [kept[c][turn] for c in several if turn < len(kept[c])][:room]
            if not told:
                break
            out = torch.full((len(self.classes),), -1)
            for c in several:
                out[c] = kept[c][turn % len(kept[c])]
            folds.append((out, torch.tensor(told)))
            room -= len(told)
        return folds


def _share_right(log_density: Tensor, truth: Tensor) -> float:
    return (log_density.argmax(1) == truth).double().mean().item()


def check_noise(noise: NoiseSpec) -> None:
    """Raise `ValueError` if a classifier does not know this noise."""
    if noise in NAMED:
        return
    try:
        rule: noises.NoiseRule | None = noises.parse_noise(noise)
    except ValueError:
        rule = None
    if not isinstance(rule, (noises.PerCount, noises.Fixed)):
        raise ValueError(
            f'Expected as noise a number above 0, a number of m ("0.5m") or one of {", ".join(NAMED)}; got {noise!r}.'
        )


def candidate_likelihoods(
    noise: NoiseSpec, view: View, *, inner: bool = False
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
        match noises.parse_noise(noise):
            case noises.PerCount(share):
                return {str(noise): partial(likelihoods.scaled, per_count=share)}
            case noises.Fixed(value):
                return {str(noise): partial(likelihoods.scaled, value=value)}
    if len(view.levels) == 1:
        del simple["levels"]
    paper = {f"{share:g}m": partial(likelihoods.scaled, per_count=share) for share in PAPER}
    return simple | ridges | paper


def plain_temperature(likelihood: Likelihood, examples: Examples) -> float:
    """Return T where no example can be left out: an eighth of the classes' mean distance in log density."""
    own = likelihood.log_density(examples.means)
    gap = (own.diagonal()[:, None] - own).sum().item() / max(1, len(own) * (len(own) - 1))
    return max(gap / 8, 1e-12) if gap > 0 else 1.0
