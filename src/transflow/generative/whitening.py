"""Whitening of pictures as if their statistics were the same everywhere: every frequency of each colour scaled to 1.

With Q the three colours that differ independently of each other (their covariance's eigenvectors), C the orthonormal
discrete cosine transform of rows and columns, and s the root mean squares of what C Q (x - mean) is on some pictures,

    y = Q' C' (C Q (x - mean) / s),    log |det dy/dx| = - sum log s,

so y lies where its picture does (ZCA), and has no correlations but those that differ from place to place. A full
covariance would take more pictures than it has rows; s needs some tens.

Reference: Bell and Sejnowski 1997, *The "independent components" of natural scenes are edge filters*; Dinh, Krueger and
Bengio 2015, arXiv 1410.8516, whiten pictures for NICE.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LEAST = 1e-3  # of a deviation, in units of the pictures' range; a grey level is 4e-3


def cosines(size: int) -> Tensor:
    """Return the discrete cosine transform as an orthogonal matrix (size, size), double.

    >>> C = cosines(5)
    >>> torch.allclose(C @ C.T, torch.eye(5, dtype=torch.float64))
    True
    """
    places = torch.arange(size, dtype=torch.float64, device="cpu")
    found = (math.pi / size * places[:, None] * (places + 0.5)).cos() * math.sqrt(2 / size)
    found[0] /= math.sqrt(2)
    return found


class Whitening(nn.Module):
    """An affine bijection of pictures (B, C, H, W), the identity until it is fitted.

    Attributes:
        mean: the mean picture, (C, H, W).
        colours: Q, (C, C).
        deviation: s, (C, H, W).
    """

    mean: Tensor
    colours: Tensor
    deviation: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = shape
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float32))
        self.register_buffer("colours", torch.eye(channels, dtype=torch.float32))
        self.register_buffer("deviation", torch.ones(shape, dtype=torch.float32))
        self.register_buffer("rows", cosines(height), persistent=False)
        self.register_buffer("columns", cosines(width), persistent=False)

    def frequencies(self, x: Tensor) -> Tensor:
        """Return C Q x, (B, C, H, W)."""
        colours = torch.einsum("dc,bchw->bdhw", self.colours.to(x), x)
        return self.rows.to(x) @ colours @ self.columns.to(x).T

    def places(self, y: Tensor) -> Tensor:
        """Undo `frequencies`."""
        return torch.einsum("dc,bdhw->bchw", self.colours.to(y), self.rows.to(y).T @ y @ self.columns.to(y))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return whitened pictures (B, C, H, W) and the log-determinant, (B,), in nats."""
        with torch.autocast(x.device.type, enabled=False):
            y = self.places(self.frequencies(x - self.mean) / self.deviation)
            return y, -self.deviation.log().sum().expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        """Return pictures (B, C, H, W)."""
        with torch.autocast(y.device.type, enabled=False):
            return self.places(self.frequencies(y) * self.deviation) + self.mean

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Measure mean, colours and deviations of pictures (B, C, H, W)."""
        self.mean.copy_(x.double().mean(0))
        apart = x.double() - self.mean.double()
        flat = apart.transpose(0, 1).flatten(1)
        self.colours.copy_(torch.linalg.eigh(flat @ flat.T / flat.shape[1])[1].T)
        self.deviation.copy_(self.frequencies(apart).square().mean(0).sqrt().clamp(min=LEAST))
