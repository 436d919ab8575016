"""The command `condition` does what Python does, and changes a saved posterior."""

import torch

from transflow import load_posterior


def test_condition_is_its_twin_in_python(red, model, pixels):
    posterior = load_posterior(red)
    torch.testing.assert_close(posterior.gaussian.mean, model.condition(pixels, "0.5m").gaussian.mean)


def test_condition_says_what_it_chose(run, folder, model_file, tmp_path):
    status, out, _ = run("condition", folder, "-m", model_file, "-o", tmp_path / "t.safetensors")
    assert status == 0
    assert "12 pictures" in out
    assert "typical: lambda = " in out


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
