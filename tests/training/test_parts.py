"""Flow matching and levels of details as runs: they learn, stop and go on as if never stopped, and refuse bad input."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import whole_and_stopped
from parts import BASE, LEVEL
from transflow import train
from transflow.generative.detail_level import DetailLevelConfig
from transflow.generative.families import FAMILIES
from transflow.generative.flow_matching import FlowMatchingConfig
from transflow.training.config import TrainConfig
from transflow.training.loop import take_step
from transflow.training.losses import BatchLoss
from transflow.training.ranks import Ranks
from transflow.training.state import TrainingState

QUICK = {"batch": 8, "compile": False, "precision": "float32", "warmup": 10}
RUNS = {
    "flow-matching": TrainConfig.of(FlowMatchingConfig((3, 8, 8), dropout=0.5, **BASE), **QUICK, epochs=4),
    "details": TrainConfig.of(DetailLevelConfig(size=16, crop=8, whole=0.5, **LEVEL), **QUICK, epochs=4, outliers=0.01),
}


@pytest.mark.parametrize("family", RUNS)
def test_a_run_is_the_same_run_however_often_it_is_stopped(family, folder, tmp_path):
    config = RUNS[family]
    whole, parts = whole_and_stopped(folder, tmp_path, config)
    assert parts.card["round_trip"] < 1e-4
    measure = {"flow-matching": "held_out_loss", "details": "bits_per_dim"}[family]
    assert parts.card[measure] == whole.card[measure]
    line = json.loads((tmp_path / "whole.metrics.jsonl").read_text().splitlines()[-1])
    assert ("bits_per_dim" in line) == (family == "details")


@pytest.mark.parametrize("family", RUNS)
def test_it_learns(family, pixels):
    state = TrainingState(replace(RUNS[family], epochs=1000, learning_rate=0.01, outliers=0.0), torch.device("cpu"))
    size = state.config.architecture.shape[1]
    shown = torch.nn.functional.interpolate(pixels.float(), size=size).to(torch.uint8)
    state.bind(shown)
    state.initialise(shown)
    loss = BatchLoss(state, Ranks())
    losses = [take_step(state, shown, loss, Ranks()) for _ in range(60)]
    first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
    assert last < (0.9 * first if family == "flow-matching" else first - 0.1)


def test_dropout_draws_from_a_seed_of_step_and_rank_and_leaves_the_global_stream_alone():
    state = TrainingState(RUNS["flow-matching"], torch.device("cpu"))
    before = torch.get_rng_state()

    def drawn(rank=0):
        with state.randomness(rank):
            return torch.rand(4)

    assert torch.equal(drawn(), drawn())
    assert not torch.equal(drawn(), drawn(1))
    first = drawn()
    state.step += 1
    assert not torch.equal(drawn(), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_weight_decay_makes_weights_smaller():
    def after_a_step(weight_decay):
        config = replace(RUNS["details"], weight_decay=weight_decay, warmup=0, learning_rate=0.1)
        state = TrainingState(config, torch.device("cpu"))
        before = [p.detach().clone() for p in state.weights]
        state.update(sum((0 * p).sum() for p in state.weights))
        return before, state.weights

    for a, b in zip(*after_a_step(0.0), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(*after_a_step(0.5), strict=True):
        torch.testing.assert_close(b, 0.95 * a)


def test_families_have_settings_of_their_own():
    assert TrainConfig.of(FlowMatchingConfig()).bits == TrainConfig.of(DetailLevelConfig()).bits == 8
    assert TrainConfig.of(FlowMatchingConfig(), bits=5).bits == 5
    assert TrainConfig.of(TrainConfig().glow) == TrainConfig()
    assert TrainConfig.of(FlowMatchingConfig()).weight_decay == 0.01
    halved = {n for n, w in FAMILIES["flow-matching"].build(FlowMatchingConfig((3, 8, 8), **BASE)).state_dict().items()
              if FAMILIES["flow-matching"].halvable(n, w)}  # fmt: skip
    assert "velocity.first.weight" in halved
    assert "velocity.first.bias" not in halved


@pytest.mark.parametrize("family", RUNS)
def test_pictures_that_cannot_train_it_are_refused_before_the_run(family, folder, tmp_path):
    config, output = RUNS[family], tmp_path / "m.safetensors"
    with pytest.raises(ValueError, match=r"as many pictures to train on as a batch has, 12; got 11\. Give more"):
        train(folder, output, replace(config, batch=12))
    with pytest.raises(ValueError, match=r"Expected pictures to train on beside the held-out ones; got 1 in all"):
        train(sorted(folder.iterdir())[0], output, config)
    grey = tmp_path / "grey"
    grey.mkdir()
    for i in range(12):
        values = np.random.default_rng(i).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(values).save(grey / f"{i}.png")
    with pytest.raises(ValueError, match="Expected pictures in colour, for a model of 3 channels; got grey ones alone"):
        train(grey, output, config)
    assert not list(tmp_path.glob("m.*"))


def test_a_pyramid_is_trained_by_its_parts():
    from transflow.generative.pyramid import PyramidConfig

    with pytest.raises(ValueError, match="Expected a family that is trained as a whole; got pyramid: train its parts"):
        TrainConfig(model=PyramidConfig())
