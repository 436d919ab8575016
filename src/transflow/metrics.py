"""Figures of merit; the only place where bits per dimension exist."""

from __future__ import annotations

import math
from typing import TypeVar

from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def bits_per_dim(log_prob: Number, dim: int, bits: int) -> Number:
    """Return bits per dimension of a density over pictures scaled to unit range.

    ``-log_prob / (D ln 2) + n``: a bin of an n-bit pixel is ``2^-n`` wide in those units.

    Args:
        log_prob: log density of pictures in nats, summed over D.
        dim: D.
        bits: n, bits per pixel and channel.

    >>> bits_per_dim(0.0, dim=3072, bits=5)     # the uniform density knows nothing
    5.0
    """
    return -log_prob / (dim * math.log(2)) + bits
