"""A batch of pictures as latents, each as it would come in any other full batch.

Convolution kernels are chosen by the shape of a batch, and some round otherwise: a picture's latent in single precision
may differ by 1e-5 between batches of 1 and of 64. So every batch is filled up to its full size, but that of a set which
is one batch alone, and a latent depends neither on its neighbours nor on where a set was cut. That is what makes the
evidence of a cluster, or of a resumed run, the evidence of one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.pictures.decode import PictureBatch
from transflow.plain_values import one_line
from transflow.store.identity import digest


@dataclass(frozen=True, eq=False)
class Encoded:
    """Some pictures of a set, B of them, as latents.

    Attributes:
        names: where each came from; empty for pictures that came as pixels.
        digests: a hash of each picture's pixels, as the model sees them.
        latents: shape (B, D).
        log_prob: log density at the bin centres in nats, (B,), where it was asked for.
        variance: the encoder's own variance of each latent, (B, D), of a model that has it.
    """

    names: tuple[str, ...]
    digests: tuple[str, ...]
    latents: Tensor
    log_prob: Tensor | None = None
    variance: Tensor | None = None

    def __len__(self) -> int:
        return len(self.latents)

    def __repr__(self) -> str:
        return one_line(self, f"{len(self)} pictures", f"D = {self.latents.shape[1]}")


def filled(batches: Iterable[PictureBatch], size: int, *, alone: bool = True) -> Iterator[tuple[PictureBatch, int]]:
    """Yield each batch with the number of rows to compute: the full size, but for a set of one batch.

    Args:
        batches: of pictures, in their order.
        size: rows of a full batch.
        alone: whether these batches are the whole set; not one of several shards, blocks or sources.
    """
    for i, (batch, following) in enumerate(pairwise(chain(batches, [None]))):
        assert batch is not None
        yield batch, len(batch) if alone and i == 0 and following is None else size


def encode_batch(model: BaseModel, batch: PictureBatch, rows: int, *, log_prob: bool = False) -> Encoded:
    """Return pictures as latents, computed among as many ``rows``, the last picture being repeated."""
    pixels, count = batch.pixels, len(batch)
    if not count:
        nothing = torch.zeros(0, dtype=torch.float64, device=model.device) if log_prob else None
        return Encoded(batch.names, (), torch.zeros(0, model.dim, device=model.device, dtype=torch.float32), nothing)
    if count < rows:
        pixels = torch.cat([pixels, pixels[-1:].expand(rows - count, *pixels.shape[1:])])
    likely = None
    variance = model.variance_of(pixels)[:count] if model.can("variance") else None
    if log_prob:
        latents, likely = model.score_pixels(pixels, batch.names)
        likely = likely[:count]
    else:
        latents = model.encode_pixels(pixels, batch.names)
    digests = tuple(digest(row.contiguous().numpy()) for row in batch.pixels)
    return Encoded(batch.names, digests, latents[:count], likely, variance)
