"""Latents kept by the hash of their picture: a uniform choice of at most a stated number, which merges.

Of all latents that came, those of the k smallest different keys are held (a bottom-k sketch). A key is a hash, so the
choice is uniform and depends neither on the order in which latents came nor on how they were shared among workers:

    kept(A + B) = bottom_k(kept(A) + kept(B)).

`beyond` is the smallest key that came and is not held: every picture of a smaller key is held, so taking one out needs
nothing that was dropped. A picture that came several times is held once, with its count.

What is kept are latents of pictures, of which an invertible model makes the pictures again: it is not anonymous.

Reference: Cohen and Kaplan 2007, *Summarizing data using bottom-k sketches*.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

LONG = 1.5  # of the evidence's median radius |z| / sqrt(D), or of the model's own, 1, where that is larger
CHANCE = 4.0  # standard deviations of a radius, 1 / sqrt(2 D), beyond that
LIMIT = 256  # latents held at most: 3 MB for faces-32, 200 MB for D = 196,608


@dataclass(frozen=True, eq=False)
class Kept:
    """Latents of different pictures, in the order of their keys.

    Attributes:
        keys: of the held pictures, ascending.
        rows: their latents, shape (n, D), as they came.
        counts: how often each picture came.
        left_out: how many pictures came that are not held.
        beyond: the smallest key that is not held, "" where all are held.
        limit: how many are held at most.

    >>> kept = Kept.of(torch.eye(3), keys=("b", "c", "a"), limit=2)
    >>> kept.keys, kept.left_out, kept.rows.tolist()
    (('a', 'b'), 1, [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    """

    keys: tuple[str, ...]
    rows: Tensor
    counts: tuple[int, ...]
    left_out: int = 0
    beyond: str = ""
    limit: int = field(default=LIMIT)

    @classmethod
    def none(cls, dim: int, *, limit: int = LIMIT, device: torch.device | str = "cpu") -> Kept:
        """Return what is kept of no picture, the neutral element of addition."""
        if limit < 1:
            raise ValueError(f"Expected to keep 1 latent or more; got {limit}.")
        return cls((), torch.zeros(0, dim, device=device, dtype=torch.float32), (), limit=limit)

    @classmethod
    def of(cls, latents: Tensor, keys: Sequence[str] | None = None, *, limit: int = LIMIT) -> Kept:
        """Return what is kept of latents.

        Args:
            latents: shape (m, D), finite.
            keys: hashes of their pictures; without them, of the latents themselves.
            limit: how many are held at most.

        Raises:
            ValueError: the latents are not a matrix of finite numbers, or keys are of another number.
        """
        if latents.ndim != 2 or not torch.isfinite(latents).all():
            raise ValueError(f"Expected finite latents of shape (m, D) to keep; got {tuple(latents.shape)}.")
        if keys is None:
            keys = [hashlib.sha256(row.numpy().tobytes()).hexdigest()[:32] for row in latents.cpu().contiguous()]
        if len(keys) != len(latents):
            raise ValueError(f"Expected a key for each of {len(latents)} latents; got {len(keys)}.")
        counts = Counter(keys)
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        found = tuple(sorted(counts))
        rows = latents[[first[key] for key in found]]
        return replace(
            cls.none(latents.shape[1], limit=limit), keys=found, rows=rows, counts=tuple(counts[k] for k in found)
        )._within("")

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dim(self) -> int:
        """D."""
        return self.rows.shape[1]

    @property
    def count(self) -> int:
        """m, the number of pictures that came, held or not."""
        return sum(self.counts) + self.left_out

    def __add__(self, other: Kept) -> Kept:
        if self.dim != other.dim:
            raise ValueError(f"Expected kept latents of D = {self.dim}; got D = {other.dim}.")
        beyond = min(filter(None, (self.beyond, other.beyond)), default="")
        one, two = self._within(beyond), other._within(beyond)
        limit = min(self.limit, other.limit)
        if not one.keys and not one.left_out:
            return replace(two, limit=limit)._within(beyond)
        if not two.keys:
            return replace(one, left_out=one.left_out + two.left_out, beyond=beyond, limit=limit)._within(beyond)
        counts = Counter(dict(zip(one.keys, one.counts, strict=True)))
        counts.update(dict(zip(two.keys, two.counts, strict=True)))
        place = {key: len(one) + i for i, key in enumerate(two.keys)} | {key: i for i, key in enumerate(one.keys)}
        keys = tuple(sorted(counts))
        rows = torch.cat([one.rows, two.rows.to(one.rows.device)])[[place[key] for key in keys]]
        left_out = one.left_out + two.left_out
        return Kept(keys, rows, tuple(counts[key] for key in keys), left_out, beyond, limit)._within(beyond)

    def remove(self, keys: Sequence[str]) -> Kept:
        """Return what is kept without these pictures.

        Raises:
            ValueError: one never came; or none that is held would be left of pictures that came.
        """
        counts = Counter(dict(zip(self.keys, self.counts, strict=True)))
        left_out = self.left_out
        for key in keys:
            if self.beyond and key >= self.beyond:
                left_out -= 1
            else:
                counts[key] -= 1
            if left_out < 0 or counts[key] < 0:
                raise ValueError(f"Expected to take out pictures that are kept; got one that is not ({key}).")
        stay = [i for i, key in enumerate(self.keys) if counts[key]]
        if left_out and not stay:
            raise ValueError(
                f"Expected to take out pictures such that some of the {len(self)} with kept latents stay, since "
                f"{left_out} others came whose latents are not kept; got all of them. Condition again on the others."
            )
        held = tuple(self.keys[i] for i in stay)
        many = tuple(counts[key] for key in held)
        return replace(
            self,
            keys=held,
            rows=self.rows[stay],
            counts=many,
            left_out=left_out,
            beyond=self.beyond if left_out else "",
        )

    @property
    def long(self) -> Tensor:
        """Which held latents are far too long to be a picture of this evidence: a mask, shape (n,)."""
        radii = self.rows.double().norm(dim=1) / math.sqrt(self.dim)
        usual = max(1.0, radii.median().item() if len(self) else 0.0)
        return radii > usual * (LONG + CHANCE / math.sqrt(2 * self.dim))

    def usable(self, long: bool = False) -> Tensor:
        """Return the numbers of the rows to draw from, ascending; those far too long only where they are asked for."""
        return torch.arange(len(self), device=self.rows.device) if long else (~self.long).nonzero().flatten()

    def _within(self, beyond: str) -> Kept:
        """What is kept of keys below `beyond` ("" for all), at most `limit` of them."""
        held = [i for i, key in enumerate(self.keys) if not beyond or key < beyond]
        if len(held) > self.limit:
            beyond = self.keys[held[self.limit]]
            held = held[: self.limit]
        if len(held) == len(self.keys):
            return replace(self, beyond=beyond)
        counts = tuple(self.counts[i] for i in held)
        left_out = self.count - sum(counts)
        return Kept(tuple(self.keys[i] for i in held), self.rows[held], counts, left_out, beyond, self.limit)
