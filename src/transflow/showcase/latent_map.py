"""A latent of two numbers as a map, and what lies between its corners, beside the cross-fade of pixels.

The map has n x n places of equal probability: with the quantiles of N(0, 1),

    z_ij = (q_j, q_(n+1-i)),    q_k = Phi^-1((k - 1/2) / n),

so each of its pictures stands for as many samples as any other; the first number grows to the right, the second
upwards.
Between four corners a, b (above), c, d (below), at shares s to the right and t downwards,

    (1 - t) ((1 - s) a + s b) + t ((1 - s) c + s d)

is taken of latents and then decoded, or of the decoded corners' pixels: pictures on the way, or ghosts of four.

Reference: Kingma and Welling 2014, arXiv 1312.6114, appendix A, for the map at quantiles.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.pictures import grids

EDGE = 0.05  # probability beyond each side of the corners, which lie at quantiles


def plane(n: int) -> Tensor:
    """Return latents (n * n, 2), double, at normal quantiles, row by row, the uppermost row first.

    >>> plane(2).round(decimals=2).tolist()
    [[-0.67, 0.67], [0.67, 0.67], [-0.67, -0.67], [0.67, -0.67]]
    """
    quantiles = torch.special.ndtri((torch.arange(n, dtype=torch.float64, device="cpu") + 0.5) / n)
    return torch.stack([quantiles.repeat(n), quantiles.flip(0).repeat_interleave(n)], 1)


def corners() -> Tensor:
    """Return four latents (4, 2), double, near the corners of the map: above left and right, below left and right."""
    far = torch.special.ndtri(torch.tensor(1 - EDGE, dtype=torch.float64, device="cpu")).item()
    places = [[-far, far], [far, far], [-far, -far], [far, -far]]
    return torch.tensor(places, dtype=torch.float64, device="cpu")


def between(four: Tensor, n: int) -> Tensor:
    """Return what lies between four corners (4, ...), latents or pictures: (n * n, ...), row by row."""
    share = torch.linspace(0, 1, n, dtype=four.dtype, device=four.device)
    weights = torch.stack([1 - share, share], 1)  # of the first and the second of two
    return torch.einsum("ta,sb,ab...->ts...", weights, weights, four.unflatten(0, (2, 2))).flatten(0, 1)


def latent_map(model: BaseModel, n: int = 16) -> Tensor:
    """Return the map of a model whose latent has two numbers, (n * n, C, H, W) in [0, 1], row by row.

    Raises:
        ValueError: its latent has more or fewer numbers, or another prior than N(0, I).
    """
    _check(model)
    return _decoded(model, plane(n))


def corners_beside_pixels(model: BaseModel, n: int = 8, four: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return what lies between four corners, (n * n, C, H, W) each: of latents, and of their pictures' pixels.

    Args:
        model: of any latent, but of two numbers if no corners are given.
        n: pictures a side.
        four: latents of the corners, (4, D); by default those of `corners`.

    Raises:
        ValueError: as `latent_map`, without corners.
    """
    if four is None:
        _check(model)
        four = corners()
    return _decoded(model, between(four, n)), between(_decoded(model, four), n)


def sheet(pictures: Tensor) -> bytes:
    """Return pictures of a map, (n * n, C, H, W), as a square PNG."""
    return grids.encode_image(grids.grid(pictures, math.isqrt(len(pictures)), gap=1), ".png")


def _decoded(model: BaseModel, latents: Tensor) -> Tensor:
    return model.decode(latents.to(device=model.device, dtype=torch.float32)).cpu()


def _check(model: BaseModel) -> None:
    if model.dim != 2 or not model.prior.is_standard:
        prior = "N(0, I)" if model.prior.is_standard else "another prior"
        raise ValueError(
            f"Expected a model whose latent has 2 numbers, with the prior N(0, I); got {model.dim} and {prior}. "
            "Train one with --family vae --latent 2."
        )
