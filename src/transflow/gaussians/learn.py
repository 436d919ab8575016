"""What is learned of the evidence, and how new samples are: the written forms, and the distribution each stands for.

    "parents"       new samples are made of a few pictures each (see `parents`); "parents:4" of four
    "covariance"    N(zeta_bar, a C + b I) (see `learned`); "covariance:0.5" has a, the share of its variety
    "mixture"       variations of one picture each (see `mixture`)
    "mean"          the paper's posterior of the mean latent, N(s zeta_bar, (1 - s) I), by a noise

Novelty, 0 the evidence itself to 1 its Gaussian (see `novelty`), chooses the number of parents or the mixture's
bandwidth. At 1, and where it would take more than half of the pictures as parents, the learned Gaussian is drawn.

Few pictures have their own rules: one, or pictures all alike, show no variety and are drawn from in the paper's way; of
two and three, parents would give back the evidence alone, and their Gaussian is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from transflow.gaussians.covariance import Covariance
from transflow.gaussians.draws import Drawn
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.kept import Kept
from transflow.gaussians.learned import VARIETY, Learned
from transflow.gaussians.levels import levels_of
from transflow.gaussians.mixture import Mixture
from transflow.gaussians.novelty import Weights, bandwidth_of, check_novelty, weights_for
from transflow.gaussians.parents import Parents

DEFAULT_LEARN = "parents"
PARENTS = 3  # of a sample, where neither their number nor a novelty is given
MIXTURE_NOVELTY = 0.5
FEWEST = 4  # different pictures from which on there are two parents
WAYS = ("parents", "covariance", "mixture", "mean")
FORMS = '"parents", "parents:N" for N parents, "covariance", "covariance:A" with A of 0 to 1, "mixture" or "mean"'


class LatentDistribution(Protocol):
    """What latents can be drawn from."""

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, *, seed: int | None = None
    ) -> Tensor:
        """Return n latents, shape (n, D), single precision."""

    def log_prob(self, latents: Tensor) -> Tensor:
        """Return the log density of latents (n, D) in nats, shape (n,); `ValueError` where there is none."""

    def squared_radius(self) -> float:
        """Return the expected ``|z|^2 / D`` of a sample."""

    @property
    def mean(self) -> Tensor:
        """Shape (D,), double."""

    @property
    def covariance(self) -> Covariance:
        """By its structure."""

    @property
    def gaussian(self) -> Gaussian:
        """The Gaussian of the same mean and covariance."""


class MadeOfPictures(LatentDistribution, Protocol):
    """A distribution each of whose samples is made of pictures of the evidence."""

    def draw(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0, *, seed: int | None = None
    ) -> Drawn:
        """Return n samples with the pictures that they are made of."""


@dataclass(frozen=True)
class Learn:
    """What is learned, parsed: one of `WAYS` and its numbers.

    Attributes:
        spec: as it was given.
        way: "parents", "covariance", "mixture" or "mean".
        parents: their number, where it was given.
        variety: a, of "covariance".
        novelty: 0 to 1, where it was given.
        long: draw from pictures whose latents are far too long, too.
    """

    spec: str = DEFAULT_LEARN
    way: str = DEFAULT_LEARN
    parents: int | None = None
    variety: float = VARIETY
    novelty: float | None = None
    long: bool = False

    @property
    def keeps_latents(self) -> bool:
        """Whether it draws from latents of pictures; the mean needs none of them."""
        return self.way != "mean"

    def __str__(self) -> str:
        return self.spec if self.novelty is None else f"{self.spec}, novelty {self.novelty:g}"


MEAN = Learn("mean", "mean")


@dataclass(frozen=True)
class Chosen:
    """The distribution that evidence is drawn from.

    Attributes:
        drawn: where samples come from; None for the paper's posterior.
        gaussian: the learned Gaussian of the same evidence; None likewise.
        note: what the user should know about the choice; may be empty.
    """

    drawn: LatentDistribution | None = None
    gaussian: Gaussian | None = None
    note: str = ""


def parse_learn(learn: str | None = None, novelty: float | None = None, *, long: bool = False) -> Learn:
    """Return what a written form stands for.

    Args:
        learn: one of the forms above; None for the default.
        novelty: 0 to 1, of parents or a mixture.
        long: draw from pictures whose latents are far too long, too.

    Raises:
        ValueError: it has none of the forms, or a novelty does not go with it.

    >>> parse_learn("parents:2").parents, parse_learn(novelty=0.5).way, parse_learn("covariance:0.5").variety
    (2, 'parents', 0.5)
    """
    spec = DEFAULT_LEARN if learn is None else learn
    wrong = ValueError(f"Expected as what to learn {FORMS}; got {spec!r}.")
    if not isinstance(spec, str):
        raise wrong
    way, colon, number = spec.strip().lower().partition(":")
    if way not in WAYS or (colon and way not in ("parents", "covariance")):
        raise wrong
    found = {"parents": None, "variety": VARIETY}
    if colon and way == "parents":
        if not number.isascii() or not number.isdigit() or int(number) < 1:
            raise ValueError(
                f"Expected 1 parent or more, at most half as many as pictures; got {number!r} of {spec!r}."
            )
        found["parents"] = int(number)
    elif colon:
        try:
            found["variety"] = float(number)
        except ValueError:
            raise wrong from None
        if not 0 <= float(number) <= 1:
            raise wrong
    if novelty is not None:
        check_novelty(novelty)
        if way in ("mean", "covariance") or found["parents"] is not None:
            raise ValueError(f'Expected no novelty with "{spec}"; got {novelty:g}. It is for "parents" and "mixture".')
    return Learn(spec.strip().lower(), way, novelty=novelty, long=long, **found)  # type: ignore[arg-type]


def choose(learn: Learn, kept: Kept, level_sizes: Sequence[int], shape: Sequence[int], radius: float = 1.0) -> Chosen:
    """Return the distribution that evidence is drawn from.

    Args:
        learn: what is learned.
        kept: latents of the evidence, of at least one picture.
        level_sizes: numbers of each level of the model's latents, finest first.
        shape: of its pictures: channels, height and width.
        radius: ``|z| / sqrt(D)`` of the model's typical latents.

    Raises:
        ValueError: more parents than half of the pictures, or none at all.
    """
    if learn.way == "mean":
        return Chosen()
    rows = kept.rows[kept.usable(learn.long)]
    m, notes = len(rows), []
    if kept.left_out:
        notes.append(f"{len(kept)} of {kept.count} pictures are drawn from, chosen by their hash")
    repeated = sum(kept.counts) - len(kept)
    if repeated:
        notes.append(f"{repeated} of the pictures are there already and count once")
    if m < 2 or _alike(rows):
        some = "one picture shows" if m < 2 else f"{m} pictures all alike show"
        notes.append(f"{some} no variety to learn, so samples are drawn in the paper's way")
        return Chosen(note="; ".join(notes))
    learned = _learned(rows, learn.variety, level_sizes, radius)
    drawn, note = _distribution(learn, kept, m, learned, level_sizes, shape)
    notes += filter(None, [note, learned.note if isinstance(drawn, Learned) else ""])
    return Chosen(drawn, learned.gaussian, "; ".join(notes))


def _distribution(
    learn: Learn, kept: Kept, m: int, learned: Learned, level_sizes: Sequence[int], shape: Sequence[int]
) -> tuple[LatentDistribution, str]:
    if learn.way == "covariance":
        return learned, ""
    if learn.way == "mixture":
        bandwidth = bandwidth_of(MIXTURE_NOVELTY if learn.novelty is None else learn.novelty)
        return Mixture(kept, bandwidth, learned.covariance, learn.long), ""
    weights: Weights | None
    if learn.parents is not None:
        weights = Weights(learn.parents)
    elif learn.novelty is not None:
        weights = weights_for(learn.novelty, m)
        if weights is None and learn.novelty < 1 and m >= FEWEST:
            few = f"novelty {learn.novelty:g} takes more parents than half of {m} pictures"
            return learned, f"{few}, so their Gaussian is drawn: {_limits(m)}"
    else:
        weights = Weights(min(PARENTS, m // 2)) if m >= FEWEST else None
    if weights is None:
        if m < FEWEST and learn.novelty != 1:
            one = f"{m} pictures have {m} different samples of one parent, and too few for two"
            return learned, f"{one}, so their Gaussian is drawn"
        return learned, ""
    note = f"one parent gives the evidence back: there are {m} different samples" if weights.count == 1 else ""
    return Parents(kept, weights, levels_of(level_sizes, shape), long=learn.long), note


def _limits(m: int) -> str:
    """The largest novelty that parents of m pictures have."""
    largest = Weights(m // 2).novelty
    return f"parents reach {math.floor(100 * largest) / 100:g}"


def _learned(rows: Tensor, variety: float, level_sizes: Sequence[int], radius: float) -> Learned:
    evidence = Evidence.of(rows)
    return Learned.of(evidence, rows.double() - evidence.mean, variety, level_sizes=level_sizes, radius=radius)


def _alike(rows: Tensor) -> bool:
    """Whether latents do not differ by more than rounding."""
    z = rows.double()
    return bool((z - z.mean(0)).square().sum() <= 1e-10 * z.square().sum())
