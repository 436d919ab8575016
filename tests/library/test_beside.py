"""A posterior, or a classifier, finds its model beside it, wherever it is opened from and wherever both were moved."""

import shutil

import pytest
import torch

from transflow import FewShotClassifier, load, load_posterior
from transflow.cli import main
from transflow.generative.model_file import load_model, save_model


@pytest.fixture
def kept(tmp_path, model_file, folder, monkeypatch):
    """A folder with a model and, beside it, files made of it by a relative name."""
    made = tmp_path / "made"
    (made / "models").mkdir(parents=True)
    shutil.copy(model_file, made / "models" / "m.safetensors")
    monkeypatch.chdir(made)
    model = load("models/m.safetensors")
    model.condition(folder).save("p.safetensors")
    FewShotClassifier(model).fit(folder, [0, 1] * 6).save("c.safetensors")
    return made


def opened(where):
    found = load_posterior(where / "p.safetensors")
    assert FewShotClassifier.load(where / "c.safetensors").classes_.tolist() == [0, 1]
    return found.model.name


def test_it_opens_from_anywhere_and_after_a_move(kept, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert opened(kept) == "models/m.safetensors"
    monkeypatch.chdir(elsewhere)
    assert opened(kept) == str(kept / "models" / "m.safetensors")
    kept.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert opened(moved) == str(moved / "models" / "m.safetensors")
    (moved / "models" / "m.safetensors").rename(moved / "m.safetensors")  # all in one folder, such as a download
    assert opened(moved) == str(moved / "m.safetensors")
    (moved / "m.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"the file is missing\. Give the model"):
        opened(moved)


def test_the_fingerprint_says_which_of_two_models_it_is(kept, model_file, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "models").mkdir(parents=True)
    other = load_model(model_file)
    with torch.no_grad():
        next(other.flow.parameters()).add_(0.01)
    save_model(elsewhere / "models" / "m.safetensors", other)
    monkeypatch.chdir(elsewhere)
    assert opened(kept) == str(kept / "models" / "m.safetensors")
    (elsewhere / "models" / "m.safetensors").write_bytes(b"<html>")
    assert opened(kept) == str(kept / "models" / "m.safetensors")
    shutil.rmtree(kept / "models")
    save_model(elsewhere / "models" / "m.safetensors", other)
    with pytest.raises(ValueError, match=r"Expected the model that .* was made with"):
        opened(kept)


def test_no_output_is_written_over_the_model_beside(kept, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    target = kept / "models" / "m.safetensors"
    words = ["condition", str(tmp_path / "pictures"), "--add", str(kept / "p.safetensors"), "--overwrite"]
    before = target.read_bytes()
    assert main([*words, "-o", str(target)]) == 2
    assert target.read_bytes() == before
    assert "apart from what is read" in capsys.readouterr().err
