"""New pictures of evidence, beside the model's own: what the sliders mean.

Always `bounds.NUMBER` latents are drawn, from one seed, and the first n of them decoded. So the same draws are seen
whatever slider is moved, and one picture more leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.app import bounds
from transflow.app.gathering import Seen, Work, one_by_one, posterior
from transflow.app.sessions import Session
from transflow.app.shelf import own_temperature
from transflow.conditioning import quality
from transflow.conditioning.model import Model
from transflow.conditioning.notes import notes
from transflow.conditioning.posterior import Posterior
from transflow.conditioning.tempered import tempered
from transflow.gaussians.levels import levels_of

WAYS = {  # what is learned, as the page calls it
    "parents": "Parents: a few pictures each",
    "covariance": "Covariance",
    "mixture": "Mixture: one each",
    "mean": "Mean: the paper",
}


@dataclass(frozen=True)
class Settings:
    """What the sliders say.

    Attributes:
        way: one of `WAYS`.
        novelty: of parents and a mixture, 0 to 1; None for four parents.
        covariance: how much of the evidence's variety there is, 0 to 1.
        noise: lambda in units of m, of the mean; None for "typical".
        temperature: factor on the standard deviation.
        n: how many pictures are seen.
        seed: of the draws.
    """

    way: str = "parents"
    novelty: float | None = None
    covariance: float = 0.75
    noise: float | None = None
    temperature: float = 1.0
    n: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise ValueError(f"Expected as what to learn one of {', '.join(WAYS)}; got another.")
        if not 1 <= self.n <= bounds.NUMBER:
            raise ValueError(f"Expected 1 to {bounds.NUMBER} pictures; got {self.n}.")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"Expected a seed from 0 to {2**31 - 1}; got {self.seed}.")
        if self.way == "mean" and self.noise is not None and not self.noise > 0:
            raise ValueError(f"Expected a noise above 0; got {self.noise:g}m.")

    @property
    def learn(self) -> str:
        """As `Model.condition` takes it."""
        return f"covariance:{self.covariance:g}" if self.way == "covariance" else self.way

    @property
    def newness(self) -> float | None:
        """The novelty, of the ways that have one."""
        return self.novelty if self.way in ("parents", "mixture") else None

    @property
    def spec(self) -> str | None:
        """The noise as `Model.condition` takes it, of the mean alone."""
        if self.way != "mean":
            return None
        return "typical" if self.noise is None else f"{self.noise:g}m"


@dataclass(frozen=True, eq=False)
class New:
    """New pictures, perhaps not yet all.

    Attributes:
        pictures: floats in [0, 1], (n, C, H, W).
        wanted: how many there will be.
        note: one line on them; empty until all are there.
    """

    pictures: Tensor
    wanted: int
    note: str = ""


def conditioned(session: Session, model: Model, some: Seen, settings: Settings, work: Work | None = None) -> Posterior:
    """Return the posterior that the sliders mean."""
    return posterior(session, model, some, settings.learn, settings.newness, settings.spec, work)


def draw(found: Posterior, settings: Settings, names: tuple[str, ...] = (), work: Work | None = None) -> Iterator[New]:
    """Yield new pictures of a posterior: all at once of a fast model, more and more of a slow one.

    Args:
        found: the posterior.
        settings: how many, of which seed and temperature.
        names: of the evidence pictures, for the notes.
        work: stops between the parts.
    """
    latents = found.sample(bounds.NUMBER, seed=settings.seed, temperature=settings.temperature)[: settings.n]
    parts: list[Tensor] = []
    broken = 0.0
    for part in one_by_one(len(latents), found.model):
        if work is not None:
            work.check()
        pictures, known = quality.decode(found.model, latents[part])
        parts.append(pictures.cpu().float())
        broken += (known.broken or 0.0) * len(pictures)
        done = sum(map(len, parts))
        note = _note(found, latents, broken / done, names) if done == settings.n else ""
        yield New(torch.cat(parts), settings.n, note)


def prior(session: Session, model: Model, n: int, seed: int, work: Work | None = None) -> Iterator[New]:
    """Yield the model's own pictures, as `draw` does; the last ones are kept by the session.

    Args:
        session: which keeps them.
        model: the old model.
        n: how many.
        seed: of the draws.
        work: stops between the parts.
    """
    n = min(n, bounds.NUMBER)
    kept: dict[int, Tensor] = session.made(("prior", model.fingerprint or model.name, seed), dict, most=8)
    have = kept.get(0, torch.zeros(0, *model.shape, dtype=torch.float32, device="cpu"))
    if len(have) < n:
        latents = model.prior.sample(bounds.NUMBER, seed=seed, temperature=own_temperature(model))
        latents = tempered(model, latents, model.prior.mean)
        for part in one_by_one(n - len(have), model):
            if work is not None:
                work.check()
            have = torch.cat(
                [have, model.decode(latents[len(have) : len(have) + part.stop - part.start]).cpu().float()]
            )
            kept[0] = have
            yield New(have[:n], n)
    yield New(have[:n], n, f"{model.name} by itself, temperature {own_temperature(model):g}")


def _note(found: Posterior, latents: Tensor, broken: float, names: tuple[str, ...]) -> str:
    """How many are broken or near-copies, and what is to be known of the evidence."""
    copies = None
    if found.kept is not None and len(found.kept) > 1:
        levels = levels_of(found.model.level_sizes, found.model.shape)
        copies = quality.near_copies(latents, found.kept.rows, levels).double().mean().item()
    shares = quality.Quality(broken if found.model.can("unclamped") else None, copies)
    words = [str(shares)] if str(shares) else []
    if found.chosen.drawn is None:
        words.append(f"noise {found.noise}")
    some = "1 picture" if found.evidence.count == 1 else f"{found.evidence.count} pictures"
    return "; ".join([f"{some} of evidence", *words, *notes(found, names)])
