"""A face cut out: its eyes land where the rule has them, whatever its size, turn and place, and at the border too."""

import cmath
import math

import numpy as np
import pytest
from PIL import Image

from transflow.pictures.turned import EYES_APART, EYES_HEIGHT, Eyes, as_pixels, cut_out, from_array, view


def marked(eyes, size, radius):
    """A grey picture with a red spot at the left eye and a blue one at the right."""
    ys, xs = np.indices((size[1], size[0])) + 0.5
    pixels = np.full((size[1], size[0], 3), 90.0)
    for (x, y), channel in ((eyes.left, 0), (eyes.right, 2)):
        pixels[..., channel] += 160 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / radius**2)
    return pixels.round().astype(np.uint8)


def centre(face, channel):
    """Of what is of a colour: x and y, continuous, in shares of the side."""
    pixels = np.asarray(face).astype(float)
    weight = np.clip(pixels[..., channel] - pixels[..., 2 - channel] - 2, 0, None)
    ys, xs = np.indices(weight.shape) + 0.5
    return (xs * weight).sum() / weight.sum() / face.width, (ys * weight).sum() / weight.sum() / face.height


@pytest.mark.parametrize("degrees", [0, 20, -75, 180])
@pytest.mark.parametrize("apart", [18, 60, 400])
@pytest.mark.parametrize("where", [(0.5, 0.5), (0.02, 0.5)])
def test_the_eyes_land_where_the_rule_has_them(degrees, apart, where):
    size = (5 * apart, 6 * apart)
    middle = complex(where[0] * size[0] + 0.75 * apart, where[1] * size[1])
    half = apart / 2 * cmath.exp(1j * math.radians(degrees))
    left, right = middle - half, middle + half
    eyes = Eyes((left.real, left.imag), (right.real, right.imag))
    face = cut_out(marked(eyes, size, apart / 8), eyes, 128)
    assert face.size == (128, 128)
    assert centre(face, 0) == pytest.approx((0.5 - EYES_APART / 2, EYES_HEIGHT), abs=0.004)
    assert centre(face, 2) == pytest.approx((0.5 + EYES_APART / 2, EYES_HEIGHT), abs=0.004)


def test_outside_a_picture_its_border_is_repeated():
    pixels = np.full((40, 40, 3), 50, np.uint8)
    pixels[:, 0] = 200
    face = np.asarray(cut_out(pixels, Eyes((3, 20), (13, 20)), 40))
    assert (face[:, :10] == 200).all()
    assert (face[:, 30:] == 50).all()


def test_what_is_made_smaller_is_averaged():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1200, 1200, 3), dtype=np.uint8)
    face = np.asarray(cut_out(noise, Eyes((480, 560), (720, 560)), 32))
    assert face.std() < 8  # of single pixels it would be 74


def test_a_box_is_what_is_cut_out():
    corners = Eyes.of_box(10, 20, 50, 60).corners()
    assert np.allclose(corners, [(10, 20), (50, 20), (50, 60), (10, 60)])
    wide = Eyes.of_box(0, 0, 40, 20).corners()
    assert np.allclose(wide, [(0, -10), (40, -10), (40, 30), (0, 30)])


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_a_view_leads_back_to_the_picture(degrees):
    eyes = Eyes((70, 60), (110, 60))
    pixels = marked(eyes, (200, 120), 8)
    small, a, b = view(pixels, 300, degrees=degrees, margin=0.1)
    assert max(small.shape[:2]) == 300
    red = np.clip(small[..., 0].astype(float) - small[..., 2] - 2, 0, None)
    ys, xs = np.indices(red.shape) + 0.5
    found = a * complex((xs * red).sum() / red.sum(), (ys * red).sum() / red.sum()) + b
    assert abs(found - complex(*eyes.left)) < 0.5


def test_pictures_are_looked_at_upright():
    picture = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture.getexif().update(exif)
    assert as_pixels(picture).shape == (30, 20, 3)
    assert as_pixels(Image.new("LA", (4, 5))).shape == (5, 4, 3)
    assert from_array(np.zeros((10, 20, 3), np.uint8), 0.5).size == (10, 5)
