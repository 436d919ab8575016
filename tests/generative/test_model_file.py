"""A model of any family is one file: what its table says is read and written, and no more is asked of it."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from transflow import Model, load
from transflow.generative import families
from transflow.generative.families import Family
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat


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
