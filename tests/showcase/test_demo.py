"""The demo is whole: every picture of the page is there, and it is of the default model."""

import re

import torch
from PIL import Image

from transflow import Glow, GlowConfig, demo
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.library import names
from transflow.pictures.drawn import KINDS
from transflow.showcase.demo import TEXTS


def test_the_demo_is_whole(tmp_path):
    written = []
    page = demo(tmp_path / "out", model=names.DEFAULT, report=written.append)
    text = page.read_text()
    shown = re.findall(r'src="([^"]+)"', text)
    assert {f"{kind}.png" for kind in KINDS} <= set(shown)
    for name in shown:
        with Image.open(page.parent / name) as picture:
            assert min(picture.size) > 50
    assert "$" not in text
    assert "http" not in text
    assert len(written) == len(shown) + 1
    assert f"<code>{names.DEFAULT}</code>" in text
    assert all(path.startswith(str(tmp_path)) for path in written)


def test_every_kind_of_evidence_has_its_text():
    assert set(TEXTS) == set(KINDS)


def test_the_models_of_the_demo_and_of_commands_are_bundled():
    assert {names.DEFAULT, names.SHOWN} <= names.bundled().keys()


def test_a_model_of_grey_pictures_has_a_demo(tmp_path):
    torch.manual_seed(0)
    flow = Glow(GlowConfig(channels=1, size=16, steps=(1, 1), width=(4, 4))).eval()
    save_model(tmp_path / "grey.safetensors", PictureModel(flow.requires_grad_(False)), half=False)
    page = demo(tmp_path / "out", model=tmp_path / "grey.safetensors", report=lambda _: None)
    for name in re.findall(r'src="([^"]+)"', page.read_text()):
        assert (page.parent / name).exists(), name
