"""Numbers of numpy and torch are taken wherever numbers come in; what is none is refused before any work."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import CONFIG
from transflow import FewShotClassifier, GlowConfig, load_posterior, train
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.noise import parse_noise
from transflow.pictures.pixels import PixelFormat


@pytest.mark.parametrize("four", [np.int64(4), np.array(4), torch.tensor(4), np.uint8(4)])
def test_a_whole_number_of_any_library(four):
    config = replace(CONFIG, batch=four, seed=four, glow=GlowConfig(size=4 * four, steps=(four,), width=(four,)))
    assert config == replace(CONFIG, batch=4, seed=4, glow=GlowConfig(size=16, steps=(4,), width=(4,)))
    assert {type(n) for n in (config.batch, config.seed, config.glow.size, *config.glow.steps)} == {int}
    assert torch.equal(Gaussian.standard(2).sample(four, seed=four), Gaussian.standard(2).sample(4, seed=4))


@pytest.mark.parametrize("half", [np.float32(0.5), np.array(0.5), torch.tensor(0.5), np.float64(0.5)])
def test_a_number_of_any_library(half):
    config = replace(CONFIG, learning_rate=half, flip=np.bool_(True), precision=np.str_("float32"))
    assert config == replace(CONFIG, learning_rate=0.5, flip=True, precision="float32")
    assert (type(config.learning_rate), type(config.flip), type(config.precision)) == (float, bool, str)
    assert parse_noise(half) == parse_noise(0.5)
    drawn = Gaussian.standard(2).sample(4, seed=0, temperature=half)
    assert torch.equal(drawn, Gaussian.standard(2).sample(4, seed=0, temperature=0.5))


def test_a_run_of_numpys_numbers_is_written_and_goes_on(folder, tmp_path):
    config = replace(CONFIG, batch=np.int64(4), epochs=np.float32(1), seed=np.int64(1), learning_rate=np.float32(1e-3))
    output = tmp_path / "m.safetensors"
    train(folder, output, config, stop_after=1e-9)
    assert train(folder, output, resume=True).card["seed"] == 1


@pytest.mark.parametrize("noise", [np.float32(0.5), np.str_("0.5m"), np.array("0.5m"), torch.tensor(2.0)])
def test_a_noise_of_any_library_is_kept(model, pixels, tmp_path, noise):
    posterior = model.condition(pixels, noise)
    posterior.save(tmp_path / "p.safetensors")
    assert load_posterior(tmp_path / "p.safetensors", model).noise == posterior.noise


def test_parameters_of_numpys_types_are_kept(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(8, 3)), [0, 1] * 4
    classifier = FewShotClassifier(None, np.float32(0.5), np.int64(2), np.int64(1)).fit(x, y)
    classifier.save(tmp_path / "c.safetensors")
    again = FewShotClassifier.load(tmp_path / "c.safetensors")
    assert again.get_params() == {"model": None, "noise": 0.5, "augment": 2, "query_copies": 1, "cache": None}
    assert (again.predict_proba(x) == classifier.predict_proba(x)).all()


BAD = {
    "batch": [4.0, True, "4", None, np.array([4])],
    "seed": [1.5, "1"],
    "learning_rate": ["0.1", float("nan"), None, np.array([1.0]), True],
    "flip": [2, "yes", None],
    "warmup": [-1, 0.5],
    "ema": [float("nan"), 2.0],
    "precision": [32, None],
    "compile": ["no"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_another_kind_is_refused_when_the_configuration_is_made(name, value):
    with pytest.raises(ValueError, match="Expected"):
        replace(CONFIG, **{name: value})


@pytest.mark.parametrize("value", [8.0, "8", None, True])
def test_an_architecture_has_whole_numbers(value):
    for make in (
        lambda: GlowConfig(size=value),
        lambda: GlowConfig(steps=(value,), width=(4,)),
        lambda: GlowConfig(steps=value),
    ):
        with pytest.raises(ValueError, match="Expected"):
            make()
    with pytest.raises(ValueError, match="Expected"):
        PixelFormat(bits=value)


def test_draws_are_refused_in_one_line():
    for words in ({"n": 4.0}, {"n": "4"}, {"n": 4, "seed": 1.5}, {"n": 4, "temperature": "1"}, {"n": 4, "seed": 2**64}):
        with pytest.raises(ValueError, match="Expected"):
            Gaussian.standard(2).sample(**words)


@pytest.mark.parametrize(
    "wrong", [{"query_copies": 2.0}, {"augment": 2.0}, {"augment": -1}, {"noise": np.array([1.0])}]
)
def test_a_classifiers_parameters_are_refused_before_the_work(wrong):
    with pytest.raises(ValueError, match="Expected"):
        FewShotClassifier(**wrong).fit(np.eye(4), [0, 0, 1, 1])
