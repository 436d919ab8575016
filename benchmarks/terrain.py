"""Heightmaps made by code: a wide mix to train on, sets of one's own to repurpose with, and pairs with their textures.

A heightmap is 32 x 32 numbers in [0, 1], kept as grey of 8 bits; what is below `SEA` is under water. All noise is white
noise filtered in frequency, unit variance, twice as wide as the map that is cut from it, so that edges do not repeat:

    power law   P(k) ~ k^-beta                                    (Fournier, Fussell and Carpenter 1982)
    ridged      sum_i w_i (1 - |n_i| / 2.5)^2 2^(-H i), n_i of the i-th octave, w_i from the octave before
                                                                  (Musgrave, in Ebert et al. 1994)
    islands     bumps that fall off into the sea, and noise
    dunes       waves with a gentle and a steep side, bent by noise
    craters     bowls with rims

One's own terrains lie outside of that mix: islands with a caldera, ridges that all go one way, plateaus that a river
has cut. Everything is a function of count and seed, and the first of many are the few.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from terrain_colours import SEA, climates, textures

Array = NDArray[np.float64]
Maker = Callable[[int, np.random.Generator], Array]
SIZE = 32
CHUNK = 250  # maps that are made at a time, from a generator of their own


def frequencies(size: int, stretch: Array | float = 1.0, angle: Array | float = 0.0) -> Array:
    """Return |k| (n, size, size // 2 + 1) of the grid of `numpy.fft.rfft2`, in cycles over the grid.

    Args:
        size: of the grid.
        stretch: how much longer features are in one direction than across it, (n,).
        angle: of that direction, in radians from the x axis towards the bottom, (n,).
    """
    stretch, angle = (np.atleast_1d(np.asarray(v, float))[:, None, None] for v in (stretch, angle))
    down, across = np.meshgrid(np.fft.fftfreq(size, 1 / size), np.fft.rfftfreq(size, 1 / size), indexing="ij")
    along = across * np.cos(angle) + down * np.sin(angle)
    beside = down * np.cos(angle) - across * np.sin(angle)
    return np.hypot(along * np.sqrt(stretch), beside / np.sqrt(stretch))


def filtered(amplitude: Array, rng: np.random.Generator) -> Array:
    """Return periodic Gaussian noise (n, size, size) of these amplitudes (n, size, size // 2 + 1), variance 1."""
    count, size, _ = amplitude.shape
    amplitude = amplitude * (frequencies(size) > 0)  # the mean is 0
    made = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((count, size, size))) * amplitude, s=(size, size))
    return made / made.std((1, 2), keepdims=True)


def power_law(beta: Array, rng: np.random.Generator, stretch: Array | float = 1.0, angle: Array | float = 0.0) -> Array:
    """Return periodic noise (n, 64, 64) of power P(k) ~ k^-beta, beta (n,)."""
    k = frequencies(2 * SIZE, stretch, angle)
    return filtered(np.where(k > 0, k, 1.0) ** (-beta[:, None, None] / 2), rng)


def ridges(
    base: Array, hurst: Array, rng: np.random.Generator, stretch: Array | float = 1.0, angle: Array | float = 0.0
) -> Array:
    """Return ridged multifractal noise (n, 32, 32), 0 to 1, of base cycles over a map and exponents H, both (n,)."""
    k = frequencies(2 * SIZE, stretch, angle)
    total, weight = np.zeros((len(base), SIZE, SIZE)), np.ones((len(base), SIZE, SIZE))
    for octave in range(4):
        middle = 2 * base[:, None, None] * 2**octave
        band = np.exp(-np.square(np.log2(np.maximum(k, 0.5) / middle) / 0.45))
        ridge = np.square(np.clip(1 - np.abs(cut(filtered(band, rng))) / 2.5, 0, 1)) * weight
        total += ridge * 2.0 ** (-hurst[:, None, None] * octave)
        weight = np.clip(1.4 * ridge, 0, 1)
    return total / total.max((1, 2), keepdims=True)


def cut(noise: Array) -> Array:
    """Return one map's size of noise that is twice as wide."""
    return noise[:, :SIZE, :SIZE]


def between(low: float, high: float, count: int, rng: np.random.Generator) -> Array:
    """Return numbers (n,) drawn uniformly."""
    return rng.uniform(low, high, count)


