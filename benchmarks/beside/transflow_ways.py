"""What transflow does with the evidence: latents, statistics in closed form, and pictures again; nothing is trained.

    parents           zeta_bar + sum_j w_j (zeta_ij - zeta_bar), a few pictures each: `condition` as it is
    the paper         N(s zeta_bar, (1 - s) I), s by the typical noise (Gambardella et al. 2019)
    one picture       its latent, moved by the optimal transport map from N(0, I) to the evidence's Gaussian: `edit`

The last changes the sources, wholly or by half of the way.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from method import HAS, Meter, Method, Result, Task, timed
from transflow import load
from transflow.conditioning import edits
from transflow.pictures import grids


def sampled(task: Task, learn: str | None) -> Result:
    meter = Meter()
    model = load("faces-32")

    def draw(n: int) -> Tensor:
        return grids.to_uint8(posterior.pictures(n, seed=task.seed))

    posterior = model.condition(task.evidence, learn=learn)
    draw(1)
    first = meter.seconds
    made, seconds = timed(lambda: draw(len(task.sources)))
    return Result(made, False, first, seconds / len(made), len(task.evidence) + 1, meter.gigabytes)


def towards(task: Task, strength: float) -> Result:
    meter = Meter()
    model = load("faces-32")
    edit = edits.towards(model.condition(task.evidence, learn="covariance"))
    grids.to_uint8(edit.pictures(task.sources[:1], strength))
    first = meter.seconds
    made, seconds = timed(lambda: grids.to_uint8(edit.pictures(task.sources, strength)))
    return Result(made, True, first, seconds / len(made), len(task.evidence) + 2, meter.gigabytes)


PAPER = "Gambardella et al. 2019, arXiv 1911.13270"
METHODS = (
    Method("transflow, 24 pictures", "docs/new-model.md", partial(sampled, learn=None), "novelty", HAS),
    Method("transflow by the paper, 24 pictures", PAPER, partial(sampled, learn="mean"), "the noise", HAS),
    Method("transflow towards, 24 pictures", "docs/edits.md", partial(towards, strength=1.0), "strength", HAS),
    Method("transflow half towards, 24 pictures", "docs/edits.md", partial(towards, strength=0.5), "strength", HAS),
)
