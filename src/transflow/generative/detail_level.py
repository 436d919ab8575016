"""One level of a pyramid, trained alone: details given the average, on crops of pictures of 2S x 2S.

    loss = -log p(details | average) / n,    n details of a crop,

in nats a detail; bits a detail are those of the details alone, whatever the averages are. So that the level is a whole
model by itself, which is kept, sampled and looked at as any other, its averages have the simplest density there is,

    log p(x) = log p(details | average) + log N(average; mean, diag(deviation^2)) + log |det d(average, details) / dx|,

one mean and deviation a colour, of the first pictures. A pyramid puts its base in their place.

A level that stands below another in a pyramid sees averages of larger pictures, which are no whole grey levels. With
``whole`` below 1 the other crops get one more rounding error, the uniform noise that rounding took away.

Reference: Yu, Derpanis and Brubaker 2020, *Wavelet Flow*, arXiv 2010.13821.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from transflow.generative.details import DetailConfig, DetailFlow
from transflow.generative.pyramid import haar_join, haar_log_det, haar_split

GREY_LEVEL = 1 / 256


@dataclass(frozen=True)
class DetailLevelConfig(DetailConfig):
    """The architecture of a level by itself, and the crops that it is trained on.

    Attributes:
        size: height and width of a picture, even.
        crop: height and width of the crops, even; a size as large or smaller is shown whole.
        whole: share of the crops whose pixels are whole grey levels, as a file has them.
    """

    size: int = 64
    crop: int = 64
    whole: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.size, self.crop) < 2 or self.size % 2 or self.crop % 2:
            raise ValueError(f"Expected an even size and crop of 2 pixels or more; got {self.size} and {self.crop}.")
        if not 0 <= self.whole <= 1:
            raise ValueError(f"Expected a share of whole grey levels of 0 to 1; got {self.whole}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.channels, self.size, self.size

    @property
    def flow(self) -> DetailConfig:
        """The architecture of the level's flow, as a pyramid has it."""
        return DetailConfig(**{part.name: getattr(self, part.name) for part in fields(DetailConfig)})


class DetailLevel(nn.Module):
    """Details given averages that are independent normal numbers: pictures (B, C, 2S, 2S) to latents (B, D).

    >>> level = DetailLevel(DetailLevelConfig(size=8, steps=2, width=8, seen=8, coarser=(8, 8)))
    >>> z, log_det = level(torch.rand(2, 3, 8, 8) - 0.5)
    >>> z.shape, level.level_sizes, level.inverse(z).shape
    (torch.Size([2, 192]), (144, 48), torch.Size([2, 3, 8, 8]))
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: DetailLevelConfig) -> None:
        super().__init__()
        self.config = config
        self.details = DetailFlow(config.flow)
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("deviation", torch.full((config.channels,), 0.25))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.config.shape

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """How many of the D latents are details, and how many averages."""
        averages = self.config.channels * (self.config.size // 2) ** 2
        return 3 * averages, averages

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents, (B, D), details first, and ``log |det dz/dx|``, (B,), in nats."""
        average, details = haar_split(x)
        z, log_det = self.details(details, average)
        standard = (average - self.mean[:, None, None]) / self.deviation[:, None, None]
        log_det = log_det - haar_log_det(average) - self.deviation.log().sum() * average[0, 0].numel()
        return torch.cat([z.flatten(1), standard.flatten(1)], 1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures, (B, C, 2S, 2S), of latents (B, D)."""
        channels, size = self.config.channels, self.config.size // 2
        details, standard = z.split(self.level_sizes, 1)
        average = standard.unflatten(1, (channels, size, size)) * self.deviation[:, None, None]
        average = average + self.mean[:, None, None]
        return haar_join(average, self.details.inverse(details.unflatten(1, (3 * channels, size, size)), average))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Start from these pictures: the flow as `DetailFlow.initialise`, the averages' mean and deviation."""
        average, details = haar_split(x)
        self.details.initialise(details, average)
        self.mean.copy_(average.double().mean((0, 2, 3)))
        self.deviation.copy_(average.double().std((0, 2, 3), correction=0) + 1e-3)


def crops(x: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return a square crop of each picture, (B, C, size, size), at an even place, so that averages stay averages."""
    count, _, height, width = x.shape
    if height <= size and width <= size:
        return x

    def places(length: int) -> Tensor:
        first = torch.randint((length - size) // 2 + 1, (count, 1), generator=generator, device=x.device)
        return 2 * first + torch.arange(size, device=x.device)

    rows, columns = places(height)[:, :, None], places(width)[:, None, :]
    each = torch.arange(count, device=x.device)[:, None, None]
    return x[each, :, rows, columns].permute(0, 3, 1, 2)


def prepare(level: DetailLevel, x: Tensor, generator: torch.Generator) -> tuple[Tensor]:
    """Return crops of pictures (B, C, H, W) in training, part of them with one more rounding error; else the pictures.

    Args:
        level: in training mode or not.
        x: pictures in (-1/2, 1/2), (B, C, H, W).
        generator: of the random draws, on their device.
    """
    if not level.training:
        return (x,)
    config = level.config
    x = crops(x, config.crop, generator)
    if config.whole < 1:
        between = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device, dtype=torch.float32) >= config.whole
        error = torch.rand(x.shape, generator=generator, device=x.device, dtype=torch.float32) - 0.5
        x = x + GREY_LEVEL * error * between
    return (x,)


def loss(level: DetailLevel, x: Tensor) -> Tensor:
    """Return ``-log p(details | average) / n``, (B,), in nats a detail, of pictures or crops (B, C, H, W)."""
    average, details = haar_split(x)
    z, log_det = level.details(details, average)
    return z.square().mean((1, 2, 3)) / 2 + 0.5 * math.log(2 * math.pi) - log_det / z[0].numel()


def on_top(level: DetailLevel, drawn: Tensor, real: Tensor) -> Tensor:
    """Return latents of drawn details on top of pictures' own averages; all (B, D)."""
    details = level.level_sizes[0]
    return torch.cat([drawn[:, :details], real[:, details:]], 1)
