"""What new pictures are like: how many are broken, and how many are near-copies of an evidence picture.

A broken picture has more than 2 % of its values further than 0.15 beyond the range of pixels, before they are cut to
it: the decoder was asked for a latent that it never saw. A near-copy has a latent, or a latent's coarsest level, nearer
to that of an evidence picture than `COPY` of the way that pictures of the evidence are from each other: its own novelty
is below that (see `gaussians.novelty`). Other pictures of the kind are no such copies, nor are samples of four parents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.gaussians.kept import Kept
from transflow.gaussians.levels import Levels, levels_of

BEYOND = 0.15  # of the range of pixels by which a value of a broken sample lies beyond it
SHARE = 0.02  # of its values at least
COPY = 0.4  # of the median distance between evidence pictures' latents


@dataclass(frozen=True)
class Quality:
    """Shares of new pictures, 0 to 1.

    Attributes:
        broken: beyond the range; None where the model does not show it.
        copies: near-copies of an evidence picture; None where no latents of evidence are held.
    """

    broken: float | None
    copies: float | None

    @classmethod
    def of_all(cls, parts: Sequence[Quality], counts: Sequence[int]) -> Quality:
        """Return the shares of pictures that came in parts, of counts each."""
        shares = {}
        for name in ("broken", "copies"):
            known = [(getattr(part, name), count) for part, count in zip(parts, counts, strict=True)]
            total = sum(count for _, count in known)
            whole = bool(total) and all(share is not None for share, _ in known)
            shares[name] = sum(share * count for share, count in known) / total if whole else None
        return cls(**shares)

    def __str__(self) -> str:
        shares = {"broken": self.broken, "near-copies": self.copies}
        return ", ".join(f"{share:.0%} {name}" for name, share in shares.items() if share is not None)


def decode(model: BaseModel, latents: Tensor, kept: Kept | None = None) -> tuple[Tensor, Quality]:
    """Return the pictures of latents, as `BaseModel.decode` does, and what they are like.

    Args:
        model: any.
        latents: shape (n, D).
        kept: latents of the evidence.
    """
    values = model.decode_unclamped(latents)
    broken = broken_ones(values).double().mean().item() if model.can("unclamped") and len(values) else None
    pictures = values.clamp(0, 1) if model.can("unclamped") else values
    copies = None
    if kept is not None and len(kept) > 1 and len(latents):
        copies = near_copies(latents, kept.rows, levels_of(model.level_sizes, model.shape))
    return pictures, Quality(broken, None if copies is None else copies.double().mean().item())


def broken_ones(values: Tensor) -> Tensor:
    """Return which pictures (n, C, H, W), not cut to [0, 1], are broken, shape (n,)."""
    flat = values.flatten(1)
    return ((flat < -BEYOND) | (flat > 1 + BEYOND)).double().mean(1) > SHARE


def near_copies(latents: Tensor, evidence: Tensor, levels: Levels | None = None) -> Tensor:
    """Return which latents are near-copies of evidence, shape (n,).

    Args:
        latents: shape (n, D).
        evidence: m different latents, 2 or more, shape (m, D).
        levels: of the latents, whose coarsest is compared, too; None for the whole alone.
    """
    found = _near(latents.double(), evidence.double())
    if levels is None or levels.count < 2:
        return found
    return found | _near(levels.coarsest(latents.double()), levels.coarsest(evidence.double()))


def _near(latents: Tensor, evidence: Tensor) -> Tensor:
    others = ~torch.eye(len(evidence), dtype=torch.bool, device=evidence.device)
    return torch.cdist(latents, evidence).amin(1) < COPY * torch.cdist(evidence, evidence)[others].median()
