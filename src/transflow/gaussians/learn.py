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

from torch import Tensor

from transflow.gaussians.draws import LatentDistribution
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.kept import Kept
from transflow.gaussians.learned import VARIETY, Learned
from transflow.gaussians.levels import levels_of
from transflow.gaussians.mixture import Mixture
from transflow.gaussians.noise import NoiseSpec, parse_noise
from transflow.gaussians.novelty import Weights, bandwidth_of, check_novelty, weights_for
from transflow.gaussians.parents import Parents
from transflow.gaussians.sketch import Sketch
from transflow.plain_values import scalar

DEFAULT_LEARN = "parents"
PARENTS = 4  # of a sample, where neither their number nor a novelty is given; chosen on hats, eyeglasses and drawings
VARIATION = 3  # parents of the finer levels of a variation of one picture
MIXTURE_NOVELTY = 0.5
FEWEST = 4  # different pictures from which on there are two parents
WAYS = ("parents", "covariance", "mixture", "mean")
FORMS = '"parents", "parents:N" for N parents, "covariance", "covariance:A" with A of 0 to 1, "mixture" or "mean"'


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

    @property
    def gathers(self) -> dict[str, bool]:
        """What it needs of evidence beside sums."""
        return {"keep": self.keeps_latents, "sketched": self.way == "covariance"}

    def __str__(self) -> str:
        return self.spec if self.novelty is None else f"{self.spec}, novelty {self.novelty:g}"


MEAN = Learn("mean", "mean")


@dataclass(frozen=True)
class Chosen:
    """The distribution that evidence is drawn from.

    Attributes:
        drawn: where samples come from; None for the paper's posterior.
        note: what the user should know about the choice; may be empty.
    """

    drawn: LatentDistribution | None = None
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
        check_novelty(novelty := scalar(novelty))
        if way in ("mean", "covariance") or found["parents"] is not None:
            raise ValueError(f'Expected no novelty with "{spec}"; got {novelty:g}. It is for "parents" and "mixture".')
    return Learn(spec.strip().lower(), way, novelty=novelty, long=long, **found)  # type: ignore[arg-type]


def what_to_learn(
    noise: NoiseSpec | None, learn: str | None = None, novelty: float | None = None, *, long: bool = False
) -> Learn:
    """Return what is learned where a noise may be given too: a noise alone means the paper's way.

    Raises:
        ValueError: one of them has none of its forms, or they do not go together.

    >>> what_to_learn("0.5m").way, what_to_learn(None).way
    ('mean', 'parents')
    """
    if noise is not None:
        parse_noise(noise)
        if learn is None and novelty is None:
            return MEAN
    found = parse_learn(learn, novelty, long=long)
    if noise is not None and found.keeps_latents:
        raise ValueError(f'Expected a noise for the mean alone, "mean"; got {noise!r} with "{found}".')
    return found


def choose(
    learn: Learn, kept: Kept, level_sizes: Sequence[int], shape: Sequence[int], sketch: Sketch | None = None
) -> Chosen:
    """Return the distribution that evidence is drawn from.

    Args:
        learn: what is learned.
        kept: latents of the evidence, of at least one picture.
        level_sizes: numbers of each level of the model's latents, finest first.
        shape: of its pictures: channels, height and width.
        sketch: how all latents vary, for "covariance" of more pictures than latents are kept of.

    Raises:
        ValueError: more parents than half of the pictures, or none at all.
    """
    if learn.way == "mean":
        return Chosen()
    rows = kept.rows[kept.usable(learn.long)]
    m, notes = len(rows), []
    if kept.left_out and learn.way == "covariance" and sketch is not None:
        missing = f"which miss {sketch.missing:.1%} of it, made good isotropically"
        notes.append(f"{kept.count} pictures' variety is known by {len(sketch.factor)} directions, {missing}")
    elif kept.left_out:
        notes.append(f"{len(kept)} of {kept.count} pictures are drawn from, chosen by their hash")
    repeated = sum(kept.counts) - len(kept)
    if repeated and not (kept.left_out and learn.way == "covariance"):
        notes.append(f"{repeated} of the pictures are there already and count once")
    if not varied(rows):
        some = "one picture shows" if m < 2 else f"{m} pictures all alike show"
        notes.append(f"{some} no variety to learn, so samples are drawn in the paper's way")
        return Chosen(note="; ".join(notes))
    drawn, note = _distribution(learn, kept, m, level_sizes, shape, sketch)
    notes += filter(None, [note, drawn.note if isinstance(drawn, Learned) else ""])
    return Chosen(drawn, "; ".join(notes))


