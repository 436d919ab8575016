"""What new pictures are like: how many are broken, and how many are near-copies of an evidence picture.

A broken picture has more than 2 % of its values further than 0.15 beyond the range of pixels, before they are cut to
it: the decoder was asked for a latent that it never saw. A near-copy has a latent nearer to that of an evidence picture
than `COPY` of the way that pictures of the evidence are from each other: its own novelty is below that (see
`gaussians.novelty`). Other pictures of the kind are no such copies, nor are samples of three parents.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.gaussians.kept import Kept

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
    copies = None if kept is None or len(kept) < 2 or not len(latents) else near_copies(latents, kept.rows)
    return pictures, Quality(broken, None if copies is None else copies.double().mean().item())


def broken_ones(values: Tensor) -> Tensor:
    """Return which pictures (n, C, H, W), not cut to [0, 1], are broken, shape (n,)."""
    flat = values.flatten(1)
    return ((flat < -BEYOND) | (flat > 1 + BEYOND)).double().mean(1) > SHARE


def near_copies(latents: Tensor, evidence: Tensor) -> Tensor:
    """Return which latents (n, D) are near-copies of one of m different latents of the evidence (m, D), shape (n,)."""
    usual = distances(evidence, evidence)[~torch.eye(len(evidence), dtype=torch.bool, device=evidence.device)].median()
    return distances(latents, evidence).amin(1) < COPY * usual


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the distances of latents (n, D) from others (m, D), shape (n, m), double."""
    return torch.cdist(a.double(), b.double())
