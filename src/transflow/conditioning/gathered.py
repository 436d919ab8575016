"""What is gathered of evidence pictures: statistics of their latents, what they are known by, and some latents.

    gathered(A + B) = gathered(A) + gathered(B),   gathered(A + B) - gathered(B) = gathered(A),

in any order, from any number of workers. What is taken out must be what went in: pictures are known by the hash of
their pixels.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.gaussians.draws import Drawn
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.kept import LIMIT, Kept
from transflow.gaussians.sketch import Sketch
from transflow.latents.encoded import Encoded
from transflow.latents.stream import PicturesLike, stream
from transflow.plain_values import whole
from transflow.store.identity import digest


@dataclass(frozen=True, eq=False)
class Gathered:
    """Of m pictures, as evidence.

    Attributes:
        evidence: statistics of the latents.
        digests: a hash of each picture's pixels, in their order, so that only what went in is taken out.
        variance: the encoder's own variances of these latents, summed, shape (D,), double; None without.
        kept: latents of at most a stated number of them; None where none are kept.
        sketch: their scatter by a stated number of rows; None where it is not asked for.
    """

    evidence: Evidence
    digests: tuple[str, ...] = field(default=(), repr=False)
    variance: Tensor | None = field(default=None, repr=False)
    kept: Kept | None = field(default=None, repr=False)
    sketch: Sketch | None = field(default=None, repr=False)

    @classmethod
    def none(
        cls,
        dim: int,
        device: torch.device | str = "cpu",
        *,
        keep: bool,
        sketched: bool = False,
        limit: int = LIMIT,
    ) -> Gathered:
        """Return what is gathered of no picture.

        Args:
            dim: D.
            device: where it is kept.
            keep: whether latents are kept.
            sketched: whether the scatter is.
            limit: latents, and rows of the sketch, at most.
        """
        kept = Kept.none(dim, limit=limit, device=device) if keep else None
        sketch = Sketch.none(dim, limit, device) if sketched else None
        return cls(Evidence.none(dim, device=device), (), None, kept, sketch)

    @classmethod
    def of(cls, part: Encoded, *, keep: bool, sketched: bool = False, limit: int = LIMIT) -> Gathered:
        """Return what is gathered of a batch; the options are those of `none`."""
        digests = tuple(map(_digest, part.digests))
        variance = None if part.variance is None else part.variance.double().sum(0)
        kept = Kept.of(part.latents, digests, limit=limit) if keep else None
        sketch = Sketch.of(part.latents, limit) if sketched else None
        return cls(Evidence.of(part.latents), digests, variance, kept, sketch)

    @classmethod
    def all_of(cls, model: BaseModel, pictures: PicturesLike, **options: Any) -> Gathered:
        """Return what is gathered of pictures, encoded batch by batch; the options are those of `none`.

        Raises:
            ValueError: there is none.
        """
        total = cls.none(model.dim, model.device, **options)
        digests: list[str] = []
        for part in stream(model, pictures):
            more = cls.of(part, **options)
            digests += more.digests
            total += replace(more, digests=())
        if not digests:
            raise ValueError("Expected at least one picture; got none.")
        return replace(total, digests=tuple(digests))

    def __add__(self, other: Gathered) -> Gathered:
        variance = other.variance if self.variance is None else self.variance + other._variance
        kept = None if self.kept is None or other.kept is None else self.kept + other.kept
        sketch = None if self.sketch is None or other.sketch is None else self.sketch + other.sketch
        return Gathered(self.evidence + other.evidence, self.digests + other.digests, variance, kept, sketch)

    def __sub__(self, other: Gathered) -> Gathered:
        """Take pictures out that were added before.

        Raises:
            ValueError: one is not part of these, or was with another latent; or latents are kept of too few others.
        """
        left = Counter(self.digests)
        unknown = []
        for number, key in enumerate(other.digests, 1):
            left[key] -= 1
            unknown += [number] if left[key] < 0 else []
        if unknown:
            which = ", ".join(map(str, unknown[:5]))
            raise ValueError(
                f"Expected pictures that are in the evidence; {len(unknown)} of {len(other.digests)} are not "
                f"(numbers {which}). Nothing was changed."
            )
        try:
            evidence = self.evidence - other.evidence
        except ValueError:
            raise ValueError(
                "Expected the latents that these pictures had as evidence; got others, such as those of another "
                "precision. Nothing was changed."
            ) from None
        kept = None if self.kept is None else self.kept.remove(other.digests)
        sketch = None if self.sketch is None or other.sketch is None else self.sketch - other.sketch
        variance = None if self.variance is None else (self.variance - other._variance).clamp(min=0)
        gone = Counter(other.digests)
        rest = []
        for key in reversed(self.digests):  # of pictures that came several times, the last
            gone[key] -= 1
            rest += [key] if gone[key] < 0 else []
        return Gathered(evidence, tuple(reversed(rest)), variance, kept, sketch)

    def row_of(self, picture: int) -> int:
        """Return the row of the kept latents that a picture of this number, from 0, has."""
        if self.kept is None:
            raise ValueError(
                "Expected evidence that holds latents of pictures, to draw from one; got their sums alone."
            )
        picture = whole(picture, "the number of an evidence picture")
        if picture >= len(self.digests):
            raise ValueError(
                f"Expected the number of an evidence picture, 0 to {len(self.digests) - 1}; got {picture}."
            )
        if self.digests[picture] not in self.kept.keys:
            many = f"{len(self.kept)} of {len(self.digests)} are"
            raise ValueError(f"Expected a picture whose latent is kept; got number {picture}, which is not: {many}.")
        return self.kept.keys.index(self.digests[picture])

    def numbered(self, drawn: Drawn) -> Drawn:
        """Return samples made of rows of the kept latents with the numbers of the pictures, as they came, from 0."""
        assert self.kept is not None
        first = {key: i for i, key in reversed(list(enumerate(self.digests)))}
        numbers = torch.tensor([first[key] for key in self.kept.keys], device=drawn.parents.device, dtype=torch.long)
        return replace(drawn, parents=numbers[drawn.parents])

    def to(self, device: torch.device | str) -> Gathered:
        """Return the same on a device."""
        evidence = Evidence(self.evidence.count, self.evidence.total.to(device), self.evidence.scatter.to(device))
        variance = None if self.variance is None else self.variance.to(device)
        kept = None if self.kept is None else replace(self.kept, rows=self.kept.rows.to(device))
        sketch = None
        if self.sketch is not None:
            sketch = replace(self.sketch, evidence=evidence, factor=self.sketch.factor.to(device))
        return Gathered(evidence, self.digests, variance, kept, sketch)

    @property
    def _variance(self) -> Tensor:
        return torch.zeros_like(self.evidence.total) if self.variance is None else self.variance


def _digest(key: str) -> str:
    """A picture's hash as evidence keeps it, 32 hexadecimal digits, of a hash of any other form."""
    return key if re.fullmatch("[0-9a-f]{32}", key) else digest(key.encode())
