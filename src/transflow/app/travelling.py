"""The way from one new model to another, as an animation and as a sheet.

The same as `Posterior.strip`, whose latents are decoded a stop at a time, so that it reports and can be stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.app import bounds
from transflow.app.gathering import Work
from transflow.conditioning.between import latents_between
from transflow.conditioning.posterior import Posterior


@dataclass(frozen=True)
class Journey:
    """How to go: stops, samples that are followed, and the seed and temperature of these."""

    steps: int = 12
    n: int = 4
    seed: int = 0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= bounds.STEPS:
            raise ValueError(f"Expected 2 to {bounds.STEPS} steps; got {self.steps}.")
        if not 1 <= self.n <= bounds.FOLLOWED:
            raise ValueError(f"Expected 1 to {bounds.FOLLOWED} samples to follow; got {self.n}.")


def way(first: Posterior, last: Posterior, journey: Journey, work: Work | None = None) -> Tensor:
    """Return pictures on the way, floats in [0, 1], (steps, n, C, H, W).

    Args:
        first: where it begins.
        last: where it ends, a posterior of the same model.
        journey: steps, samples, seed and temperature.
        work: reports and stops.

    Raises:
        ValueError: the posteriors are of different models.
    """
    first.check_same_model(last)
    work = work or Work()
    pieces = first.made_of_pictures or last.made_of_pictures
    ends = (first.drawn, last.drawn) if pieces else (first.gaussian, last.gaussian)
    latents = latents_between(
        first.model,
        *ends,
        journey.steps,
        journey.n,
        journey.seed,
        temperature=journey.temperature,
        novelty=min(first.newness, last.newness),
    )
    frames = []
    for number, stop in enumerate(latents):
        work.check()
        work.report(number / journey.steps, f"step {number + 1} of {journey.steps}")
        frames.append(first.model.decode(stop).cpu().float())
    return torch.stack(frames)
