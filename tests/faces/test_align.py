"""Faces of pictures: whatever a picture comes as, one aligned picture a face; bad files are named and passed over."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import transflow
from transflow.faces.align import align_files, largest_face
from transflow.pictures.decode import read
from transflow.pictures.files import BadPicture
from transflow.pictures.turned import Eyes


def centre(pixels):
    """A detector that takes the middle of any picture but a black one for a face, and a smaller one beside it."""
    high, wide = pixels.shape[:2]
    if not pixels.any():
        return []
    x, y, d = wide / 2, high / 2, min(wide, high) / 8
    return [Eyes((x - d, y), (x + d, y)), Eyes((x - d / 2, y), (x + d / 2, y))]


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(1, 256, (40, 60, 3), dtype=np.uint8))


def test_every_way_to_give_a_picture(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    ways = (picture, np.asarray(picture), tmp_path / "a.png", str(tmp_path / "a.png"))
    found = [transflow.align(way, centre, side=64) for way in ways]
    for faces in found:
        assert [face.size for face in faces] == [(64, 64), (64, 64)]
        assert [face.tobytes() for face in faces] == [face.tobytes() for face in found[0]]
    assert transflow.align(np.asarray(picture.convert("L")), centre)[0].mode == "RGB"
    assert transflow.align(Image.new("RGB", (9, 9)), centre) == []


def test_eyes_that_are_given_need_no_detector(picture):
    (face,) = transflow.align(picture, eyes=[Eyes((20, 20), (30, 20))])
    assert face.size == (256, 256)


def test_exif_is_minded_before_the_eyes_are_found(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    seen = []
    transflow.align(tmp_path / "turned.jpg", lambda pixels: seen.append(pixels.shape) or [])
    assert seen == [(60, 40, 3)]


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)])
def test_arrays_that_are_no_picture(wrong):
    with pytest.raises(ValueError, match="Expected uint8 pixels"):
        transflow.align(wrong, centre)


def test_what_is_no_picture(tmp_path, picture):
    with pytest.raises(TypeError, match="got int"):
        transflow.align(3, centre)
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42 and so on")
    with pytest.raises(BadPicture, match="got a video"):
        transflow.align(tmp_path / "clip.mp4", centre)
    picture.save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="got 2 files"):
        transflow.align(tmp_path, centre)
    with pytest.raises(ValueError, match="side"):
        transflow.align(picture, centre, side=0)


def test_files_keep_their_folders_and_bad_ones_are_named(tmp_path, picture):
    (tmp_path / "robin").mkdir()
    picture.save(tmp_path / "robin" / "1.jpg")
    Image.new("RGB", (20, 20)).save(tmp_path / "black.png")
    (tmp_path / "clip.mp4").write_bytes(b"no picture")
    found = {str(each.place): each for each in align_files(tmp_path, centre)}
    assert set(found) == {"robin/1", "black", "clip"}
    assert len(found["robin/1"].faces) == 2
    assert not found["robin/1"].problem
    assert "none is found" in found["black"].problem
    assert "got a text file" in found["clip"].problem


def test_a_table_goes_before_the_detector_and_hands_come_last(tmp_path, picture):
    for name in ("a.png", "b.png"):
        picture.save(tmp_path / name)
    Image.new("RGB", (20, 20)).save(tmp_path / "black.png")
    eyes = [Eyes((1, 1), (9, 1))]
    asked = []
    found = {
        str(each.place): each
        for each in align_files(tmp_path, centre, {"a.png": eyes}, ask=lambda name, pixels: asked.append(name) or eyes)
    }
    assert found["a"].eyes == found["black"].eyes == tuple(eyes)
    assert len(found["b"].eyes) == 2
    assert [Path(name).name for name in asked] == ["black.png"]


def test_a_picture_above_the_limit_is_a_problem_of_its_own(tmp_path, picture, monkeypatch):
    picture.save(tmp_path / "large.png")
    monkeypatch.setenv("TRANSFLOW_MEGAPIXELS", "0.002")
    (found,) = align_files(tmp_path, centre)
    assert "megapixels" in found.problem or "MB" in found.problem


def test_readers_use_the_largest_face(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    turned = read(tmp_path, (3, 16, 16), turn=largest_face(centre)).pixels
    face = transflow.align(picture, centre)[0]
    assert torch.equal(turned, read([face], (3, 16, 16)).pixels)
    Image.new("RGB", (20, 20)).save(tmp_path / "black.png")
    with pytest.raises(BadPicture, match=r"none is found: .*black.png.* --by-hand"):
        read(tmp_path, (3, 16, 16), turn=largest_face(centre))
    bad = []
    assert len(read(tmp_path, (3, 16, 16), turn=largest_face(centre), on_bad=bad.append)) == 1
    assert len(bad) == 1


def test_bytes_are_not_kept(picture):
    """A picture may be closed once its faces are there."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    with Image.open(buffer) as opened:
        faces = transflow.align(opened, centre)
    assert faces[0].getpixel((0, 0))
