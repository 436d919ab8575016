"""Pictures of pictures: everything is where it should be, unchanged but for the zoom."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from transflow.pictures import grids as figures

PIXELS = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def tile(sheet, left, top, zoom):
    pixels = np.asarray(sheet)[top : top + 4 * zoom : zoom, left : left + 4 * zoom : zoom]
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def test_a_grid_holds_its_pictures_row_by_row():
    sheet = figures.grid(PIXELS, 3, zoom=2, gap=1)
    for i, (x, y) in enumerate([(1, 1), (10, 1), (19, 1), (1, 10), (10, 10)]):
        assert torch.equal(tile(sheet, x, y, 2), PIXELS[i])
    assert np.asarray(sheet)[10:, 19:].min() == 255


def test_floats_are_rounded_and_grey_is_repeated():
    half = torch.full((1, 1, 4, 4), 0.5)
    assert np.asarray(figures.grid(half, zoom=1, gap=0)).tolist() == np.full((4, 4, 3), 128).tolist()
    assert figures.to_uint8(torch.tensor([-1.0, 0.0, 1.0, 2.0, float("nan")])).tolist() == [0, 0, 255, 255, 0]


def test_words_take_room_beside_the_pictures_and_not_on_them():
    plain, told = figures.grid(PIXELS, 5, zoom=8), figures.grid(PIXELS, 5, zoom=8, rows=("row",), heads=tuple("abcde"))
    left, top = told.width - plain.width, told.height - plain.height
    assert left > 20
    assert top > 10
    assert np.array_equal(np.asarray(plain)[3:, 3:], np.asarray(told)[top + 3 :, left + 3 :])
    assert np.asarray(told)[:, : left - 3].min() < 100


def test_pairs_stand_one_above_the_other_in_every_row():
    sheet = figures.pairs(PIXELS / 255.0, 1 - PIXELS / 255.0, 3)
    zoom = figures.zoom_for(4, 3)
    step = 4 * zoom + 3
    places = [(0, 0), (1, 0), (2, 0), (0, 2), (1, 2)]
    for i, (column, row) in enumerate(places):
        assert torch.equal(tile(sheet, 3 + column * step, row * step + 3, zoom), PIXELS[i])
        assert torch.equal(tile(sheet, 3 + column * step, (row + 1) * step + 3, zoom), 255 - PIXELS[i])


def test_an_animation_goes_forth_and_back_for_ever():
    frames = [Image.new("RGB", (8, 8), (50 * i, 0, 0)) for i in range(4)]
    with Image.open(io.BytesIO(figures.animation(frames))) as gif:
        assert gif.n_frames == 6
        assert gif.info["loop"] == 0
        seen = []
        for i in range(6):
            gif.seek(i)
            seen.append(gif.convert("RGB").getpixel((0, 0))[0])
    assert seen == [0, 50, 100, 150, 100, 50]


@pytest.mark.parametrize("bad", [PIXELS[:0], PIXELS[0]])
def test_no_picture_is_no_grid(bad):
    with pytest.raises(ValueError, match="Expected pictures"):
        figures.grid(bad)


@pytest.mark.parametrize("name", ["x", "x.docx", "x.html"])
def test_a_file_that_is_no_picture_is_refused(name):
    with pytest.raises(ValueError, match="picture file"):
        figures.check_picture_file(name)
