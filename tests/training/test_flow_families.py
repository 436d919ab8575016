"""Real NVP, NICE, TarFlow and Flow++ as runs: they learn, stop and go on as if never stopped, and refuse bad input."""

import json
import math
from dataclasses import replace

import pytest
import torch

from helpers import whole_and_stopped
from transflow import load
from transflow.generative.flow_plus_plus import FlowPlusPlusConfig
from transflow.generative.nice import NICEConfig
from transflow.generative.real_nvp import RealNVPConfig
from transflow.generative.tarflow import TarFlowConfig
from transflow.training.config import TrainConfig
from transflow.training.data import draw_batch, draw_inputs
from transflow.training.loop import take_step
from transflow.training.losses import BatchLoss, negative_log_likelihood
from transflow.training.output import RunFiles
from transflow.training.ranks import Ranks
from transflow.training.state import TrainingState

QUICK = {"batch": 8, "compile": False, "precision": "float32", "warmup": 10, "epochs": 4}
CONFIGS = {
    "real-nvp": RealNVPConfig((3, 8, 8), width=(8, 8), steps=1, depth=1),
    "tarflow": TarFlowConfig((3, 8, 8), patch=2, width=16, head=8, blocks=2, layers=1),
    "flow++": FlowPlusPlusConfig((3, 8, 8), steps=(1, 1, 1), width=8, depth=1, components=2),
    "nice": NICEConfig((3, 8, 8), width=32, depth=2),
    "nice, normal": NICEConfig((3, 8, 8), width=32, depth=2, prior="normal"),
}
RUNS = {name: TrainConfig.of(config, **QUICK) for name, config in CONFIGS.items()}
EVERY = pytest.mark.parametrize("family", RUNS)


@EVERY
def test_a_run_is_the_same_run_however_often_it_is_stopped(family, folder, tmp_path):
    config = RUNS[family]
    assert config.family_name == family.partition(",")[0]
    whole, parts = whole_and_stopped(folder, tmp_path, config)
    assert parts.card["round_trip"] < 1e-4
    assert parts.card["bits_per_dim"] == whole.card["bits_per_dim"]
    assert "bits_per_dim" in json.loads((tmp_path / "whole.metrics.jsonl").read_text().splitlines()[-1])


def state_of(family, pixels, **changes):
    state = TrainingState(replace(RUNS[family], epochs=1000, **changes), torch.device("cpu"))
    shown = torch.nn.functional.interpolate(pixels.float(), size=8).to(torch.uint8)
    state.bind(shown)
    state.initialise(shown)
    return state, shown


@EVERY
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns(family, precision, pixels):
    state, shown = state_of(family, pixels, learning_rate=3e-3, precision=precision)
    loss = BatchLoss(state, Ranks())
    losses = [take_step(state, shown, loss, Ranks()) for _ in range(60)]
    assert state.skipped == 0
    assert sum(losses[-10:]) / 10 < sum(losses[:10]) / 10 - 0.1


@EVERY
@pytest.mark.parametrize("weight", [0.01, 2.0])
def test_an_outlier_goes_with_eight_pictures_and_counts_by_the_weight(family, weight, pixels):
    state, shown = state_of(family, pixels, outliers=weight)
    (x,) = draw_inputs(shown, state)
    batch = draw_batch(shown, state)
    (none,) = draw_inputs(shown, state_of(family, pixels)[0])
    assert (len(none), len(x)) == (8, 9)
    assert (x[8] - batch).abs().amax((1, 2, 3)).min() > 0.3  # none of the pictures
    torch.testing.assert_close(x[:8], batch, rtol=0, atol=0.2)  # these are, but for the noise of a TarFlow
    nll = negative_log_likelihood(state.flow, x)
    far = nll[8].clamp(min=0).log1p()
    assert far > 0.1
    loss, mean = BatchLoss(state, Ranks())(x)
    torch.testing.assert_close(mean, nll[:8].mean())
    torch.testing.assert_close(loss, nll[:8].mean() + weight * far)
    losses = [take_step(state, shown, BatchLoss(state, Ranks()), Ranks()) for _ in range(3)]
    assert losses[0] == pytest.approx(mean.item(), rel=1e-5)
    assert all(map(math.isfinite, losses))
    assert state.skipped == 0


@EVERY
def test_the_model_that_is_kept_is_the_moving_average(family, pixels, tmp_path):
    state, shown = state_of(family, pixels, learning_rate=0.02)
    expected = {name: tensor.clone() for name, tensor in state.flow.state_dict().items()}
    for step in range(1, 7):
        take_step(state, shown, BatchLoss(state, Ranks()), Ranks())
        for name, tensor in state.flow.state_dict().items():
            new = tensor.lerp(expected[name], (1 + step) / (10 + step)) if tensor.is_floating_point() else tensor
            expected[name] = new.clone()
    files = RunFiles(tmp_path / "m.safetensors")
    assert files.write_checkpoint(state, shown, 0.0)
    kept = load(files.output).source.flow
    for name, tensor in kept.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-6)  # matrices are kept in half precision
    moved = {name: (tensor - kept.state_dict()[name]).abs().max() for name, tensor in state.flow.named_parameters()}
    assert max(moved.values()) > 5e-3
    assert state.flow.training
    assert not state.average.training
    assert not kept.training


def test_tarflow_is_trained_on_noisy_pictures_and_judged_on_clean_ones(pixels):
    state, shown = state_of("tarflow", pixels)
    (first,), (again,) = draw_inputs(shown, state), draw_inputs(shown, state)
    assert torch.equal(first, again)
    noise = first - draw_batch(shown, state)
    assert noise.std().item() == pytest.approx(state.config.architecture.noise, rel=0.1)
    state.step += 1
    assert not torch.equal(draw_inputs(shown, state)[0] - draw_batch(shown, state), noise)
    x = torch.zeros(1, 3, 8, 8)
    assert torch.equal(state.config.family.prepare(state.average, x, torch.Generator())[0], x)


def test_flow_plus_plus_has_the_bits_of_its_run():
    assert TrainConfig.of(FlowPlusPlusConfig()).architecture.bits == 8
    assert TrainConfig.of(FlowPlusPlusConfig(), bits=5).architecture.bits == 5
    assert replace(RUNS["flow++"], bits=3).architecture == replace(CONFIGS["flow++"], bits=3)
