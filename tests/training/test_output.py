"""The files of a run, and what is measured for them."""

import json
from dataclasses import replace

import pytest
import torch

from helpers import CONFIG
from transflow import Glow, GlowConfig, load, train
from transflow.generative.picture_model import PictureModel
from transflow.pictures import decode as data
from transflow.pictures.pixels import PixelFormat
from transflow.training.output import FARTHEST, RunFiles, held_out_bits
from transflow.training.state import TrainingState


def test_held_out_bits_are_those_of_the_uniform_density():
    """A flow that is the identity has the bits of a standard normal over the unit cube."""
    flow = Glow(GlowConfig(size=8, steps=(0,), width=(4,)))
    x = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8)
    bits = held_out_bits(PictureModel(flow.requires_grad_(False), PixelFormat(5)), x)
    expected = 5 + (0.5 * torch.log(torch.tensor(2 * torch.pi)) + 1 / 24) / torch.log(torch.tensor(2.0))
    assert bits == pytest.approx(expected.item(), rel=2e-3)


def test_a_run_that_can_go_on_is_not_overwritten(folder, tmp_path):
    (tmp_path / "m.training.safetensors").write_bytes(b"hours of work")
    with pytest.raises(FileExistsError, match="--resume"):
        train(folder, tmp_path / "m.safetensors", CONFIG)
    assert (tmp_path / "m.training.safetensors").read_bytes() == b"hours of work"


def test_a_run_is_apart_from_its_pictures_and_names_what_it_leaves_out(folder, tmp_path):
    with pytest.raises(ValueError, match="apart from what is read"):
        train(folder, folder / "m.safetensors", CONFIG)
    with pytest.raises(ValueError, match="apart from what is read"):
        train([folder, tmp_path / "m.samples.png"], tmp_path / "m.safetensors", CONFIG)
    (folder / "bad.png").write_bytes(b"")
    told = []
    train(folder, tmp_path / "m.safetensors", CONFIG, on_bad=told.append, stop_after=1e-9)
    assert len(told) == 1
    assert "bad.png" in told[0]


def files_of(tmp_path):
    return {path.name: path.read_bytes() for path in tmp_path.glob("m.*")}


@pytest.mark.parametrize("rate", [1e4, 1e12])
def test_a_diverged_run_keeps_its_last_good_checkpoint_and_goes_on_from_it(folder, tmp_path, rate):
    """Each step would write a checkpoint; after the first bad step none is good."""
    output, config = tmp_path / "m.safetensors", replace(CONFIG, precision="float32", warmup=1)
    train(folder, output, config, stop_after=1e-9)
    before = load(output).fingerprint
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        train(folder, output, replace(config, learning_rate=rate, epochs=200), resume=True)
    lines = [
        json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "m.metrics.jsonl").read_text().splitlines()
    ]
    assert all(abs(line["held_out"]) < FARTHEST for line in lines)
    assert load(output).fingerprint == before
    model = train(folder, output, config, resume=True)
    assert model.card["bits_per_dim"] < 10


@pytest.mark.parametrize("bad", ["skipped", "average", "weights", "huge"])
def test_nothing_is_written_that_is_nothing_to_go_on_from(folder, tmp_path, bad):
    files = RunFiles(tmp_path / "m.safetensors")
    state = TrainingState(CONFIG, torch.device("cpu"))
    pixels = data.read(folder, (3, 8, 8)).pixels
    assert files.write_checkpoint(state, pixels, 1.0)
    before = files_of(tmp_path)
    state.skipped_in_a_row = int(bad == "skipped")
    module = {"average": state.average, "weights": state.flow, "huge": state.flow}.get(bad)
    if module is not None:
        with torch.no_grad():
            next(module.parameters()).fill_(1e30 if bad == "huge" else float("nan"))
    assert not files.write_checkpoint(state, pixels, 1.0)
    assert files_of(tmp_path) == before
    assert len(files.lines) == 1


def test_a_run_killed_after_its_last_state_has_its_metrics_and_samples(folder, tmp_path, monkeypatch):
    """The state is what says how far a run is, so all that goes before it is there."""

    def killed(*_):
        raise KeyboardInterrupt

    output = tmp_path / "m.safetensors"
    monkeypatch.setattr("transflow.training.output.save_model", killed)
    with pytest.raises(KeyboardInterrupt):
        train(folder, output, replace(CONFIG, epochs=1, interval=60.0))
    monkeypatch.undo()
    train(folder, output, resume=True)
    assert len((tmp_path / "m.metrics.jsonl").read_text().splitlines()) == 1
    assert (tmp_path / "m.samples.png").exists()
