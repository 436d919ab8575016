"""The command `condition` does what Python does, and changes a saved posterior."""

import numpy as np
import pytest
import torch
from PIL import Image

from transflow import load_posterior


def test_condition_is_its_twin_in_python(red, model, pixels):
    posterior = load_posterior(red)
    torch.testing.assert_close(posterior.gaussian.mean, model.condition(pixels, "0.5m").gaussian.mean)


def test_condition_says_what_it_chose(run, folder, model_file, tmp_path):
    status, out, _ = run("condition", folder, "-m", model_file, "-o", tmp_path / "t.safetensors")
    assert status == 0
    assert "12 pictures, 4 parents a picture, novelty 0.63" in out
    _, out, _ = run("condition", folder, "-m", model_file, "--learn", "mean", "-o", tmp_path / "t.safetensors")
    assert "12 pictures, noise typical: lambda = " in out
    words = ["--learn", "mixture", "--novelty", "0.4"]
    _, out, _ = run("condition", folder, "-m", model_file, *words, "-o", tmp_path / "t.safetensors")
    assert "mixture of variations, novelty 0.40" in out


def test_condition_names_what_is_wrong_with_pictures(run, folder, model_file, tmp_path):
    files = sorted(folder.iterdir())
    words = ["-m", model_file, "-o", tmp_path / "t.safetensors"]
    _, _, err = run("condition", *files[:3], *files[:1], *words)
    assert "note: 1 of the pictures are there already and count once; 3 pictures have 3 different samples" in err
    _, out, err = run("condition", files[0], *words)
    assert "note: one picture shows no variety to learn, so samples are drawn in the paper's way" in err
    assert "1 pictures, noise typical" in out
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 2, (16, 16, 3), dtype=np.uint8) * 255).save(folder / "wild.png")
    _, _, err = run("condition", folder, *words)
    assert "latents far too long" in err
    assert "left out of the drawing: " in err
    assert "wild.png" in err
    _, _, err = run("condition", folder, "--long", *words)
    assert "drawn from all the same" in err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--learn", "parents:0"], "Expected 1 parent or more, at most half as many as pictures; got '0'"),
        (["--learn", "parents:-1"], "Expected 1 parent or more, at most half as many as pictures; got '-1'"),
        (["--learn", "parents:7"], "Expected at most half as many parents as there are different pictures, 6 of 12"),
        (["--learn", "looks"], 'Expected as what to learn "parents"'),
        (["--novelty", "2"], "Expected a novelty from 0"),
        (["--novelty", "0.5", "--learn", "mean"], "Expected no novelty"),
        (["--noise", "0.5m", "--novelty", "0.5"], "Expected a noise for the mean alone"),
    ],
)
def test_bad_ways_to_learn_are_one_line(run, folder, model_file, tmp_path, words, error):
    path = tmp_path / "t.safetensors"
    status, _, err = run("condition", folder, "-m", model_file, *words, "-o", path)
    assert (status, path.exists()) == (2, False)
    assert error in err
    assert len(err.splitlines()) == 1


def test_evidence_goes_in_and_out_of_a_saved_posterior(run, red, folder, model, pixels):
    files = sorted(folder.iterdir())
    assert run("condition", *files[8:], "--remove", red, "-o", "less.safetensors")[0] == 0
    less = load_posterior("less.safetensors")
    torch.testing.assert_close(less.gaussian.mean, model.condition(pixels[:8], "0.5m").gaussian.mean, rtol=0, atol=1e-5)
    assert run("condition", *files[8:], "--add", "less.safetensors")[0] == 0
    again = load_posterior("less.safetensors")
    torch.testing.assert_close(again.gaussian.mean, load_posterior(red).gaussian.mean, rtol=0, atol=1e-5)
    before = red.read_bytes()
    status, _, err = run("condition", *files[:1], *files[:1], "--remove", red)
    assert (status, red.read_bytes()) == (2, before)
    assert "are not (numbers 2)" in err