def wide(values: Array) -> Array:
    """Return (n, 1, 1) of (n,)."""
    return values[:, None, None]


def places() -> tuple[Array, Array]:
    """Return x and y (32, 32) of the cells, -1 to 1, y downwards."""
    line = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(line, line)
    return x, y


def spectral_maps(count: int, rng: np.random.Generator) -> Array:
    """Hills, plains and coasts."""
    noise = power_law(between(2.8, 4.4, count, rng), rng, between(1, 1.8, count, rng), between(0, np.pi, count, rng))
    return wide(between(0.3, 0.65, count, rng)) + wide(between(0.05, 0.18, count, rng)) * cut(noise)


def ridged_maps(count: int, rng: np.random.Generator) -> Array:
    """Mountains whose ridges go all ways."""
    found = ridges(
        between(0.5, 1.3, count, rng), between(0.9, 1.4, count, rng), rng, between(1, 1.8, count, rng),
        between(0, np.pi, count, rng),
    )  # fmt: skip
    return wide(between(0.05, 0.35, count, rng)) + wide(between(0.35, 0.6, count, rng)) * found


def island_maps(count: int, rng: np.random.Generator) -> Array:
    """One to three islands."""
    x, y = places()
    land = np.zeros((count, SIZE, SIZE))
    for i in range(3):
        there = rng.random(count) < (1.0, 0.5, 0.3)[i]
        far = 0.3 if i == 0 else 0.8
        left, top = (wide(between(-far, far, count, rng)) for _ in range(2))
        radius = wide(between(0.35, 0.8, count, rng) * (1 if i == 0 else 0.6))
        bump = np.exp(-np.power(np.hypot(x - left, y - top) / radius, wide(between(1.5, 3, count, rng))))
        land = np.maximum(land, bump * wide(there.astype(float)))
    noise = cut(power_law(between(2.6, 3.8, count, rng), rng))
    coast = SEA + wide(between(0.3, 0.7, count, rng)) * (land - 0.35)
    return coast + wide(between(0.02, 0.07, count, rng)) * noise


def dune_maps(count: int, rng: np.random.Generator) -> Array:
    """Dunes: waves that rise gently and fall steeply."""
    x, y = places()
    angle, waves = wide(between(0, 2 * np.pi, count, rng)), wide(between(1.2, 2.8, count, rng))
    bent = wide(between(0.1, 0.3, count, rng)) * cut(power_law(np.full(count, 3.5), rng))
    phase = (waves * (x * np.cos(angle) + y * np.sin(angle)) + bent) % 1
    wave = np.where(phase < 0.7, phase / 0.7, (1 - phase) / 0.3)
    wave = wave * wave * (3 - 2 * wave)
    base = cut(power_law(np.full(count, 4.0), rng))
    return wide(between(0.35, 0.55, count, rng)) + wide(between(0.08, 0.2, count, rng)) * wave + 0.04 * base


def crater_maps(count: int, rng: np.random.Generator) -> Array:
    """Plains with craters of all sizes."""
    x, y = places()
    made = wide(between(0.4, 0.65, count, rng)) + 0.05 * cut(power_law(between(2.8, 3.6, count, rng), rng))
    for _ in range(6):
        left, top = (wide(between(-1, 1, count, rng)) for _ in range(2))
        radius = wide(0.1 + 0.35 * rng.random(count) ** 2)
        made = made + 0.5 * radius * bowl(np.hypot(x - left, y - top) / radius)
    return made


def bowl(d: Array) -> Array:
    """Return a crater's profile at a distance in units of its radius: -1 in its middle, a rim of 0.4 at 1."""
    return np.where(d < 1, 1.4 * d * d - 1, 0.4 * np.exp(-3.5 * (d - 1)))


def volcano_maps(count: int, rng: np.random.Generator) -> Array:
    """One's own: a round island that rises to the rim of a caldera."""
    x, y = places()
    x, y = (place - wide(between(-0.15, 0.15, count, rng)) for place in (x, y))
    r, theta = np.hypot(x, y), np.arctan2(y, x)
    noise = cut(power_law(np.full(count, 3.0), rng))
    gullies = np.cos(np.round(wide(between(7, 11, count, rng))) * theta + noise)
    rim = wide(between(0.2, 0.26, count, rng))
    flank = np.exp(-(r - rim) / wide(between(0.34, 0.44, count, rng)))
    outside = 0.06 + 0.82 * flank * (1 + 0.07 * gullies * np.clip((r - rim) / 0.2, 0, 1))
    inside = 0.88 - wide(between(0.25, 0.38, count, rng)) * (1 - np.square(r / rim))
    return np.where(r < rim, inside, outside) + 0.012 * noise


