"""A run of any family: one that draws crops and noise for a loss of its own, with buffers, that is no likelihood."""

import json
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from helpers import CONFIG
from transflow.generative import families
from transflow.generative.families import FAMILIES, Family, name_of
from transflow.generative.glow import Glow, GlowConfig
from transflow.training.config import TrainConfig
from transflow.training.data import draw_inputs
from transflow.training.loop import choose_precision, take_step
from transflow.training.losses import BatchLoss
from transflow.training.output import RunFiles, validate
from transflow.training.ranks import Ranks
from transflow.training.state import TrainingState


@dataclass(frozen=True)
class DenoiserConfig:
    size: int = 16

    @property
    def shape(self):
        return 3, self.size, self.size


class Denoiser(nn.Module):
    """Pictures from noisy ones: one batch norm and one frozen scale around a convolution."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.norm, self.net = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(3), requires_grad=False)


def noisy_crops(module, x, generator):
    top = int(torch.randint(0, x.shape[-1] - 8, (), generator=generator))
    x = x[..., top : top + 8, top : top + 8]
    return x, torch.randn(x.shape, generator=generator), torch.rand(len(x), generator=generator)


def denoising(module, x, noise, strength):
    seen = x + strength[:, None, None, None] * noise
    return (module.net(module.norm(seen)) * module.scale[:, None, None] - x).square().mean((1, 2, 3))


@pytest.fixture
def run(monkeypatch, pixels):
    family = Family(DenoiserConfig, Denoiser, prepare=noisy_crops, loss=denoising, likelihood=False)
    monkeypatch.setitem(families.FAMILIES, "denoiser", family)
    changes = {"precision": "float32", "ema": 0.5, "learning_rate": 0.05}
    config = replace(CONFIG, glow=GlowConfig(), model=DenoiserConfig(), **changes)
    state = TrainingState(config, torch.device("cpu"))
    state.bind(pixels)
    state.initialise(pixels)
    return state


def steps(run, pixels, n):
    loss = BatchLoss(run, Ranks())
    return [take_step(run, pixels, loss, Ranks()) for _ in range(n)]


def test_it_learns_by_its_own_loss_and_resumes_to_the_bit(run, pixels, tmp_path):
    losses = steps(run, pixels, 20)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert torch.equal(run.flow.scale, torch.ones(3))
    run.save(tmp_path / "t.safetensors")
    again = TrainingState.resume(tmp_path / "t.safetensors", None, torch.device("cpu"))
    assert again.config == run.config
    assert steps(run, pixels, 5) == steps(again, pixels, 5)
    for (name, a), b in zip(run.average.state_dict().items(), again.average.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_what_is_random_is_a_function_of_seed_and_step(run, pixels):
    first, second = draw_inputs(pixels, run), draw_inputs(pixels, run)
    assert [part.shape[0] for part in first] == [8, 8, 8]
    assert first[0].shape[-2:] == (8, 8)
    assert all(map(torch.equal, first, second))
    run.step += 1
    assert not torch.equal(draw_inputs(pixels, run)[1], first[1])


def test_running_statistics_are_averaged_as_weights_are_and_counts_copied(run, pixels):
    mean, weight = torch.zeros(3), run.average.net.weight.clone()
    for step in range(1, 4):
        steps(run, pixels, 1)
        decay = min(0.5, (1 + step) / (10 + step))
        mean = mean.lerp(run.flow.norm.running_mean, 1 - decay)
        weight = weight.lerp(run.flow.net.weight.detach(), 1 - decay)
        torch.testing.assert_close(run.average.norm.running_mean, mean)
        torch.testing.assert_close(run.average.net.weight, weight)
        assert run.average.norm.num_batches_tracked == run.flow.norm.num_batches_tracked == step
    assert not torch.equal(run.average.norm.running_mean, run.flow.norm.running_mean)
    assert not run.average.training


def test_held_out_pictures_are_judged_by_the_same_loss(run, pixels, tmp_path, monkeypatch):
    before = validate(run.model, pixels)
    assert before == validate(run.model, pixels)
    steps(run, pixels, 20)
    assert validate(run.model, pixels) < 0.5 * before
    monkeypatch.setattr("transflow.training.output.save_model", lambda path, model: None)
    monkeypatch.setattr("transflow.training.output.sample_sheet", lambda model, held_out: b"")
    files = RunFiles(tmp_path / "m.safetensors")
    files.write_checkpoint(run, pixels, 0.25)
    line = json.loads(files.metrics.read_text())
    assert line["loss"] == 0.25
    assert "bits_per_dim" not in line
    assert line["held_out"] == run.held_out == run.model.card["held_out_loss"] == validate(run.model, pixels)


def test_the_precision_is_chosen_once_and_kept(run, monkeypatch):
    monkeypatch.setattr("transflow.training.loop.faster_precision", lambda device: "bfloat16")
    assert choose_precision(run, Ranks()) == "float32"  # as the config says
    run.config = replace(run.config, precision="auto")
    assert choose_precision(run, Ranks()) == "bfloat16"
    run.card = {"device": "cpu", "precision": "float32"}  # as 0.1.0 began it
    assert choose_precision(run, Ranks()) == "float32"
    run.card["device"] = "cuda"
    assert choose_precision(run, Ranks()) == "bfloat16"


def test_glow_is_a_family():
    family, config = FAMILIES["glow"], GlowConfig(size=8, steps=(1,), width=(4,))
    assert name_of(config) == "glow"
    flow = family.build(config)
    assert isinstance(flow, Glow)
    assert flow.shape == config.shape == (3, 8, 8)
    x = torch.rand(4, 3, 8, 8) - 0.5
    family.initialise(flow, x)
    z, log_det = flow(x)
    for same in (family.fuse(flow, None), family.reversible(flow)):
        torch.testing.assert_close(same(x), (z, log_det), rtol=1e-4, atol=1e-4)
    halved = {name for name, weight in flow.state_dict().items() if family.halvable(name, weight)}
    assert halved == {f"levels.0.1.net.{i}.weight" for i in (0, 2, 4)}
    with pytest.raises(TypeError, match="configuration of a family"):
        name_of(TrainConfig())