def learned(learn: Learn, kept: Kept, level_sizes: Sequence[int], sketch: Sketch | None = None) -> Learned:
    """Return the learned Gaussian of two different latents or more; by the sketch, where not all are kept."""
    if sketch is not None and kept.left_out and learn.way == "covariance":
        return Learned.of(sketch.evidence, sketch.factor, learn.variety, level_sizes=level_sizes)
    rows = kept.rows[kept.usable(learn.long)]
    evidence = Evidence.of(rows)
    return Learned.of(evidence, rows.double() - evidence.mean, learn.variety, level_sizes=level_sizes)


def varied(rows: Tensor) -> bool:
    """Whether latents (m, D) differ by more than rounding."""
    z = rows.double()
    return len(rows) > 1 and bool((z - z.mean(0)).square().sum() > 1e-10 * z.square().sum())


def varying(kept: Kept, level_sizes: Sequence[int], shape: Sequence[int], *, long: bool = False) -> Parents:
    """Return the parents that vary one picture, of latents of 4 different pictures or more.

    Raises:
        ValueError: there are fewer.
    """
    m = len(kept.usable(long))
    if m < FEWEST:
        raise ValueError(f"Expected {FEWEST} different pictures or more, of which two are parents; got {m}.")
    return Parents(kept, Weights(min(VARIATION, m // 2)), levels_of(level_sizes, shape), long=long)


def _distribution(
    learn: Learn, kept: Kept, m: int, level_sizes: Sequence[int], shape: Sequence[int], sketch: Sketch | None
) -> tuple[LatentDistribution, str]:
    """Samples' distribution, and a note on it."""
    weights, note = None, ""
    if learn.way == "mixture":
        bandwidth = bandwidth_of(MIXTURE_NOVELTY if learn.novelty is None else learn.novelty)
        return Mixture(kept, bandwidth, learned(learn, kept, level_sizes).covariance, learn.long), note
    if learn.way == "parents":
        weights, note = _weights(learn, m)
    if weights is None:
        return learned(learn, kept, level_sizes, sketch), note
    return Parents(kept, weights, levels_of(level_sizes, shape), long=learn.long), note


def _weights(learn: Learn, m: int) -> tuple[Weights | None, str]:
    """Weights of parents of m pictures, or None for their Gaussian, and a note on it."""
    if learn.parents is not None:
        weights: Weights | None = Weights(learn.parents)
    elif learn.novelty is not None:
        weights = weights_for(learn.novelty, m)
    else:
        weights = Weights(min(PARENTS, m // 2)) if m >= FEWEST else None
    if weights is not None:
        one = f"one parent gives the evidence back: there are {m} different samples"
        return weights, one if weights.count == 1 else ""
    if learn.novelty == 1:
        return None, ""
    if m < FEWEST:
        few = f"{m} pictures have {m} different samples of one parent, and too few for two"
        return None, f"{few}, so their Gaussian is drawn"
    reach = math.floor(100 * Weights(m // 2).novelty) / 100
    few = f"novelty {learn.novelty:g} takes more parents than half of {m} pictures"
    return None, f"{few}, which reach {reach:g}, so their Gaussian is drawn"
