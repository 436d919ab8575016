"""The files of a run, and what is measured for them."""

import pytest
import torch

from helpers import CONFIG
from transflow import Glow, GlowConfig, train
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat
from transflow.training.output import held_out_bits


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
