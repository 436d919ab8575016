"""A run of two: it learns, it resumes as if never stopped, and a collapse ends it with the last good model kept."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from helpers import whole_and_stopped
from transflow import load, train
from transflow.generative.bigan import BiGanConfig
from transflow.generative.gan import GanConfig
from transflow.generative.growing import GRAIN
from transflow.training import adversarial
from transflow.training.adversarial import AdversarialState, coarse_variance, relative_variance
from transflow.training.config import TrainConfig
from transflow.training.data import draw_inputs

CONFIG = TrainConfig.of(BiGanConfig((3, 8, 8), latent=2, widths=(8, 8)), batch=8, warmup=10, epochs=4)
GAN = TrainConfig.of(GanConfig((3, 8, 8), latent=2, widths=(8, 8)), batch=8, warmup=10, epochs=4)
EACH = pytest.mark.parametrize("config", [CONFIG, GAN], ids=["bigan", "gan"])


def begun(pixels, config=CONFIG, **settings):
    state = AdversarialState(replace(config, **settings), torch.device("cpu"))
    shown = nn.functional.interpolate(pixels.float(), size=8).to(torch.uint8)
    state.bind(shown)
    return state, shown


@EACH
def test_a_run_is_the_same_run_however_often_it_is_stopped(folder, tmp_path, config):
    whole, parts = whole_and_stopped(folder, tmp_path, config)
    assert whole.card["held_out_loss"] == parts.card["held_out_loss"]


@EACH
def test_all_of_both_is_kept_between(pixels, tmp_path, config):
    state, shown = begun(pixels, config, epochs=7)
    for _ in range(5):
        state.take_step(shown)
    state.save(tmp_path / "t.safetensors")
    again = AdversarialState.resume(tmp_path / "t.safetensors", None, torch.device("cpu"))
    assert state.guess == again.guess > 0
    for run in (state, again):
        for _ in range(5):
            run.take_step(shown)
    for a, b in ((state.adversary, again.adversary), (state.flow, again.flow), (state.average, again.average)):
        for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            assert torch.equal(x, y), name


def test_a_run_grows_with_its_budget_and_the_model_that_is_kept_with_it(pixels, folder, tmp_path):
    state, shown = begun(pixels, GAN, epochs=20)
    found = []
    while state.progress < 1:
        state.take_step(shown)
        assert state.flow.grown == state.average.grown
        found.append(int(state.average.grown))
    assert found[0] == 0
    assert found == sorted(found)
    assert found[-1] == 2 * GRAIN
    assert any(grown % GRAIN for grown in found)
    model = train(folder, tmp_path / "m.safetensors", GAN)
    assert model.source.flow.grown == 2 * GRAIN
    assert model.exactness == model.card["round_trip"]
    z = model.prior.sample(4, seed=0)
    assert torch.equal(model.decode(z), load(tmp_path / "m.safetensors").decode(z))
    begun_from = train(folder, tmp_path / "n.safetensors", GAN, begin_from=tmp_path / "m.safetensors", stop_after=1e-9)
    assert begun_from.source.flow.grown == 2 * GRAIN  # it does not grow again


def test_a_generator_that_makes_one_picture_ends_the_run(pixels):
    state, shown = begun(pixels, GAN)
    state.step, state.guess = adversarial.GRACE, torch.tensor(1.0)
    with torch.no_grad():
        state.average.pictures[0].weight.mul_(10)
    state.check(shown)  # of coarse pictures, by samples alone: it has no encoder
    with torch.no_grad():
        state.average.head[0].weight.zero_()
    with pytest.raises(FloatingPointError, match=r"samples that vary .* got 0.0% of their variance"):
        state.check(shown)


def test_samples_come_to_vary_as_the_pictures_do(pixels):
    state, shown = begun(pixels, epochs=10_000, learning_rate=2e-3)

    def variance():
        with torch.no_grad():
            samples = state.flow.inverse(state.model.prior.sample(256, seed=0).float()) + 0.5
        return coarse_variance(samples) / coarse_variance(shown / 255)

    assert variance() < 0.1
    for _ in range(300):
        state.take_step(shown)
    assert 0.2 < variance() < 2
    assert all(p.requires_grad for p in state.adversary.parameters())


def test_each_learns_against_one_that_stands_still(pixels):
    state, shown = begun(pixels, epochs=10_000, learning_rate=2e-3)
    game = state.game
    still_model = replace(game, model_loss=lambda *given: _zero(state.flow))
    still_adversary = replace(game, loss=lambda *given: _zero(state.adversary))
    for fixed, measured in ((still_model, game.loss), (still_adversary, game.model_loss)):
        inputs = draw_inputs(shown, state)
        before = measured(state.adversary, state.flow, *inputs).mean().item()
        state.game = fixed
        for _ in range(60):
            state.take_step(shown)
        state.game = game
        assert measured(state.adversary, state.flow, *inputs).mean().item() < before - 0.1


def _zero(module):
    return 0 * next(module.parameters()).sum()


def test_a_collapse_ends_the_run_and_the_last_good_model_stays(folder, tmp_path, monkeypatch):
    output = tmp_path / "m.safetensors"
    monkeypatch.setattr(adversarial, "GRACE", 0)
    monkeypatch.setattr(adversarial, "LEAST_VARIANCE", 0.0)
    train(folder, output, CONFIG, stop_after=1e-9)
    good = output.read_bytes()
    monkeypatch.setattr(adversarial, "LEAST_VARIANCE", 0.1)
    monkeypatch.setattr(adversarial, "relative_variance", lambda state, pixels: 0.03)
    with pytest.raises(FloatingPointError, match=r"got 3.0% of their variance after \d+ steps.*last good checkpoint"):
        train(folder, output, resume=True)
    assert output.read_bytes() == good
    assert load(output).shape == (3, 8, 8)


def test_an_adversary_that_has_won_ends_the_run(pixels, monkeypatch):
    state, shown = begun(pixels)
    monkeypatch.setattr(adversarial, "relative_variance", lambda state, pixels: 1.0)
    monkeypatch.setattr(adversarial, "spread_of_latents", lambda state, pixels: (1.0, 1.0))
    state.step = adversarial.GRACE
    state.guess = torch.tensor(1.0)
    state.check(shown)
    state.guess = torch.tensor(0.01)
    with pytest.raises(FloatingPointError, match=r"adversary that can be fooled; got one whose loss is 0.010"):
        state.check(shown)
    state.step = adversarial.GRACE - 1
    state.check(shown)


def test_the_measure_of_a_collapse_is_the_samples_variance_over_the_pictures(pixels):
    state, shown = begun(pixels)
    with torch.no_grad():
        state.average.generator.head.weight.zero_()
    assert relative_variance(state, shown) == pytest.approx(0, abs=1e-9)
    assert coarse_variance(torch.ones(5, 3, 8, 8)) == 0
    two = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    assert coarse_variance(two) == pytest.approx(3 * 16 / 4)
    fine = (torch.arange(8) % 2).float().expand(2, 1, 8, 8) * torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    assert coarse_variance(fine + torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)) == pytest.approx(0)  # seen coarsely, alike


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda head: head.weight.zero_(), "got 0.0% of their variance"),
        (lambda head: head.weight.mul_(1e-3), r"got \d.\d% of their variance"),
        (lambda head: head.weight.copy_(head.weight[:1].expand_as(head.weight)), "got 0.0% of their directions"),
    ],
)
def test_an_encoder_that_gives_one_latent_to_all_or_a_line_of_them_ends_the_run(pixels, monkeypatch, broken, words):
    """The run measures mean and variance before it looks, as here."""
    state, shown = begun(pixels)
    state.step, state.guess = adversarial.GRACE, torch.tensor(1.0)
    monkeypatch.setattr(adversarial, "relative_variance", lambda state, pixels: 1.0)
    state.fit(shown)
    state.check(shown)
    with torch.no_grad():
        broken(state.average.encoder.head)
    state.fit(shown)
    with pytest.raises(FloatingPointError, match=f"latents of pictures that vary .* {words}"):
        state.check(shown)


def test_steps_that_are_not_finite_are_skipped_by_both(pixels, monkeypatch):
    state, shown = begun(pixels)
    before = {k: v.clone() for k, v in state.tensors().items()}
    broken = replace(state.game, loss=lambda adversary, *given: next(adversary.parameters()).sum()[None] * torch.nan)
    monkeypatch.setattr(state, "game", broken)
    state.take_step(shown)
    assert (state.step, state.skipped) == (1, 1)
    assert all(torch.equal(v, before[k]) for k, v in state.tensors().items())


def test_what_two_cannot_do_is_refused_before_the_run(folder, tmp_path):
    with pytest.raises(ValueError, match="precision float32 for bigan"):
        replace(CONFIG, precision="bfloat16")
    with pytest.raises(ValueError, match="precision float32 for gan"):
        replace(GAN, precision="bfloat16")
    with pytest.raises(ValueError, match="batches of 2 or more for bigan; got 1"):
        replace(CONFIG, batch=1)
    with pytest.raises(ValueError, match="no outliers for bigan"):
        replace(CONFIG, outliers=0.1)
    with pytest.raises(ValueError, match="family with an adversary; got glow"):
        AdversarialState(TrainConfig(), torch.device("cpu"))
