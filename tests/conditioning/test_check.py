"""What is said of a model is what is so: of one whose every figure is known, and of a broken one."""

import json

import pytest
import torch

from transflow import Gaussian, Model
from transflow.conditioning import check as module
from transflow.conditioning.check import FEWEST, check
from transflow.conditioning.gaussianity import gaussianity


class Scaled:
    """Pictures in the units of their latents, times a factor; one channel of 4 x 4."""

    prior = Gaussian.standard(16)
    shape = (1, 4, 4)
    card = {"family": "scaled", "notes": ["made for a test"]}  # noqa: RUF012

    def __init__(self, factor=2.0, error=0.0):
        self.factor, self.error = factor, error

    def encode(self, pictures):
        return (pictures.flatten(1) / 255 - 0.5) * self.factor

    def decode(self, latents):
        return (latents.view(-1, 1, 4, 4) / self.factor + 0.5 + self.error).clamp(0, 1)

    def decode_unclamped(self, latents):
        return latents.view(-1, 1, 4, 4) / self.factor + 0.5 + self.error


@pytest.fixture
def grey():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(40, 200, (40, 1, 4, 4), dtype=torch.uint8, generator=generator)


def test_a_model_is_what_is_said_of_it(grey):
    found = check(Model(Scaled(), "mine"), grey)
    kinds = {part.kind: part for part in found.round_trips}
    assert list(kinds) == ["photographs", "flat", "noise"]
    assert kinds["photographs"].error < 1e-6
    z = (grey.double().flatten(1) / 255 - 0.5) * 2
    assert kinds["photographs"].length == pytest.approx(z.square().mean(1).sqrt().mean().item(), rel=1e-5)
    assert kinds["photographs"].spread == pytest.approx(z.square().mean(1).sqrt().std(correction=0).item(), rel=1e-4)
    assert found.gaussianity.deviation == pytest.approx(z.std(correction=0).item(), rel=1e-5)
    assert found.density == "none"
    assert found.temperature in found.distances
    assert found.broken > 0.5  # half of its samples' values lie beyond 0.5 +- 0.5
    assert dict(found.rows())["note"] == "made for a test"
    assert json.loads(json.dumps(found.plain()))["name"] == "mine"


def test_an_error_is_found_and_failures_are_told_apart(grey):
    found = check(Model(Scaled(error=0.1)), grey)
    assert found.round_trips[0].error == pytest.approx(0.1, abs=1e-6)

    class Fails(Scaled):
        def encode(self, pictures):
            return torch.where(pictures.flatten(1) == 0, torch.nan, super().encode(pictures))

    found = check(Model(Fails()), grey)
    flat = found.round_trips[1]
    assert "NaN or infinity for picture 1 of 4" in flat.failure
    assert found.plain()["round_trips"][1]["error"] is None


def test_without_photographs_samples_stand_for_them():
    found = check(Model(Scaled(6.0)))
    assert found.round_trips[0].kind == "samples"
    assert found.temperature is None


def test_values_beyond_the_range_are_noted():
    class Signed(Scaled):
        def decode(self, latents):
            return super().decode(latents) * 2 - 1

    assert any("have it give [0, 1]" in note for note in check(Model(Signed())).notes)


def test_the_best_temperature_is_the_photographs_own():
    """Photographs that are the model's samples at T = 0.7 are nearest to its samples at T = 0.7."""
    model = Model(Scaled(6.0))
    photographs = (model.decode(model.prior.sample(64, seed=9, temperature=0.7)) * 255).round().to(torch.uint8)
    assert check(model, photographs, samples=400).temperature == pytest.approx(0.7, abs=0.101)


