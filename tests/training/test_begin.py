"""A run that begins with a model's weights: those, a new optimiser, and of a pyramid the part that is trained."""

from dataclasses import replace

import pytest
import torch

from helpers import CONFIG
from parts import base, level
from transflow import train
from transflow.generative.detail_level import DetailLevelConfig
from transflow.generative.model_file import save_model
from transflow.generative.stack import stack
from transflow.training.begin import config_from, weights_for
from transflow.training.config import TrainConfig
from transflow.training.state import TrainingState

QUICK = {"batch": 8, "epochs": 1, "compile": False, "precision": "float32"}


@pytest.fixture
def pyramid(tmp_path):
    path = tmp_path / "pyramid.safetensors"
    save_model(path, stack(base(), [level(16), level(32, seed=1)]), half=False)
    return path


def test_a_run_begins_with_the_weights_and_a_new_optimiser(folder, tmp_path, monkeypatch):
    path = tmp_path / "level.safetensors"
    save_model(path, level(16, name="low"), half=False)
    begun = []
    monkeypatch.setattr("transflow.training.loop.run_steps", lambda state, *rest: begun.append(state))
    monkeypatch.setattr("transflow.training.output.RunFiles.write_final", lambda *rest: None)
    monkeypatch.setattr("transflow.training.loop.load", lambda path: None)
    monkeypatch.setattr("transflow.training.loop.check_pictures", lambda *given: None)  # 11 are too few for a batch
    train(folder, tmp_path / "m.safetensors", begin_from=path)
    (state,) = begun
    assert state.config == replace(TrainConfig.of(level(16).flow.config), precision=state.config.precision)
    for module in (state.flow, state.average):
        for name, value in level(16).flow.state_dict().items():
            assert torch.equal(module.state_dict()[name], value), name
    assert state.step == 0
    assert not state.optimiser.moments
    assert state.learning_rate() == state.config.learning_rate / state.config.warmup
    assert state.card["begun_from"] == "level.safetensors"


def test_a_glow_goes_on_from_its_file(folder, tmp_path):
    first = train(folder, tmp_path / "a.safetensors", CONFIG)
    config = replace(CONFIG, epochs=1, learning_rate=1e-6)
    again = train(folder, tmp_path / "b.safetensors", config, begin_from=tmp_path / "a.safetensors")
    assert again.fingerprint != first.fingerprint
    assert abs(again.card["bits_per_dim"] - first.card["bits_per_dim"]) < 0.01


def test_a_part_of_a_pyramid_is_trained(pyramid):
    config = config_from(pyramid, "details", 32)
    assert type(config.architecture) is DetailLevelConfig
    assert config.architecture.shape == (3, 32, 32)
    assert config.bits == 8
    state = TrainingState(config, torch.device("cpu"))
    state.flow.mean.fill_(0.25)
    state.begin_from(weights_for(pyramid, config), pyramid)
    expected = level(32, seed=1).flow.details.state_dict()
    for name, value in state.flow.details.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert (state.flow.mean == 0.25).all()  # a pyramid has none: as the first pictures say
    config = config_from(pyramid, "flow-matching")
    state = TrainingState(config, torch.device("cpu"))
    state.begin_from(weights_for(pyramid, config), pyramid)
    assert torch.equal(state.flow.velocity.first.weight, base().flow.velocity.first.weight)


def test_what_does_not_fit_is_refused_in_one_line(pyramid, tmp_path, folder):
    path = tmp_path / "base.safetensors"
    save_model(path, base())
    with pytest.raises(ValueError, match="Expected a model of the family details; got one of flow-matching: "):
        config_from(path, "details")
    for family, size, got in ((None, None, "no family"), ("details", 8, "details of size 8"), ("glow", None, "glow")):
        with pytest.raises(ValueError, match=rf"\(flow-matching of size 8, details of size 16, .* 32\); got {got}: "):
            config_from(pyramid, family, size)
    config = TrainConfig.of(replace(base().flow.config, widths=(32, 32)), **QUICK)
    with pytest.raises(ValueError, match="Expected a model of the architecture that is to be trained; got another"):
        train(folder, tmp_path / "m.safetensors", config, begin_from=path)
    with pytest.raises(ValueError, match="Expected a run to resume or a model to begin from; got both"):
        train(folder, tmp_path / "m.safetensors", config, begin_from=path, resume=True)
    assert not list(tmp_path.glob("m.*"))
