"""What a picture may ask for is bounded before it is read or decoded, and said with what lifts the bound."""

import io
import os
import tarfile

import pytest
from PIL import Image

from transflow.pictures.decode import read
from transflow.pictures.files import BadPicture
from transflow.pictures.limits import VARIABLE, most_bytes
from transflow.store.foreign import read_tensors
from transflow.training.data import read_groups

SHAPE = (3, 8, 8)


def test_more_pixels_than_the_bound_are_refused_before_decoding(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setenv(VARIABLE, "0.0002")
    with pytest.raises(BadPicture, match=rf"got (one of 16 x 16|600 MB|0 MB).*00\.png\. Set {VARIABLE}"):
        read(folder, SHAPE)
    monkeypatch.setenv(VARIABLE, "0.001")
    assert len(read(folder, SHAPE)) == 12
    monkeypatch.setenv(VARIABLE, "many")
    with pytest.raises(ValueError, match=f"megapixels above 0 as {VARIABLE}; got 'many'"):
        read(folder, SHAPE)


def test_a_sparse_file_is_not_read(folder):
    with (folder / "hole.png").open("wb") as file:
        file.truncate(2**40)
    bad = []
    assert len(read(folder, SHAPE, on_bad=bad.append)) == 12
    assert len(bad) == 1
    assert "hole.png" in bad[0]
    assert VARIABLE in bad[0]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_member_that_is_too_large_is_skipped_by_name(folder, tmp_path, mode, monkeypatch):
    path = tmp_path / "set.tar"
    with tarfile.open(path, mode) as tar:
        for size, name in ((3_000_000, "bomb.png"), (0, "00.png")):
            content = bytes(size) or (folder / "00.png").read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    monkeypatch.setenv(VARIABLE, "0.9")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    assert most_bytes() < 3_000_000
    bad = []
    assert read(path, SHAPE, on_bad=bad.append).names == ("00.png",)
    assert "bomb.png" in bad[0]


def test_pipes_and_devices_are_refused_by_name(tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for use in (lambda path: read(path, SHAPE), read_groups, read_tensors):
        for path in (pipe, "/dev/zero"):
            with pytest.raises(ValueError, match=f"pipe or a device: {path}"):
                use(path)


def test_a_deep_picture_is_converted_in_little_memory():
    import tracemalloc

    from transflow.pictures.preprocess import preprocess_one

    picture = Image.new("I;16", (2000, 2000), 40_000)
    tracemalloc.start()
    pixels = preprocess_one(picture, SHAPE)
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()
    assert (pixels == 40_000 >> 8).all()
