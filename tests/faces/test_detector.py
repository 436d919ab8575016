"""The detector finds drawn faces, upright and turned, large and small, at the border, and says what it lacks."""

import math
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from transflow.faces.detector import FaceDetector
from transflow.pictures.drawn import draw_face
from transflow.pictures.turned import EYES_APART, EYES_HEIGHT


def drawn(side=256, seed=11):
    return draw_face(np.random.default_rng(seed), side)


def placed(side, corner, size, degrees=0.0):
    """A drawn face on a plain picture, turned about its centre."""
    picture = Image.new("RGB", size, (120, 130, 140))
    face = drawn(side).convert("RGBA").rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    picture.paste(face, corner, face)
    return np.asarray(picture)


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("dlib")
    return FaceDetector()


def test_the_eyes_of_a_drawn_face(detector):
    (eyes,) = detector(np.asarray(drawn()))
    assert eyes.apart == pytest.approx(EYES_APART * 256, rel=0.2)
    for point, x in ((eyes.left, 0.5 - EYES_APART / 2), (eyes.right, 0.5 + EYES_APART / 2)):
        assert math.dist(point, (x * 256, EYES_HEIGHT * 256)) < 0.03 * 256


@pytest.mark.parametrize("degrees", [30, -90, 180])
def test_turned_faces(detector, degrees):
    found = detector(placed(300, (100, 60), (700, 500), degrees))
    assert found
    angle = math.degrees(math.atan2(found[0].left[1] - found[0].right[1], found[0].right[0] - found[0].left[0]))
    assert abs((angle - degrees + 180) % 360 - 180) < 12


def test_several_faces_the_largest_first(detector):
    pixels = placed(260, (20, 60), (900, 500)).copy()
    pixels[80:440, 480:840] = np.asarray(drawn(360))
    first, second = detector(pixels)
    assert first.apart > second.apart
    assert first.left[0] > 480 > second.right[0]


def test_a_small_face_in_a_large_picture(detector):
    assert detector(placed(120, (700, 500), (1900, 1300)))


def test_no_face(detector):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    assert detector(noise) == []
    assert detector(np.zeros((1, 1, 3), np.uint8)) == []
    assert detector(np.zeros((3, 900, 3), np.uint8)) == []


def test_threads_share_one(detector):
    pixels = np.asarray(drawn())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector, [pixels] * 12))
    assert all(each == found[0] for each in found)


def test_eyes_are_plain_values(detector):
    (eyes,) = detector(np.asarray(drawn()))
    assert pickle.loads(pickle.dumps(eyes)) == eyes


@pytest.mark.parametrize("module", ["dlib", "face_recognition_models"])
def test_what_is_missing_is_named(monkeypatch, module):
    if module == "face_recognition_models":
        pytest.importorskip("dlib")
        monkeypatch.setattr("transflow.faces.detector.find_spec", lambda name: None)
    else:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "transflow\[align\]"'):
        FaceDetector()
