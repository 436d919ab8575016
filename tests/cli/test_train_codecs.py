"""`train --family` of models of small latents, alone or against an adversary, whose collapse is one line."""

import pytest
import torch

from transflow import load
from transflow.training import adversarial

QUICK = ["--size", 8, "--batch", 8, "--epochs", 2, "--no-compile", "--width", "8,8", "--latent", 3]
WORDS = {
    "vae": [],
    "wae": ["--matching", 0.5],
    "autoencoder": [],
    "bigan": ["--penalty", 0.5],
    "gan": ["--penalty", 0.5],
}
MADE = {"wae": {"matching": 0.5}, "bigan": {"penalty": 0.5}, "gan": {"penalty": 0.5}}


def trained(folder, output, family, *words):
    return ["train", folder, "-o", output, "--family", family, *WORDS.get(family, []), *QUICK, *words]


@pytest.mark.parametrize("family", WORDS)
def test_a_model_is_trained_loaded_sampled_and_gone_on_with(run, folder, family):
    status, out, err = run(*trained(folder, "m.safetensors", family, "--data", "blobs"))
    assert status == 0
    assert " loss on 1 held-out pictures" in out
    assert "Traceback" not in err
    model = load("m.safetensors")
    assert (model.shape, model.bits) == ((3, 8, 8), 8)
    config = model.source.flow.config
    assert (model.source.family, config.latent, config.widths) == (family, 3, (8, 8))
    assert {name: getattr(config, name) for name in MADE.get(family, {})} == MADE.get(family, {})
    assert (model.card["pictures_seen"], model.card["data"]) == (24, "blobs")
    samples = model.decode(model.prior.sample(4, seed=0))
    assert samples.shape == (4, 3, 8, 8)
    assert samples.isfinite().all()
    assert samples.std(0).max() > 1e-6  # of different latents, different pictures
    assert run("sample", "m.safetensors", "-n", 2, "-o", "x.png")[0] == 0
    assert run("train", folder, "-o", "m.safetensors", "--resume", "--epochs", 3)[0] == 0
    again = load("m.safetensors")
    assert again.card["pictures_seen"] == 40
    assert not torch.equal(again.decode(again.prior.sample(4, seed=0)), samples)


@pytest.mark.parametrize("family", ["bigan", "gan"])
def test_a_collapse_is_one_line_and_the_last_good_model_stays(run, folder, family, tmp_path, monkeypatch):
    monkeypatch.setattr(adversarial, "GRACE", 0)
    monkeypatch.setattr(adversarial, "LEAST_VARIANCE", 0.0)
    assert run(*trained(folder, "m.safetensors", family, "--stop-after", 1e-9))[0] == 0
    good = {path.name: path.read_bytes() for path in (tmp_path / "work").iterdir()}
    assert "m.safetensors" in good
    monkeypatch.setattr(adversarial, "LEAST_VARIANCE", 0.1)
    monkeypatch.setattr(adversarial, "relative_variance", lambda state, pixels: 0.03)
    status, out, err = run("train", folder, "-o", "m.safetensors", "--resume")
    assert (status, out) == (2, "")
    (line,) = [line for line in err.splitlines() if "Expected" in line]
    assert err.rstrip().endswith(line)
    assert "Expected samples that vary as the pictures do; got 3.0% of their variance after 3 steps" in line
    assert "resume from it with a lower learning rate" in line
    assert "Traceback" not in err
    assert {path.name: path.read_bytes() for path in (tmp_path / "work").iterdir()} == good
    monkeypatch.setattr(adversarial, "LEAST_VARIANCE", 0.0)
    assert run("train", folder, "-o", "m.safetensors", "--resume", "--learning-rate", 1e-4)[0] == 0
    assert load("m.safetensors").card["pictures_seen"] == 24


@pytest.mark.parametrize(("begun", "other"), [("bigan", "glow"), ("gan", "glow"), ("glow", "bigan"), ("gan", "vae")])
def test_a_run_of_one_model_is_no_run_of_another_kind(run, folder, begun, other, tmp_path):
    words = ["--size", 8, "--batch", 8, "--epochs", 2, "--no-compile", "--stop-after", 1e-9]
    more = ["--steps", "1,1", "--width", "4,4"] if begun == "glow" else ["--width", "8,8", "--latent", 3]
    assert run("train", folder, "-o", "m.safetensors", "--family", begun, *words, *more)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "work").iterdir()}
    status, out, err = run("train", folder, "-o", "m.safetensors", "--resume", "--family", other)
    assert (status, out) == (2, "")
    assert f"Expected family {begun}, as the run was begun with; got {other}." in err
    assert len(err.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "work").iterdir()} == before
