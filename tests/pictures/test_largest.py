"""A picture that is too large to write is refused, and by its layout alone."""

import pytest
import torch
from PIL import Image

from transflow.pictures import grids
from transflow.pictures.largest import SIDES, check_fits


@pytest.mark.parametrize("name", ["WEBP", "JPEG", "GIF"])
def test_the_largest_side_is_what_the_format_holds(name):
    side = SIDES[name]
    check_fits(name, side, 2)
    suffix = {"WEBP": ".webp", "JPEG": ".jpg", "GIF": ".gif"}[name]
    assert grids.encode_image(Image.new("L", (side, 1)), suffix)
    with pytest.raises(ValueError, match=f"at most {side:,} pixels a side in a {name}; got 2 x {side + 1:,}"):
        check_fits(name, 2, side + 1)
    with pytest.raises(ValueError, match="pixels a side"):
        grids.encode_image(Image.new("L", (side + 1, 1)), suffix)


def test_frames_and_all_pixels_are_bounded(monkeypatch):
    with pytest.raises(ValueError, match="1,000 frames"):
        check_fits("GIF", 1, 1, 1001)
    with pytest.raises(ValueError, match=r"178 megapixels to write; got 1,000 x 1,000 in 179 frames"):
        check_fits("GIF", 1000, 1000, 179)
    monkeypatch.setenv("TRANSFLOW_MEGAPIXELS", "200")
    check_fits("GIF", 1000, 1000, 179)


@pytest.mark.parametrize("how", [{}, {"columns": 2}, {"rows": ("a", "long words")}, {"heads": ("a",), "zoom": 3}])
@pytest.mark.parametrize("count", [1, 5, 16])
def test_the_layout_is_the_grids(how, count):
    pictures = torch.zeros(count, 1, 6, 10)
    assert grids.layout((1, 6, 10), count, **how).size == grids.grid(pictures, **how).size


def test_the_size_of_a_confusion_is_known_before():
    names = ["a", "long name", "c"]
    assert grids.confusion_size(names) == grids.confusion(torch.ones(3, 3), names).size


def test_icons_are_refused_since_they_shrink():
    with pytest.raises(ValueError, match="one of icons"):
        grids.check_picture_file("a.ico")
    for name in ("a.png", "a.JPG", "a.webp", "a.gif", "a.tif", "a.bmp"):
        grids.check_picture_file(name)
