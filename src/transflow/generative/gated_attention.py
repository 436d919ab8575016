"""The network of a Flow++ coupling: gated convolutions and self-attention over all places, block after block.

    x <- norm(x + gate(conv(elu(conv(elu(x))))),    x <- norm(x + gate(attention(x + place))),

with ``gate(u, v) = u sigmoid(v)``, ``elu`` of x and of -x side by side, and layer normalisation over channels. The
last convolution starts near zero; means of the mixture start spread, or its logistics would learn alike for ever.

Reference: Ho et al. 2019, *Flow++*, arXiv 1902.00275, section 3.3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = 4


def both_signs(x: Tensor) -> Tensor:
    """Return ELUs of x and of -x, (B, 2C, H, W)."""
    return F.elu(torch.cat([x, -x], 1))


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape, (B, C, H, W)."""
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class GatedConv(nn.Module):
    """Two convolutions and a gate, added to what comes.

    Args:
        width: channels.
        context: channels of what is given beside, of the same height and width; 0 for nothing.
    """

    def __init__(self, width: int, context: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(2 * width, width, 3, padding=1)
        self.given = nn.Conv2d(context, width, 1) if context else None
        self.second = nn.Conv2d(2 * width, 2 * width, 1)
        self.norm = ChannelNorm(width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (B, width, H, W)."""
        h = self.first(both_signs(x))
        if self.given is not None and context is not None:
            h = h + self.given(context)
        return self.norm(x + F.glu(self.second(both_signs(h)), 1))


class GatedAttention(nn.Module):
    """Attention of every place to every place, with a gate, added to what comes.

    Args:
        width: channels, a multiple of `HEADS`.
        size: height and width of the picture's half.
    """

    def __init__(self, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(width, *size) * 0.01)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, 2 * width, 1)
        self.norm = ChannelNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, H, W)."""
        q, k, v = self.qkv(x + self.place).flatten(2).unflatten(1, (3, HEADS, -1)).transpose(3, 4).unbind(1)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).flatten(1, 2).unflatten(2, x.shape[2:])
        return self.norm(x + F.glu(self.out(seen), 1))


class GatedNet(nn.Module):
    """From the half that stays to what the other half is changed by.

    Args:
        inputs: channels.
        width: hidden channels, a multiple of `HEADS`.
        outputs: channels.
        depth: blocks, of a gated convolution and, where it is asked for, attention.
        size: height and width.
        attention: whether there is attention.
        context: channels of what is given beside.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        outputs: int,
        depth: int,
        size: tuple[int, int],
        attention: bool,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.convs = nn.ModuleList(GatedConv(width, context) for _ in range(depth))
        self.attentions = nn.ModuleList(GatedAttention(width, size) for _ in range(depth if attention else 0))
        self.last = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.normal_(self.last.weight, std=1e-3)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (B, outputs, H, W)."""
        x = self.first(x)
        for i, conv in enumerate(self.convs):
            x = conv(x, context)
            if self.attentions:
                x = self.attentions[i](x)
        return self.last(x)
