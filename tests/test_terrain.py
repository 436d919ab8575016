"""Heightmaps of the benchmarks: seeded, of the spectrum asked for, lit by Lambert's law, coloured by the rule."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

from common import write_tar  # noqa: E402
from terrain import OWN, SIZE, frequencies, heightmaps, own, pairs, power_law  # noqa: E402
from terrain_colours import (  # noqa: E402
    DEEP,
    DRY,
    GRAIN,
    GREY_ROCK,
    LUSH,
    RED_ROCK,
    SEA,
    SNOW,
    climates,
    hillshade,
    relief,
    slopes,
    textures,
)
from terrain_models import apart, as_pair, height_known  # noqa: E402

TEMPERATE = np.array([[0.0, 0.75, 0.0]])


@pytest.fixture(scope="module")
def mix():
    return heightmaps(300, 3)


def flat(value):
    return torch.full((1, 1, SIZE, SIZE), round(255 * value), dtype=torch.uint8)


def test_maps_are_functions_of_count_and_seed(mix):
    assert (mix.dtype, mix.shape) == (torch.uint8, (300, 1, SIZE, SIZE))
    assert torch.equal(mix[:260], heightmaps(260, 3))
    assert not torch.equal(mix[:8], heightmaps(8, 4))
    assert len(mix.flatten(1).unique(dim=0)) == 300
    for kind in OWN:
        assert torch.equal(own(kind, 4, 0), own(kind, 8, 0)[:4])
        assert not torch.equal(own(kind, 4, 0), own(kind, 4, 1))
    heights, coloured = pairs(12, 3)
    assert torch.equal(heights, mix[:12])
    assert torch.equal(coloured, pairs(12, 3)[1])
    assert not heightmaps(0, 0).numel()


def test_the_mix_is_wide_and_uses_the_range(mix):
    z = mix.float() / 255
    sea = (z < SEA).float().mean((1, 2, 3))
    assert (sea == 0).float().mean() > 0.2
    assert (sea > 0.5).float().mean() > 0.1
    assert ((mix == 0) | (mix == 255)).float().mean() < 0.1
    assert z.flatten(1).std(1).quantile(0.9) > 1.5 * z.flatten(1).std(1).quantile(0.1)


@pytest.mark.parametrize("beta", [2.0, 3.0, 4.0])
def test_the_spectrum_has_its_exponent(beta):
    noise = power_law(np.full(100, beta), np.random.default_rng(0))
    assert np.allclose(noise.mean((1, 2)), 0)
    assert np.allclose(noise.std((1, 2)), 1)
    power = (np.abs(np.fft.rfft2(noise)) ** 2).mean(0)
    k = frequencies(2 * SIZE)[0]
    inside = (k >= 2) & (k <= 25)
    slope, _ = np.polyfit(np.log(k[inside]), np.log(power[inside]), 1)
    assert slope == pytest.approx(-beta, abs=0.1)


def test_stretched_noise_is_longer_its_way():
    """Along the x axis slopes are small, across it large; turned by 90 degrees the other way round."""
    for angle, longer in ((0.0, 0), (np.pi / 2, 1)):
        p, q = slopes(power_law(np.full(20, 3.0), np.random.default_rng(0), 6.0, angle))
        assert (p.std(), q.std())[longer] < 0.6 * (p.std(), q.std())[1 - longer]


def test_ones_own_terrain_is_what_it_is_called():
    kinds = {kind: own(kind, 60, 5)[:, 0].double().numpy() / 255 for kind in OWN}
    volcano = kinds["volcanoes"]
    assert 0.4 < (volcano < SEA).mean() < 0.8
    assert (volcano[:, [0, -1]] < SEA).all()
    assert (volcano[:, 10:22, 10:22].min((1, 2)) < volcano.max((1, 2)) - 0.1).all()
    p, q = slopes(kinds["parallel ridges"])
    vector = ((p * p - q * q) + 2j * (p * q)).sum((1, 2)) / (p * p + q * q).sum((1, 2))
    assert (np.abs(vector) > 0.6).all()
    across = np.rad2deg(np.angle(vector)) / 2 % 180  # of the steepest way, anticlockwise from the east
    assert across.mean() == pytest.approx(35 + 90, abs=5)
    canyon = kinds["canyons"]
    assert 0.03 < (canyon < SEA).mean() < 0.2
    assert (canyon > 0.6).mean() > 0.5


def test_the_light_is_lamberts():
    y, x = np.mgrid[0:6, 0:6].astype(float)
    plane = hillshade(np.zeros((1, 6, 6)))
    assert np.allclose(plane, np.sin(np.pi / 4))
    assert np.allclose(hillshade(np.full((1, 6, 6), 7.0), light=(10, 90)), 1)
    # rises to the south-east, 45 degrees: it faces the light
    assert np.allclose(hillshade((x + y)[None] / np.sqrt(2)), 1)
    # rises to the north-west, 45 degrees: the light passes along it
    assert np.allclose(hillshade(-(x + y)[None] / np.sqrt(2)), 0, atol=1e-12)
    # rises to the east by a; n = (-a, 0, 1) / sqrt(1 + a^2)
    a = 0.3
    lit = (a * np.cos(np.pi / 4) * np.sin(np.pi / 4) + np.sin(np.pi / 4)) / np.sqrt(1 + a * a)
    assert np.allclose(hillshade(a * x[None]), lit)
    assert np.allclose(hillshade(a * x[None] / 4, 1 / 4), lit)


def test_relief_is_enlarged_and_flat_land_has_one_colour():
    shown = relief(torch.cat([flat(0.5), own("volcanoes", 1, 0)]))
    assert (shown.dtype, shown.shape) == (torch.uint8, (2, 3, 4 * SIZE, 4 * SIZE))
    assert (shown[0] == shown[0, :, :1, :1]).all()
    assert shown[1].float().std() > 20
    red = torch.tensor([200, 0, 0], dtype=torch.uint8)[None, :, None, None].expand(1, 3, SIZE, SIZE)
    assert relief(flat(0.5), red)[0, :, 5, 5].tolist() == [200, 0, 0]


def test_textures_follow_the_rule():
    def colour(value, climate=TEMPERATE):
        found = textures(flat(value), climate)
        assert (found == found[..., :1, :1]).all()
        return (found[0, :, 0, 0].double() / 255).tolist()

    assert colour(0.0) == pytest.approx(DEEP, abs=0.01)
    assert colour(0.5) == pytest.approx(LUSH, abs=0.01)
    assert colour(0.5, np.array([[1.0, 0.75, 0.0]])) == pytest.approx(DRY, abs=0.01)
    assert colour(0.9) == pytest.approx(SNOW, abs=0.01)
    assert colour(0.7, np.array([[0.0, 0.6, 0.0]])) == pytest.approx(SNOW, abs=0.01)
    ramp = (0.32 + torch.arange(4) * 0.1).repeat(8)  # 0.1 a cell up, then down: steep all the way
    ramp = torch.where(torch.arange(32) // 4 % 2 == 0, ramp, ramp.flip(0))
    steep = (255 * ramp).round().to(torch.uint8).expand(1, 1, SIZE, SIZE)
    for red, rock in ((0.0, GREY_ROCK), (1.0, RED_ROCK)):
        found = textures(steep, np.array([[0.0, 0.9, red]]))[0, :, 16, 1] / 255
        assert found.tolist() == pytest.approx(rock, abs=0.01)


def test_noise_of_a_texture_is_its_own():
    rng = np.random.default_rng(0)
    land = flat(0.5).expand(50, -1, -1, -1)
    climate = TEMPERATE.repeat(50, 0)
    apart_by = textures(land, climate, rng).double() / 255 - textures(land, climate).double() / 255
    assert apart_by.std() == pytest.approx(GRAIN, rel=0.05)
    found = climates(500, rng)
    assert found.min(0) == pytest.approx([0, 0.6, 0], abs=0.02)
    assert found.max(0) == pytest.approx([1, 0.9, 1], abs=0.02)


def test_a_pair_is_taken_apart_again():
    heights, coloured = pairs(3, 0)
    both = as_pair(heights, coloured)
    assert both.shape == (3, 1, 2 * SIZE, 2 * SIZE)
    assert all(map(torch.equal, apart(both), (heights, coloured)))
    assert torch.equal(both[:, 0, height_known()], heights.flatten(1))


def test_a_tar_of_maps_is_read_as_it_was(tmp_path, mix):
    from transflow.pictures import decode

    write_tar(mix[:5], tmp_path / "maps.tar")
    assert torch.equal(decode.read(tmp_path / "maps.tar", (1, SIZE, SIZE)).pixels, mix[:5])


def test_a_kinds_maps_are_nearer_to_their_makers_than_others_are():
    from own_terrain import MEASURES, compare, to_nearest

    few, true = own("volcanoes", 8, 0), own("volcanoes", 100, 1)
    near = compare(own("volcanoes", 40, 2), true, few)
    far = compare(heightmaps(40, 0), true, few)
    assert all(near[measure] < 0.5 * far[measure] for measure in MEASURES)
    assert compare(true, true, true) == pytest.approx(dict.fromkeys(MEASURES, 0), abs=1e-6)
    assert to_nearest(flat(0.2), flat(0.6)) == pytest.approx(102)


def test_measures_of_textures_tell_the_rule_from_an_average(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "beside"))
    from pairs import measured

    rng = np.random.default_rng(0)
    height = own("volcanoes", 1, 3)[0]
    many = textures(height.expand(40, -1, -1, -1), climates(40, rng), rng)
    rule = measured(many[:20], height, many[20:], 0)
    average = measured(many[:20].double().mean(0, keepdim=True), height, many[20:], 0)
    assert average["truth"] < rule["truth"]
    assert average["spread"] == 0 < rule["spread"]
    assert rule["rule"] < 10 < rule["truth"]
    assert rule["truth"] == pytest.approx(rule["spread"] * 2**0.5, rel=0.3)