def test_latents_are_compared_with_normal_ones():
    model = Model(Scaled())
    normal = gaussianity(torch.randn(4000, 16, generator=torch.Generator().manual_seed(0)), model)
    for value, expected in zip(normal.by_frequency, (1, 1, 1), strict=True):
        assert value == pytest.approx(expected, abs=0.05)
    assert (normal.mean, normal.skewness, normal.neighbours) == pytest.approx((0, 0, 0), abs=0.03)
    assert (normal.deviation, normal.kurtosis) == pytest.approx((1, 0), abs=0.05)
    generator = torch.Generator().manual_seed(0)
    alike = torch.randn(4000, 1, generator=generator).expand(-1, 16) + 0.1 * torch.randn(4000, 16, generator=generator)
    assert gaussianity(alike, model).neighbours > 0.9
    assert gaussianity(alike, model).by_frequency[-1] > 3  # smooth latents are of low frequency
    skewed = torch.distributions.Exponential(1.0).sample((4000, 16))
    assert gaussianity(skewed, model).skewness == pytest.approx(2, abs=0.2)


def test_the_density_of_a_flow_is_compared_with_autograd(tmp_path):
    from helpers import shaken
    from transflow import Glow, GlowConfig
    from transflow.generative.picture_model import PictureModel

    flow = shaken(lambda: Glow(GlowConfig(size=4, steps=(1,), width=(4,))))
    assert "off by" in check(Model(PictureModel(flow.requires_grad_(False)))).density
    large = shaken(lambda: Glow(GlowConfig(size=16, steps=(1,), width=(4,))))
    assert "768 is more than 256" in check(Model(PictureModel(large.requires_grad_(False)))).density


def test_latents_that_depend_on_neighbours_or_chance_are_found(grey):
    class Normalised(Scaled):
        def encode(self, pictures):
            z = super().encode(pictures)
            return z - z.mean(0)

    class Random(Scaled):
        def encode(self, pictures):
            z = super().encode(pictures)
            return z + torch.randn(z.shape)

    assert check(Model(Scaled()), grey).moved == 0
    for broken in (Normalised, Random):
        found = check(Model(broken()), grey)
        assert found.moved > 0.3
        assert "is it in eval()?" in dict(found.rows())["alone or in a batch"]


def test_a_temperature_needs_photographs_enough(grey):
    assert check(Model(Scaled()), grey[: FEWEST - 1], samples=8).temperature is None
    assert check(Model(Scaled()), grey[:FEWEST], samples=8).temperature is not None


def test_seconds_are_those_of_each_direction(grey, monkeypatch):
    clock = iter([0.0, 30.0, 40.0] * 3)  # of three kinds of pictures
    monkeypatch.setattr("transflow.conditioning.check.time.perf_counter", lambda: next(clock))
    found = check(Model(Scaled()), grey[:10])
    assert (found.encode_seconds, found.decode_seconds) == (3.0, 1.0)


def test_pictures_that_are_as_bright_but_rougher_are_told_apart():
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2
    smooth, rough = (module._small(p[None, None]) for p in (torch.full((16, 16), 0.5), board.float()))
    half = smooth.shape[1] // 2
    assert torch.equal(smooth[:, :half], rough[:, :half])
    torch.testing.assert_close(rough[:, half:], smooth[:, half:] + 0.5)


def test_neighbours_are_those_of_each_levels_map():
    class Levels(Scaled):
        shape = (1, 8, 8)
        prior = Gaussian.standard(64)
        level_sizes = (32, 32)  # (2, 4, 4) and (8, 2, 2)

    generator = torch.Generator().manual_seed(0)
    fine, coarse = torch.randn(500, 8, 1, generator=generator), torch.randn(500, 16, 1, generator=generator)
    rows = torch.cat([fine.expand(-1, -1, 4).flatten(1), 2 * coarse.expand(-1, -1, 2).flatten(1)], 1)
    found = gaussianity(rows, Model(Levels()))
    assert found.neighbours == pytest.approx(1)  # within rows alone, not from the end of one to the next
    assert found.by_frequency == pytest.approx((1, 4), rel=0.1)
