"""Masks painted by hand: white or transparent is unknown, cropped and resized as the picture is."""

import numpy as np
import pytest
import torch
from PIL import Image

from transflow.pictures.files import BadPicture
from transflow.pictures.masks import has_holes, read_mask, size_of
from transflow.pictures.preprocess import preprocess

SHAPE = (3, 8, 8)


@pytest.fixture
def hole():
    """16 x 16, a square of 4 x 6 unknown."""
    painted = np.zeros((16, 16), dtype=np.uint8)
    painted[4:8, 2:8] = 255
    return painted


EXPECTED = torch.ones(8, 8, dtype=torch.bool)
EXPECTED[2:4, 1:4] = False


def test_white_is_unknown_and_black_known(tmp_path, hole):
    for name, picture in {
        "grey.png": Image.fromarray(hole),
        "bits.png": Image.fromarray(hole).convert("1"),
        "rgb.bmp": Image.fromarray(hole).convert("RGB"),
        "opaque.png": Image.fromarray(hole).convert("RGBA"),
        "lossy.jpg": Image.fromarray(hole),
    }.items():
        picture.save(tmp_path / name)
        assert torch.equal(read_mask(tmp_path / name, SHAPE), EXPECTED), name
        assert not has_holes(tmp_path / name)


def test_transparent_is_unknown_whatever_its_colour(tmp_path, hole):
    for value in (0, 255):
        rgba = np.full((16, 16, 4), value, dtype=np.uint8)
        rgba[..., 3] = 255 - hole
        Image.fromarray(rgba).save(tmp_path / "holes.png")
        assert has_holes(tmp_path / "holes.png")
        assert torch.equal(read_mask(tmp_path / "holes.png", SHAPE), EXPECTED)


def test_a_mask_goes_the_way_of_its_picture(tmp_path):
    """A wide picture is cropped and made smaller: what is unknown is what is black in it."""
    wide = np.full((20, 40, 3), 200, dtype=np.uint8)
    painted = np.zeros((20, 40), dtype=np.uint8)
    wide[5:10, 15:30] = 0
    painted[5:10, 15:30] = 255
    Image.fromarray(painted).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", SHAPE, size=(40, 20))
    seen = preprocess(Image.fromarray(wide), SHAPE)[0, 0]
    assert torch.equal(mask, seen >= 190)
    assert size_of(tmp_path / "mask.png") == (40, 20)


def test_a_pixel_partly_unknown_is_unknown(tmp_path):
    painted = np.zeros((32, 32), dtype=np.uint8)
    painted[0, 0] = 255  # a sixteenth of a pixel
    Image.fromarray(painted).save(tmp_path / "dot.png")
    assert (~read_mask(tmp_path / "dot.png", SHAPE)).nonzero().tolist() == [[0, 0]]


def test_bad_masks_are_one_line(tmp_path, hole):
    Image.fromarray(hole).save(tmp_path / "hole.png")
    (tmp_path / "words.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"as large as the picture, 17 x 16 pixels; got 16 x 16"):
        read_mask(tmp_path / "hole.png", SHAPE, size=(17, 16))
    with pytest.raises(BadPicture, match="got a text file"):
        read_mask(tmp_path / "words.png", SHAPE)
    with pytest.raises(FileNotFoundError, match="not there"):
        read_mask(tmp_path / "missing.png", SHAPE)
