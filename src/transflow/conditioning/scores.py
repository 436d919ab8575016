"""What a model says of pictures: how likely they are, and how they come back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from transflow.plain_values import one_line


@dataclass(frozen=True, eq=False)
class Scores:
    """How likely pictures are under a model, one number each, shape (B,), double.

    Attributes:
        log_prob: log density at the bin centres, in nats.
        bits_per_dim: the same in bits per dimension; less than the average over the bins that training
            reports, and below 0 for flat pictures, since it is a density where it is highest.
        radius: ``|z| / sqrt(D)``, near 1 for typical pictures of the model.
    """

    log_prob: Tensor
    bits_per_dim: Tensor
    radius: Tensor

    def __repr__(self) -> str:
        return one_line(self, f"{len(self.log_prob)} pictures")


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Pictures before and after encode and decode.

    Attributes:
        pictures: as the model sees them, floats in [0, 1], (B, C, H, W).
        decoded: after the round trip, likewise.
        errors: the largest difference of each, (B,), 1 being the whole range.
    """

    pictures: Tensor
    decoded: Tensor
    errors: Tensor

    def __repr__(self) -> str:
        return one_line(self, f"{len(self.errors)} pictures")
