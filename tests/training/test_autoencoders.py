"""Autoencoders as runs: they learn, stop and go on as if never stopped, and their latents are those that are said."""

from dataclasses import replace

import pytest
import torch

from helpers import whole_and_stopped
from transflow import load, train
from transflow.cli.parser import build_parser
from transflow.cli.training import config_of
from transflow.generative.families import FAMILIES
from transflow.pictures import decode
from transflow.training.config import TrainConfig
from transflow.training.data import split

QUICK = {"batch": 8, "compile": False, "precision": "float32", "warmup": 10}
NAMES = ("vae", "wae", "autoencoder")


def run(family, **settings):
    return TrainConfig.of(
        FAMILIES[family].config((3, 8, 8), latent=2, widths=(8, 8)), **{**QUICK, "epochs": 4}, **settings
    )


@pytest.mark.parametrize("family", NAMES)
def test_a_run_is_the_same_run_however_often_it_is_stopped(family, folder, tmp_path):
    config = run(family)
    whole, parts = whole_and_stopped(folder, tmp_path, config)
    assert whole.card["held_out_loss"] == parts.card["held_out_loss"]


@pytest.mark.parametrize("family", NAMES)
def test_it_learns_and_says_how_near_its_pictures_come(family, folder, tmp_path):
    config = replace(run(family, held_out=0.3, learning_rate=0.01), epochs=150)
    told = []
    model = train(folder, tmp_path / "m.safetensors", config, report=told.append)
    first, last = (sum(p.loss for p in part) / 10 for part in (told[:10], told[-10:]))
    assert last < first - (0.3 if family == "vae" else 0.3 * first)
    assert model.exactness == model.card["round_trip"] > 0.01
    assert not model.can("score")
    assert model.can("variance") == (family == "vae")
    with pytest.raises(TypeError, match=r"without \(2 numbers stand for a picture of 192\)"):
        model.require("score", "to score pictures")
    posterior = model.condition(folder, 0.5)
    assert posterior.pictures(3, seed=0).shape == (3, 3, 8, 8)


@pytest.mark.parametrize("family", ["wae", "autoencoder"])
def test_the_latents_of_training_pictures_have_mean_0_and_covariance_1(family, folder, tmp_path):
    model = train(folder, tmp_path / "m.safetensors", run(family))
    pixels, _ = split(decode.read(folder, (3, 8, 8)), run(family), None)
    z = load(tmp_path / "m.safetensors").encode_pixels(pixels).double()
    assert z.mean(0).abs().max() < 0.05  # weights are kept in half precision
    torch.testing.assert_close(torch.cov(z.T), torch.eye(2, dtype=torch.float64), rtol=0, atol=0.1)
    assert model.prior.is_standard


def test_the_command_has_its_options(tmp_path):
    words = ["train", "x", "-o", "m.safetensors", "--family", "wae", "--size", "28", "--grey", "--latent", "16"]
    config = config_of(build_parser().parse_args([*words, "--width", "16,32", "--matching", "0.5"])).architecture
    assert (config.shape, config.latent, config.widths, config.matching) == ((1, 28, 28), 16, (16, 32), 0.5)
    with pytest.raises(ValueError, match="options of the family wae; got --depth"):
        config_of(build_parser().parse_args([*words, "--depth", "3"]))
    with pytest.raises(ValueError, match="height and width of 8 or more"):
        config_of(build_parser().parse_args([*words, "--size", "4"]))