def parallel_maps(count: int, rng: np.random.Generator) -> Array:
    """One's own: mountain ridges that all go one way."""
    angle = np.deg2rad(rng.normal(-35, 6, count))
    found = ridges(between(0.65, 0.8, count, rng), np.full(count, 1.3), rng, between(5, 8, count, rng), angle)
    return 0.26 + 0.64 * found


def canyon_maps(count: int, rng: np.random.Generator) -> Array:
    """One's own: a plateau with the valley of a river and of one that joins it."""
    x, y = places()
    angle = wide(np.deg2rad(rng.normal(70, 12, count)))
    along, beside = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bends = wide(between(0.14, 0.24, count, rng)) * np.sin(
        wide(between(3.6, 5.2, count, rng)) * along + wide(between(0, 2 * np.pi, count, rng))
    )
    river = beside - wide(between(-0.25, 0.25, count, rng)) - bends
    side = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    joins, slant = wide(between(-0.5, 0.5, count, rng)), wide(between(0.3, 0.8, count, rng))
    brook = along - joins - slant * np.abs(river) + 0.06 * np.sin(9 * beside)
    open_to = np.clip(1 - 0.55 * np.abs(river), 0, 1) * (np.sign(river) == wide(side))
    width = wide(between(0.13, 0.18, count, rng))
    noise = cut(power_law(np.full(count, 2.8), rng))
    plateau = wide(between(0.72, 0.8, count, rng)) + 0.025 * noise
    main = np.exp(-np.power(np.abs(river) / width, 2.5))
    joined = 0.75 * open_to * np.exp(-np.square(brook / (0.75 * width)))
    return plateau - 0.55 * np.maximum(main, joined)


MIX: dict[str, tuple[float, Maker]] = {  # of what the training's maps are: shares, and who makes them
    "spectral": (0.35, spectral_maps),
    "ridged": (0.25, ridged_maps),
    "islands": (0.25, island_maps),
    "dunes": (0.08, dune_maps),
    "craters": (0.07, crater_maps),
}
OWN: dict[str, Maker] = {"volcanoes": volcano_maps, "parallel ridges": parallel_maps, "canyons": canyon_maps}


def mixed(count: int, rng: np.random.Generator) -> Array:
    """Return maps of the mix, in random order."""
    kinds = rng.choice(len(MIX), count, p=[share for share, _ in MIX.values()])
    made = np.empty((count, SIZE, SIZE))
    for i, (_, maker) in enumerate(MIX.values()):
        if (rows := np.flatnonzero(kinds == i)).size:
            made[rows] = maker(len(rows), rng)
    return made


def in_chunks(maker: Maker, count: int, *seeds: int) -> Tensor:
    """Return what a maker makes as grey, uint8 (n, 1, 32, 32)."""
    parts = [maker(CHUNK, np.random.default_rng([*seeds, i])) for i in range(-(-count // CHUNK))]
    grey = np.concatenate([np.empty((0, SIZE, SIZE)), *parts])[:count, None]
    return torch.from_numpy(np.round(255 * grey.clip(0, 1)).astype(np.uint8))


def heightmaps(count: int, seed: int) -> Tensor:
    """Return heightmaps of the mix, uint8 (n, 1, 32, 32)."""
    return in_chunks(mixed, count, seed, 0)


def own(kind: str, count: int, seed: int) -> Tensor:
    """Return heightmaps of one of `OWN`, or of one of `MIX`, uint8 (n, 1, 32, 32)."""
    maker = OWN[kind] if kind in OWN else MIX[kind][1]
    return in_chunks(maker, count, seed, crc32(kind.encode()))


def pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return heightmaps of the mix, uint8 (n, 1, 32, 32), and a texture of each, uint8 (n, 3, 32, 32)."""
    heights = heightmaps(count, seed)
    rng = np.random.default_rng([seed, 2])
    return heights, textures(heights, climates(count, rng), rng)
