"""A small convolutional encoder and decoder: what autoencoders of every kind are made of.

A level of the encoder halves height and width, rounding up, so pictures may be of any size:

    encoder: (conv of stride 2, conv) a level, then a linear map of all that is left to the code
    decoder: a linear map back, then (enlarge to the level's size, conv, conv) a level, and a conv to the pictures

each convolution of 3 x 3 followed by a group norm and SiLU. Nothing looks across a batch, so a picture has the code
that it has alone. Pictures are floats in (-1/2, 1/2).

Reference: Hinton and Salakhutdinov 2006, *Reducing the dimensionality of data with neural networks*, Science 313;
Wu and He 2018, *Group normalization*, arXiv 1803.08494.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.plain_values import make_plain

GROUP = 8  # channels that are normalised together
LATENTS = (2, 128)  # fewest and most numbers of a latent


@dataclass(frozen=True)
class CodecConfig:
    """The architecture of an encoder and a decoder.

    Attributes:
        shape: of a picture, (C, H, W).
        latent: D, numbers of a latent.
        widths: channels of each level, finest first, multiples of 8; each level is half as fine as the one before.
    """

    shape: tuple[int, int, int] = (3, 32, 32)
    latent: int = 64
    widths: tuple[int, ...] = (32, 64, 128)

    def __post_init__(self) -> None:
        make_plain(self)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"Expected a shape (C, H, W); got {self.shape}.")
        least, most = LATENTS
        if not least <= self.latent <= most:
            raise ValueError(f"Expected a latent of {least} to {most} numbers; got {self.latent}.")
        if not self.widths or any(width < 1 or width % GROUP for width in self.widths):
            raise ValueError(f"Expected widths that are multiples of {GROUP}; got {self.widths}.")
        if min(self.shape[1:]) < 2 ** len(self.widths):
            raise ValueError(
                f"Expected height and width of {2 ** len(self.widths)} or more, to halve {len(self.widths)} times; "
                f"got {self.shape[1]} and {self.shape[2]}. Give fewer widths."
            )

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the pictures, and after each level."""
        found = [self.shape[1:]]
        for _ in self.widths:
            found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
        return tuple(found)

    @property
    def fewest_weights(self) -> int:
        """A number of weights that its model has at least: those of the encoder's second convolutions."""
        return sum(9 * width * width for width in self.widths)


class Encoder(nn.Module):
    """Pictures (B, C, H, W) to numbers (B, outputs)."""

    def __init__(self, config: CodecConfig, outputs: int) -> None:
        super().__init__()
        levels = [
            nn.Sequential(_convolution(before, width, stride=2), _convolution(width, width))
            for before, width in pairwise((config.shape[0], *config.widths))
        ]
        self.levels = nn.Sequential(*levels)
        high, wide = config.sizes[-1]
        self.head = nn.Linear(config.widths[-1] * high * wide, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the numbers, of the dtype of the pictures."""
        return self.head(self.levels(x).flatten(1)).to(x.dtype)


class Decoder(nn.Module):
    """Codes (B, D) to pictures (B, C, H, W), not bounded."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        high, wide = config.sizes[-1]
        self.coarsest = (config.widths[-1], high, wide)
        self.sizes = config.sizes[-2::-1]
        self.head = nn.Linear(config.latent, config.widths[-1] * high * wide)
        self.levels = nn.ModuleList(
            nn.Sequential(_convolution(width, finer), _convolution(finer, finer))
            for width, finer in pairwise((*config.widths[::-1], config.widths[0]))
        )
        self.last = nn.Conv2d(config.widths[0], config.shape[0], 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        """Return the pictures, of the dtype of the codes."""
        x = self.head(code).unflatten(1, self.coarsest)
        for size, level in zip(self.sizes, self.levels, strict=True):
            x = level(F.interpolate(x, size=size, mode="nearest"))
        return self.last(x).to(code.dtype)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(outputs // GROUP, outputs), nn.SiLU())


class CodecModule(nn.Module):
    """A model of a small latent: what those built on these networks have alike.

    Attributes:
        config: of the model.
    """

    config: CodecConfig

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.config.shape

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """One level, of all D numbers."""
        return (self.config.latent,)


def prepare(model: CodecModule, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return pictures (B, C, H, W) and as many draws of N(0, I), (B, D)."""
    return x, torch.randn(len(x), model.config.latent, generator=generator, device=x.device, dtype=torch.float32)
