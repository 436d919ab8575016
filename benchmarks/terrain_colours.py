"""How heightmaps are shown: relief in the light of a sun, and textures by a rule from height, slope and water.

Relief is Lambert's law: with the slopes p = dz/dx to the east and q = dz/dy to the north, the surface's normal
n = (-p, -q, 1) / sqrt(1 + p^2 + q^2) and the direction of the light l,

    brightness = max(0, n . l),

on a map that was enlarged smoothly first; the colours are those of atlases, by height. The rule of textures: water by
its depth, sand beside it, grass, rock where it is steep, snow above a line; all softly. A climate says how dry the
grass is, where snow begins and how red the rock is, so one heightmap has many textures; each pixel has a little noise,
too.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
SEA = 0.3  # of the range of heights
STEEP = 0.055  # rise a cell, of the range of heights, from which on there is rock
BEACH = 0.035  # above the sea
GRAIN = 0.025  # standard deviation of a texture's noise, of the range of pixels
RELIEF = 10.0  # cells that a map would be high if it went from 0 to 1
LIGHT = (315.0, 45.0)  # from the north-west, 45 degrees high

DEEP, SHALLOW, SAND = (0.07, 0.20, 0.38), (0.30, 0.58, 0.68), (0.87, 0.80, 0.60)
LUSH, DRY = (0.20, 0.42, 0.16), (0.66, 0.58, 0.30)
GREY_ROCK, RED_ROCK, SNOW = (0.44, 0.43, 0.43), (0.58, 0.36, 0.27), (0.95, 0.96, 0.98)
ATLAS = (  # heights above the sea, 0 to 1, and their tints
    (0.0, (0.45, 0.62, 0.38)), (0.25, (0.72, 0.76, 0.50)), (0.5, (0.80, 0.68, 0.45)), (0.75, (0.66, 0.52, 0.40)),
    (1.0, (0.98, 0.98, 0.98)),
)  # fmt: skip


def slopes(z: Array, cell: float = 1.0) -> tuple[Array, Array]:
    """Return dz/dx to the right and dz/dy to the top of maps (n, H, W), central differences, of cells of this width."""
    down, across = np.gradient(z, cell, axis=(1, 2))
    return across, -down


def hillshade(z: Array, cell: float = 1.0, light: tuple[float, float] = LIGHT) -> Array:
    """Return the brightness, 0 to 1, of maps (n, H, W) whose heights are in the unit of the cell.

    Args:
        z: heights, the north at the top.
        cell: width of a cell.
        light: azimuth, clockwise from the north, and altitude, in degrees.
    """
    azimuth, altitude = np.deg2rad(light)
    p, q = slopes(z, cell)
    flat = np.cos(altitude)
    lit = -p * np.sin(azimuth) * flat - q * np.cos(azimuth) * flat + np.sin(altitude)
    return np.maximum(0, lit / np.sqrt(1 + p * p + q * q))


def relief(heights: Tensor, colours: Tensor | None = None, zoom: int = 4) -> Tensor:
    """Return maps as one looks at them from above, uint8 (n, 3, zoom H, zoom W).

    Args:
        heights: uint8 (n, 1, H, W).
        colours: textures to lay over them, uint8 (n, 3, H, W); the colours of an atlas if None.
        zoom: how much they are enlarged, bicubic, before they are lit.
    """
    smooth = F.pad(enlarged(heights, zoom), 4 * [zoom // 2], mode="replicate")  # bicubic slopes ripple with the cells
    smooth = F.avg_pool2d(smooth, 2 * (zoom // 2) + 1, stride=1)[:, 0].numpy()
    above = (np.maximum(smooth, SEA) - SEA) / (1 - SEA)
    shade = hillshade(RELIEF * np.maximum(smooth, SEA), 1 / zoom) / np.sin(np.deg2rad(LIGHT[1]))
    if colours is None:
        at = [height for height, _ in ATLAS]
        tint = np.stack([np.interp(above, at, [colour[i] for _, colour in ATLAS]) for i in range(3)], 1)
        under = (np.clip(smooth / SEA, 0, 1))[:, None]
        water = mix(rgb(DEEP), rgb(SHALLOW), under)
        tint = np.where(smooth[:, None] < SEA, water, tint)
    else:
        tint = enlarged(colours, zoom).numpy()
    lit = tint * (0.3 + 0.7 * shade[:, None])
    return torch.from_numpy(np.round(255 * lit.clip(0, 1)).astype(np.uint8))


def enlarged(pictures: Tensor, zoom: int) -> Tensor:
    """Return uint8 pictures as doubles, 0 to 1, enlarged by bicubic interpolation."""
    return F.interpolate(pictures.double() / 255, scale_factor=zoom, mode="bicubic").clamp(0, 1)


def climates(count: int, rng: np.random.Generator) -> Array:
    """Return how dry the grass is, 0 to 1, where snow begins, 0.6 to 0.9, and how red the rock is, 0 to 1: (n, 3)."""
    return np.stack([rng.random(count), rng.uniform(0.6, 0.9, count), rng.random(count)], 1)


def textures(heights: Tensor, climate: Array, rng: np.random.Generator | None = None) -> Tensor:
    """Return textures by the rule, uint8 (n, 3, H, W).

    Args:
        heights: uint8 (n, 1, H, W).
        climate: (n, 3), see `climates`.
        rng: of the noise; no noise if None.
    """
    z = heights[:, 0].double().numpy() / 255
    dry, line, red = (climate[:, i, None, None, None] for i in range(3))
    steep = np.hypot(*slopes(z))[:, None]
    z = z[:, None]
    ground = mix(rgb(LUSH), rgb(DRY), dry)
    rock = mix(rgb(GREY_ROCK), rgb(RED_ROCK), red)
    rocky = step(steep, STEEP, 0.02)
    snowy = step(z, line, 0.04) * (1 - 0.7 * step(steep, 1.6 * STEEP, 0.02))
    land = mix(mix(mix(ground, rgb(SAND), 1 - step(z, SEA + BEACH, 0.02)), rock, rocky), rgb(SNOW), snowy)
    water = mix(rgb(DEEP), rgb(SHALLOW), np.clip(z / SEA, 0, 1) ** 2)
    made = np.where(z < SEA, water, land)
    if rng is not None:
        made = made + GRAIN * rng.standard_normal((len(z), 1, *z.shape[2:])) * (1 + (z >= SEA)) / 2
    return torch.from_numpy(np.round(255 * made.clip(0, 1)).astype(np.uint8))


def rgb(colour: tuple[float, float, float]) -> Array:
    """Return a colour as (3, 1, 1)."""
    return np.array(colour)[:, None, None]


def mix(first: Array, second: Array, share: Array) -> Array:
    """Return (1 - share) first + share second."""
    return first + (second - first) * share


def step(value: Array, at: Array | float, width: float) -> Array:
    """Return 0 below, 1 above, and a smooth way of this width between."""
    t = np.clip((value - at) / width + 0.5, 0, 1)
    return t * t * (3 - 2 * t)
