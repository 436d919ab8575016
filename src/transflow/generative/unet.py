"""A velocity network v(x, t): a U-Net over 2 x 2 patches, small enough for a processor.

Pictures are cut into patches, so the finest grid has half the pictures' height and width. Each width is a grid, the
next half as fine. A grid's way down is kept and joined to its way up; attention sees all places at once where the grid
is small. Time goes into every block as a scale and a shift of each channel.

Reference: Ronneberger, Fischer and Brox 2015, *U-Net*; Dhariwal and Nichol 2021, *Diffusion models beat GANs*,
arXiv 2105.05233, from which the blocks are.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.bijections import started_at_zero

FREQUENCIES = 32  # of the sines and cosines that stand for a time
GROUP = 16  # channels of a group that is normalised together
HEAD = 32  # channels of an attention head, about


class UNetConfig(Protocol):
    """What a U-Net needs to know."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""

    @property
    def patch(self) -> int:
        """Height and width of a patch, in pixels."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each grid, finest first, multiples of 16."""

    @property
    def depth(self) -> int:
        """Blocks of a grid, on the way down and on the way up."""

    @property
    def attention(self) -> tuple[bool, ...]:
        """Whether the blocks of each grid have attention, finest first."""

    @property
    def embedding(self) -> int:
        """Numbers that stand for a time."""

    @property
    def dropout(self) -> float:
        """Share of activations set to zero in training."""


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, channels // GROUP), channels)


def heads_of(channels: int) -> int:
    """Return the number of attention heads of about 32 channels."""
    return max(1, channels // HEAD)


class Attention(nn.Module):
    """Attention between all places of a grid, added to what comes, (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = heads_of(channels)
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = started_at_zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return features of x's shape."""
        parts = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(3, 4)
        q, k, v = parts.unbind(1)
        seen = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(seen.transpose(2, 3).flatten(1, 2).unflatten(2, x.shape[2:]))


class Block(nn.Module):
    """Two 3x3 convolutions that see the time, added to what comes; then attention where the grid has it."""

    def __init__(self, channels: int, embedding: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.first_norm, self.first = _norm(channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.time = nn.Linear(embedding, 2 * channels)
        self.second_norm = _norm(channels)
        self.dropout = nn.Dropout(dropout)
        self.second = started_at_zero(nn.Conv2d(channels, channels, 3, padding=1))
        self.attention = Attention(channels) if attention else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return features of x's shape, (B, C, H, W), given what stands for the times, (B or 1, embedding)."""
        scale, shift = self.time(time)[..., None, None].chunk(2, 1)
        hidden = self.second_norm(self.first(F.silu(self.first_norm(x))))
        hidden = F.silu(torch.addcmul(shift, hidden, 1 + scale))
        return self.attention(x + self.second(self.dropout(hidden)))


def _through(blocks: Any, x: Tensor, time: Tensor) -> Tensor:
    """What the blocks of a grid make of x."""
    for block in blocks:
        x = block(x, time)
    return x


class UNet(nn.Module):
    """Velocities (B, C, H, W) of pictures on their way (B, C, H, W) at times in [0, 1], () or (B,)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.patch = config.patch
        numbers = config.shape[0] * config.patch**2
        widths, embedding = config.widths, config.embedding
        self.embed = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.first = nn.Conv2d(numbers, widths[0], 3, padding=1)

        def blocks(i: int) -> nn.ModuleList:
            made = (Block(widths[i], embedding, config.dropout, config.attention[i]) for _ in range(config.depth))
            return nn.ModuleList(made)

        grids = range(len(widths))
        self.down = nn.ModuleList(blocks(i) for i in grids)
        self.up = nn.ModuleList(blocks(i) for i in grids)
        self.coarser = nn.ModuleList(nn.Conv2d(4 * widths[i], widths[i + 1], 1) for i in grids[:-1])
        self.finer = nn.ModuleList(nn.Conv2d(widths[i + 1], 4 * widths[i], 1) for i in grids[:-1])
        self.join = nn.ModuleList(nn.Conv2d(2 * widths[i], widths[i], 1) for i in grids[:-1])
        self.last_norm = _norm(widths[0])
        self.last = started_at_zero(nn.Conv2d(widths[0], numbers, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, more: Tensor | None = None) -> Tensor:
        """Return velocities, (B, C, H, W).

        Args:
            x: pictures on their way, (B, C, H, W).
            t: 0 at the noise, 1 at the pictures; () or (B,).
            more: added to what stands for the time before its last layer, (B, embedding): how a picture was changed.
        """
        power = torch.arange(FREQUENCIES, device=t.device, dtype=x.dtype) / (FREQUENCIES - 1)
        angles = t.reshape(-1, 1).to(x.dtype) * torch.exp(power * math.log(1000))
        embedded = self.embed[0](torch.cat([angles.sin(), angles.cos()], 1))
        time = self.embed[3](self.embed[2](self.embed[1](embedded if more is None else embedded + more)))
        x = self.first(F.pixel_unshuffle(x, self.patch))
        kept = []
        for i, blocks in enumerate(self.down):
            if i:
                kept.append(x)
                x = self.coarser[i - 1](F.pixel_unshuffle(x, 2))
            x = _through(blocks, x, time)
        for i, blocks in reversed(list(enumerate(self.up))):
            if i < len(kept):
                x = self.join[i](torch.cat([kept[i], F.pixel_shuffle(self.finer[i](x), 2)], 1))
            x = _through(blocks, x, time)
        return F.pixel_shuffle(self.last(F.silu(self.last_norm(x))), self.patch)
