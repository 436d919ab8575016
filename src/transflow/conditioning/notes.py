"""What its maker should know of a posterior: few, equal, too long or mixed pictures, and what its file holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from transflow.conditioning.posterior import Posterior
from transflow.gaussians.kinds import two_kinds

SHOWN = 5  # pictures named at most


def notes(posterior: Posterior, names: Sequence[str] = ()) -> Iterator[str]:
    """Yield notes on a posterior, one line each.

    Args:
        posterior: of any evidence.
        names: of the evidence pictures, in their order; without them, they are named by their numbers from 1.
    """
    if not posterior.evidence.count:
        return
    if posterior.chosen.note:
        yield posterior.chosen.note
    if posterior.chosen.drawn is None and posterior.noise.note:
        yield posterior.noise.note
    kept = posterior.kept
    if kept is None or not len(kept):
        return
    numbers = {key: i for i, key in reversed(list(enumerate(posterior.digests)))}

    def named(rows: Sequence[int]) -> str:
        chosen = sorted(numbers[kept.keys[row]] for row in rows)
        words = [names[i] if i < len(names) else f"number {i + 1}" for i in chosen[:SHOWN]]
        return ", ".join(words) + (f" and {len(chosen) - SHOWN} more" if len(chosen) > SHOWN else "")

    long = kept.long.nonzero().flatten().tolist()
    if long:
        radius = kept.rows[long].double().norm(dim=1).max().item() / math.sqrt(kept.dim)
        fate = "drawn from all the same" if posterior.learn.long else "left out of the drawing"
        yield f"latents far too long, up to {radius:.1f} times the model's own length, and {fate}: {named(long)}"
    usable = kept.usable(posterior.learn.long).tolist()
    kinds = two_kinds(kept.rows[usable])
    if kinds is not None:
        first = named([usable[i] for i in kinds.first])
        yield (
            f"two kinds of pictures seem mixed, {len(kinds.first)} and {len(kinds.second)}, with {kinds.between:.0%} "
            f"of their variance between them; a new model of each keeps them apart ({first})"
        )
