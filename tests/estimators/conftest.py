"""Two classes of pictures, as tensors and as folders."""

import pytest
import torch
from PIL import Image


@pytest.fixture
def task(pixels):
    """Two classes of pictures, dark and light: uint8 (12, 3, 16, 16), and their names."""
    light = (pixels.float() * 0.4 + 150).to(torch.uint8)
    dark = (pixels.float() * 0.4).to(torch.uint8)
    return torch.cat([light[:6], dark[6:]]), ["light"] * 6 + ["dark"] * 6


@pytest.fixture
def folders(task, tmp_path):
    x, y = task
    for i, (p, name) in enumerate(zip(x, y, strict=True)):
        path = tmp_path / ("support" if i % 2 else "query") / name
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(p.permute(1, 2, 0).numpy()).save(path / f"{i:02d}.png")
    return tmp_path
