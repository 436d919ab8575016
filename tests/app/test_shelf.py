"""The list of models: names from a browser are looked up in it, and reach nothing else."""

import pytest
import torch

from transflow import Glow, GlowConfig
from transflow.app.shelf import SAMPLES, Shelf
from transflow.app.watched import watched
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel


def test_a_file_is_called_by_its_name_alone(shelf, session, model_file, tiny):
    assert shelf.names[0] == "tiny.safetensors"
    assert "faces-32" in shelf.names
    assert tiny.name == "tiny.safetensors"
    assert str(model_file.parent) not in repr(tiny)
    assert shelf.beside(session, "tiny.safetensors") == "tiny.safetensors"
    assert not shelf.beside(session, "faces-32")
    assert Shelf().names[0] == "faces-32"


@pytest.mark.parametrize(
    "name", ["os:getcwd", "checkpoint:/etc/passwd", "/etc/passwd", "diffusers:x/y", "", None, "tiny"]
)
def test_other_names_are_one_line(shelf, session, name, monkeypatch):
    monkeypatch.setattr("transflow.app.shelf.load", lambda name: pytest.fail(f"{name} was loaded"))
    with pytest.raises(ValueError, match="Expected a model, one of"):
        shelf.model(session, name)


def test_a_model_is_loaded_once(shelf, session, tiny):
    assert shelf.model(session, "tiny.safetensors") is tiny


@pytest.mark.parametrize("kind", SAMPLES)
def test_sample_sets_are_made_once_for_a_model(shelf, tiny, kind):
    found = shelf.sample_pixels(tiny, kind)
    assert found.shape == (24, 3, 16, 16)
    assert found.dtype == torch.uint8
    counts = []
    assert shelf.sample_pixels(watched(tiny, counts.append), kind) is found
    assert not counts
    assert len(found.unique(dim=0)) > 20


def test_an_unknown_sample_set_is_one_line(shelf, tiny):
    with pytest.raises(ValueError, match="Expected a sample set, one of"):
        shelf.sample_pixels(tiny, "photographs")


def test_a_watched_model_is_the_same_model(tiny, pixels):
    counts = []
    model = watched(tiny, counts.append)
    assert model.is_same_model(tiny)
    assert model.fingerprint == tiny.fingerprint
    assert torch.equal(model.encode(pixels), tiny.encode(pixels))
    assert [model.can(name) for name in ("score", "features", "variance")] == [
        tiny.can(name) for name in ("score", "features", "variance")
    ]
    assert counts == [12]


def test_a_small_file_of_huge_pictures_is_not_built(shelf, session, tmp_path, monkeypatch):
    monkeypatch.setattr("transflow.app.bounds.NUMBERS", 3 * 16 * 16 - 1)
    monkeypatch.setattr("transflow.app.shelf.load", lambda *_: pytest.fail("it was loaded"))
    flow = Glow(GlowConfig(size=16, steps=(1, 1), width=(4, 4))).eval()
    upload = tmp_path / "huge.safetensors"
    save_model(upload, PictureModel(flow.requires_grad_(False)), half=False)
    with pytest.raises(ValueError, match=r"of at most 767 numbers; got 3 x 16 x 16: huge\.safetensors"):
        shelf.add(session, str(upload))
    assert not upload.exists()
    assert "huge.safetensors" not in session.models
