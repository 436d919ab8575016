"""A small model and small pictures that most tests use."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from transflow import Glow, GlowConfig, Model
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat

if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: none takes more
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """A random Glow of 16 x 16 pixels on disk; exact, though nobody's idea of a good model."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = Glow(GlowConfig(size=16, steps=(2, 2), width=(8, 8)))
        with torch.no_grad():
            flow.initialise(torch.rand(64, 3, 16, 16) - 0.5)
            for parameter in flow.parameters():
                parameter += 0.03 * torch.randn_like(parameter)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, PictureModel(flow, PixelFormat(5), {"name": "tiny", "data": "none", "licence": "none"}))
    return path


@pytest.fixture
def model(model_file):
    from transflow import load

    loaded = load(model_file)
    assert isinstance(loaded, Model)
    return loaded


@pytest.fixture
def pixels():
    """Twelve smooth pictures, uint8 (12, 3, 16, 16)."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(c).resize((16, 16), Image.Resampling.BICUBIC)) for c in coarse]
    return torch.from_numpy(np.stack(large).transpose(0, 3, 1, 2).copy())


@pytest.fixture
def folder(tmp_path, pixels):
    """The same pictures as PNG files."""
    path = tmp_path / "pictures"
    path.mkdir()
    for i, p in enumerate(pixels):
        Image.fromarray(p.permute(1, 2, 0).numpy()).save(path / f"{i:02d}.png")
    return path
