"""The choice of likelihoods: candidates for each set of features, compared by leaving examples out.

Every example is classified by evidence without it, and its log densities l_ic are divided by the temperature T that
maximises the mean of

    log p_i(y_i),   p_i(c) = softmax_c(l_ic / T).

Of each set of features the candidate of greatest mean is selected, and the sets' densities are multiplied, each to the
power of a weight that maximises the same mean (`calibration.weigh`). One part in L + 2 of each label is spread over all
classes, so that T is finite where all L are correct.

Where a class has one example, which cannot be left out, the greatest mean would be that of what forgets the class: so
the first candidate stands, with equal weights, and the means set temperatures alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from transflow.fewshot.calibration import calibrate, weigh
from transflow.fewshot.densities import Likelihood, per_level, pooled, scaled, scaled_per_count, student
from transflow.fewshot.ensemble import Candidate, Ensemble, Member, Selection
from transflow.fewshot.examples import Examples, LabelledFeatures
from transflow.fewshot.shared_covariance import shared
from transflow.gaussians.noise import Fixed, NoiseSpec, PerCount, parse_noise
from transflow.plain_values import scalar

LEFT_OUT = 100  # at most so many examples are left out in turn
RIDGES = (0.3, 3.0)  # times the mean eigenvalue of the scatter
PAPER_SHARES = (0.1, 0.5, 1.0)  # lambda in units of m
LIKELIHOODS = ("auto", "pooled", "levels", "shared", "student")
NO_BETTER = "left-out examples are told no better than by chance: give more examples of each class"
Candidates: TypeAlias = dict[str, Callable[[Examples], Likelihood]]


@dataclass(frozen=True, eq=False)
class Fold:
    """One turn of leaving out.

    Attributes:
        left_out: number of the example that each class loses, shape (C,); -1 for none.
        rows: numbers of those of them to classify, shape (n',).
    """

    left_out: Tensor
    rows: Tensor


def check_noise(noise: NoiseSpec) -> None:
    """Raise `ValueError` if a classifier does not know this noise."""
    noise = scalar(noise)
    if isinstance(noise, str) and noise in LIKELIHOODS:
        return
    try:
        known = isinstance(parse_noise(noise), (PerCount, Fixed))
    except ValueError:
        known = False
    if not known:
        raise ValueError(
            "Expected as noise a number above 0, a number of m "
            f'("0.5m") or one of {", ".join(LIKELIHOODS)}; got {noise!r}.'
        )


def select(
    noise: NoiseSpec, labels: Tensor, counts: Sequence[int], feature_sets: Mapping[str, LabelledFeatures]
) -> Ensemble:
    """Return the likelihood of examples: the given one, or the best of each set of features, multiplied.

    Args:
        noise: one of `LIKELIHOODS`, a number, or a number of m.
        labels: class of each kept example, shape (n,).
        counts: m_c, examples of each class.
        feature_sets: by name.
    """
    folds = make_folds(labels, counts)
    truth = labels[torch.cat([fold.rows for fold in folds])] if folds else labels[:0]
    tried = [trials(noise, name, features, labels, folds) for name, features in feature_sets.items()]
    if folds:
        tried = [[e for e in t if math.isfinite(e.candidate.log_prob)] for t in tried]
    if not all(tried):
        raise ValueError(f"Expected a noise under which these examples have finite densities; got {noise!r}.")
    alone = min(counts) == 1  # a class that no left-out example is of: the estimate says nothing of it
    choose = folds and not alone
    members = [max(t, key=lambda e: e.candidate.log_prob) if choose else t[0] for t in tried]
    everyone = [e.candidate for t in tried for e in t]
    candidates = tuple(e.candidate for e in members)
    if not folds:
        even = Selection(candidates, (1.0,) * len(members))
        return Ensemble(even, tuple(everyone), tuple(members), torch.zeros(0, dtype=torch.float32, device="cpu"))
    parts = [e.left_out / e.candidate.temperature for e in members]
    weights = torch.ones(len(parts), dtype=torch.float64, device="cpu")
    weights = weigh(parts, truth) if choose and len(parts) > 1 else weights
    joint = (weights[:, None, None] * torch.stack(parts)).sum(0)
    own = joint.gather(1, truth[:, None])[:, 0]
    log_prob = joint.log_softmax(1).gather(1, truth[:, None]).mean().item()
    accuracy = _accuracy(joint, truth)
    note = NO_BETTER if len(counts) > 1 and accuracy <= 1 / len(counts) else ""
    if alone and len(counts) > 1:
        note = f"{counts.count(1)} of {len(counts)} classes have one example, so nothing was chosen by leaving one out"
    selection = Selection(candidates, tuple(weights.tolist()), log_prob, accuracy, note)
    considered = sorted(everyone, key=lambda c: -c.log_prob)
    return Ensemble(selection, tuple(considered), tuple(members), -2 * own)


def make_folds(labels: Tensor, counts: Sequence[int]) -> list[Fold]:
    """Return turns of leaving out; classes of two or more lose one example in each.

    At most `LEFT_OUT` examples are classified, each once.

    Args:
        labels: class of each kept example, shape (n,).
        counts: m_c, examples of each class, C of them.
    """
    kept: list[list[int]] = [[] for _ in counts]
    for i, c in enumerate(labels.tolist()):
        kept[c].append(i)
    several = [c for c, count in enumerate(counts) if count > 1 and kept[c]]
    folds, room = [], LEFT_OUT
    for turn in range(max((len(kept[c]) for c in several), default=0)):
        rows = [kept[c][turn] for c in several if turn < len(kept[c])][:room]
        if not rows:
            break
        left_out = torch.full((len(counts),), -1, dtype=torch.long, device="cpu")
        for c in several:
            left_out[c] = kept[c][turn % len(kept[c])]
        folds.append(Fold(left_out, torch.tensor(rows, dtype=torch.long, device="cpu")))
        room -= len(rows)
    return folds


def trials(
    noise: NoiseSpec, name: str, features: LabelledFeatures, labels: Tensor, folds: Sequence[Fold]
) -> list[Member]:
    """Return the candidates of a set of features; where there are no folds, the one to select is first."""
    examples, origin, unit = features.examples(labels)
    truth = labels[torch.cat([fold.rows for fold in folds])] if folds else labels[:0]
    found = []
    for likelihood_name, make in candidate_likelihoods(noise, features).items():
        likelihood = make(examples)
        if not folds:
            candidate = Candidate(name, likelihood_name, plain_temperature(likelihood, examples))
            left_out = examples.means.new_zeros(0, len(examples.means))
        else:
            parts = [likelihood.leave_one_out(examples, fold.left_out, fold.rows) for fold in folds]
            left_out = torch.cat(parts).double()
            candidate = Candidate(name, likelihood_name, *calibrate(left_out, truth), _accuracy(left_out, truth))
        found.append(Member(candidate, likelihood, origin, unit, left_out))
    return found


def candidate_likelihoods(noise: NoiseSpec, features: LabelledFeatures) -> Candidates:
    """Return the likelihoods to consider for a set of features, by name; of hidden activations, the shared covariance.

    With copies the ridge hardly matters: one is tried.
    """
    ridges: Candidates = {
        f"shared, ridge {ridge:g}": partial(shared, ridge=ridge)
        for ridge in (RIDGES if features.copies == 1 else RIDGES[:1])
    }
    simple: Candidates = {"pooled": pooled, "levels": per_level, "student": student}
    if noise == "shared" or (noise == "auto" and features.kind.hidden):
        return ridges
    if noise == "auto":
        if len(features.levels) == 1:
            del simple["levels"]
        return simple | ridges | {f"{share:g}m": partial(scaled_per_count, share=share) for share in PAPER_SHARES}
    if isinstance(noise, str) and noise in simple:
        return {noise: simple[noise]}
    match parse_noise(noise):
        case PerCount(share):
            return {str(noise): partial(scaled_per_count, share=share)}
        case Fixed(lam):
            return {str(noise): partial(scaled, lam=lam)}
    raise ValueError(f"Expected a noise that a classifier knows; got {noise!r}.")


def plain_temperature(likelihood: Likelihood, examples: Examples) -> float:
    """Return T where no example can be left out: an eighth of the classes' mean distance in log density."""
    own = likelihood.log_density(examples.means)
    gap = (own.diagonal()[:, None] - own).sum().item() / max(1, len(own) * (len(own) - 1))
    return max(gap / 8, 1e-12) if gap > 0 else 1.0


def _accuracy(log_density: Tensor, truth: Tensor) -> float:
    return (log_density.argmax(1) == truth).double().mean().item()
