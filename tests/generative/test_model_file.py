"""A model of any family is one file: what its table says is read and written, and no more is asked of it."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from helpers import shaken
from transflow import Model, load
from transflow.generative import families
from transflow.generative.details import DetailConfig, DetailFlow
from transflow.generative.families import Family
from transflow.generative.flow_matching import FlowMatchingConfig
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.generative.pyramid import PyramidConfig
from transflow.pictures.pixels import PixelFormat
from transflow.store.identity import options, read_options


@dataclass(frozen=True)
class ScaleConfig:
    size: int = 4
    power: int = 1

    @property
    def shape(self):
        return 1, self.size, 2 * self.size


class Scale(nn.Module):
    """One positive factor for each number."""

    def __init__(self, config):
        super().__init__()
        self.config, self.shape = config, config.shape
        self.level_sizes = (2 * config.size**2,)
        self.log_scale = nn.Parameter(torch.linspace(-1, 1, 2 * config.size**2))

    def forward(self, x):
        return x.flatten(1) * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, z):
        return (z * (-self.log_scale).exp()).view(-1, *self.shape)


@pytest.fixture
def model(monkeypatch):
    family = Family(ScaleConfig, Scale, halvable=lambda name, weight: name == "log_scale")
    monkeypatch.setitem(families.FAMILIES, "scale", family)
    return PictureModel(Scale(ScaleConfig(size=2)).requires_grad_(False), PixelFormat(8), {"name": "scale"})


def test_a_family_in_the_table_is_a_model_and_a_file(model, tmp_path):
    save_model(tmp_path / "s.safetensors", model)
    again = load(tmp_path / "s.safetensors")
    assert again.shape == (1, 2, 4)
    assert again.source.family == "scale"
    assert again.source.flow.config == ScaleConfig(size=2)
    half = model.flow.log_scale.half().float()
    assert torch.equal(again.source.flow.log_scale, half)
    assert not torch.equal(half, model.flow.log_scale)
    x = torch.randint(0, 256, (3, 1, 2, 4), dtype=torch.uint8)
    assert again.reconstruct(x).errors.max() < 1e-6
    assert again.score(x).log_prob.isfinite().all()
    other = PictureModel(again.source.flow, PixelFormat(8), {"name": "other"})
    assert Model(other).fingerprint == again.fingerprint


def test_what_a_family_has_not_is_refused(model, tmp_path):
    save_model(tmp_path / "s.safetensors", model)
    with pytest.raises(ValueError, match=r"float32 or float64.*bfloat16"):
        load(tmp_path / "s.safetensors", dtype=torch.bfloat16)
    again = load(tmp_path / "s.safetensors")
    assert not again.can("features")
    with pytest.raises(TypeError, match="Expected a model with features"):
        again.features_of(torch.zeros(1, 1, 2, 4, dtype=torch.uint8))
    assert not again.source.former_fingerprints


LEVEL = DetailConfig(steps=1, width=4, seen=4, coarser=(4, 4))
BASE = FlowMatchingConfig((3, 4, 4), widths=(16, 32), attention=(False, True), depth=1, embedding=8, steps=3)


@pytest.fixture
def pyramid():
    config = PyramidConfig("flow-matching", BASE, (LEVEL, LEVEL))
    flow = shaken(lambda: families.FAMILIES["pyramid"].build(config), by=0.02).eval().requires_grad_(False)
    card = {"name": "p", "data": "d", "level_temperatures": [0.5, 0.7, 1.0], "sizes": {"8": {"name": "p at 8"}}}
    return PictureModel(flow, PixelFormat(8), card)


def test_a_pyramid_is_one_file_and_stops_at_any_level(pyramid, tmp_path):
    path = tmp_path / "p.safetensors"
    save_model(path, pyramid, half=False)
    whole, less = load(path), load(path, size=8)
    assert (whole.shape, less.shape) == ((3, 16, 16), (3, 8, 8))
    assert whole.source.flow.config == pyramid.flow.config
    assert whole.fingerprint == pyramid.fingerprint != less.fingerprint
    assert load(path, size=16).fingerprint == whole.fingerprint
    assert (whole.card["name"], less.card["name"], less.card["data"]) == ("p", "p at 8", "d")
    assert whole.level_temperatures == (0.5, 0.7, 1.0)
    assert less.level_temperatures == (0.7, 1.0)
    z = whole.prior.sample(2, seed=0)
    average = torch.nn.functional.avg_pool2d(whole.decode_unclamped(z), 2)
    torch.testing.assert_close(less.decode_unclamped(z[:, whole.source.level_sizes[0] :]), average)
    assert whole.reconstruct(torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)).errors.max() < 1e-5


def test_a_size_that_is_not_there_is_refused(pyramid, model, tmp_path):
    save_model(tmp_path / "p.safetensors", pyramid)
    with pytest.raises(ValueError, match=r"^Expected a size of 8, 16; got 32"):
        load(tmp_path / "p.safetensors", size=32)
    save_model(tmp_path / "s.safetensors", model)
    with pytest.raises(ValueError, match=r"^Expected no size for a model that is no pyramid; got 8: .*s\.safetensors"):
        load(tmp_path / "s.safetensors", size=8)


def test_a_pyramids_base_and_levels_are_known_by_their_options():
    config = PyramidConfig("flow-matching", BASE, (LEVEL, DetailConfig()))
    plain = options(config)
    assert plain["levels"] == [{"steps": 1, "width": 4, "seen": 4, "coarser": [4, 4]}, {}]
    assert read_options(PyramidConfig, plain, "p") == config
    with pytest.raises(ValueError, match=r"^Expected a base of a family of .*; got nothing-known"):
        PyramidConfig("nothing-known")
    with pytest.raises(ValueError, match=r"^Expected GlowConfig as base; got FlowMatchingConfig"):
        PyramidConfig("glow", BASE)


@pytest.mark.parametrize("config", [BASE, LEVEL, PyramidConfig("flow-matching", BASE, (LEVEL, LEVEL))])
def test_the_fewest_weights_are_no_more_than_there_are(config):
    built = DetailFlow(config) if config is LEVEL else families.FAMILIES[families.name_of(config)].build(config)
    assert 0 < config.fewest_weights <= sum(weight.numel() for weight in built.state_dict().values())
