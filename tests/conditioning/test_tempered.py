"""Samples at the temperatures of a model's levels: which deviations are shortened, and by how much."""

import pytest
import torch

from helpers import shaken
from transflow import Model
from transflow.conditioning.tempered import tempered
from transflow.generative.details import DetailConfig
from transflow.generative.families import FAMILIES
from transflow.generative.glow import GlowConfig
from transflow.generative.model_file import load_model, save_model
from transflow.generative.picture_model import PictureModel
from transflow.generative.pyramid import PyramidConfig
from transflow.pictures.pixels import PixelFormat

LEVEL = DetailConfig(steps=1, width=4, seen=4, coarser=(4, 4))
CONFIG = PyramidConfig("glow", GlowConfig(size=4, steps=(1,), width=(4,)), (LEVEL,))


def made(**card):
    flow = shaken(lambda: FAMILIES["pyramid"].build(CONFIG), by=0.02).eval().requires_grad_(False)
    return PictureModel(flow, PixelFormat(8), card)


@pytest.fixture
def model():
    return Model(made(level_temperatures=[0.5, 1.0]), "p")


@pytest.fixture
def pictures():
    return torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_each_level_has_its_own(model):
    z, mean = torch.randn(3, 192), torch.randn(192)
    found = tempered(model, z, mean)
    torch.testing.assert_close(found[:, :144] - mean[:144], (z[:, :144] - mean[:144]) / 2)
    torch.testing.assert_close(found[:, 144:], z[:, 144:])
    half = tempered(model, z, mean, 0.25)
    torch.testing.assert_close(half[:, :144] - mean[:144], (z[:, :144] - mean[:144]) * 0.5**0.5)
    assert torch.equal(tempered(model, z, mean, 0), z)
    assert torch.equal(tempered(Model(made(), "p"), z, mean), z)


def test_samples_of_the_prior_and_of_the_mean_are_tempered(model, pictures):
    plain = Model(made(), "p")
    prior = model.prior.sample(2, seed=0)
    torch.testing.assert_close(
        model.pictures(model.prior, 2, seed=0), model.decode(tempered(model, prior, 0 * prior[0]))
    )
    a, b = (m.condition(pictures, noise="0.5m") for m in (model, plain))
    torch.testing.assert_close(a.sample(2, seed=0), tempered(model, b.sample(2, seed=0), a.gaussian.mean))
    assert not torch.equal(a.sample(2, seed=0), b.sample(2, seed=0))
    torch.testing.assert_close(a.strip(a, 2, 2, seed=0)[0], a.pictures(2, seed=0))


def test_the_evidence_itself_comes_back_as_it_is(model, pictures):
    posterior = model.condition(pictures, novelty=0.0)
    z = model.encode(pictures)
    for sample in posterior.sample(4, seed=0):
        assert (z - sample).abs().amax(1).min() < 1e-5


def test_a_file_keeps_them_and_refuses_what_is_none(tmp_path):
    save_model(tmp_path / "p.safetensors", made(level_temperatures=[0.5, 1.0]))
    assert load_model(tmp_path / "p.safetensors").level_temperatures == (0.5, 1.0)
    for wrong in ([0.5], [0.5, 0.0], [0.5, "1"], 0.5):
        save_model(tmp_path / "p.safetensors", made(level_temperatures=wrong))
        with pytest.raises(
            ValueError, match=r"^Expected a whole model file; .* level temperatures are .*p\.safetensors"
        ):
            load_model(tmp_path / "p.safetensors")
