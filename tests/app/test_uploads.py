"""Files of a browser: read once, bounded, named in one line where they are bad; the good ones beside them stay."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transflow.app import bounds
from transflow.app.uploads import take
from transflow.pictures.files import BadPicture
from transflow.pictures.preprocess import preprocess
from transflow.pictures.reduced import reduced


def test_pictures_are_kept_and_uploads_deleted(session, uploaded):
    paths = uploaded(3)
    before = [np.asarray(Image.open(path)) for path in paths]
    taken = take(session, paths)
    assert [picture.name for picture in taken.pictures] == ["00.png", "01.png", "02.png"]
    assert not taken.note
    assert not any(Path(path).exists() for path in paths)
    for picture, pixels in zip(taken.pictures, before, strict=True):
        assert picture.file.parent == session.folder
        assert (np.asarray(Image.open(picture.file)) == pixels).all()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.png", b"hello", r"a picture; got .*: text\.png"),
        ("empty.png", b"", "an empty file: empty.png"),
        ("clip.mp4", b"\0\0\0\x18ftypmp42" + bytes(999), r"a picture; got a video: clip\.mp4"),
    ],
)
def test_a_bad_file_is_one_line(session, sessions, name, content, words):
    path = sessions.served / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        take(session, [str(path)])
    assert "\n" not in str(error.value)
    assert str(sessions.folder) not in str(error.value)
    assert not path.exists()


def test_a_cut_file_is_one_line(session, uploaded):
    (path,) = uploaded(1, (60, 60))
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="a damaged one"):
        take(session, [path])


def test_a_bad_file_leaves_the_good_ones(session, sessions, uploaded):
    bad = sessions.served / "note.png"
    bad.write_text("hello")
    taken = take(session, [*uploaded(2), str(bad), str(sessions.served / "gone.png")])
    assert len(taken.pictures) == 2
    assert taken.note.startswith("2 of 4 files left out: ")
    assert "note.png" in taken.note
    assert str(sessions.folder) not in taken.note


def test_five_hundred_at_once_are_refused_and_deleted(session, sessions):
    paths = []
    for i in range(500):
        path = sessions.served / f"{i}.png"
        path.write_bytes(b"x")
        paths.append(str(path))
    with pytest.raises(ValueError, match=f"at most {bounds.PICTURES} pictures in a set; got 500"):
        take(session, paths)
    assert not any(Path(path).exists() for path in paths)


def test_no_picture_is_one_line(session):
    with pytest.raises(ValueError, match="Expected a picture; got none"):
        take(session, [])


def test_a_hundred_megapixels_are_not_decoded(tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    Image.new("1", (10000, 10000)).save(path)

    def load(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(BadPicture, match=r"at most 50 megapixels; got one of 10000 x 10000: huge\.png"):
        reduced(path, "huge.png", most_bytes=bounds.PICTURE_BYTES, most_pixels=bounds.PICTURE_PIXELS)


def test_more_bytes_than_a_picture_may_have(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(b"x" * 101)
    with pytest.raises(BadPicture, match="Expected a picture of at most 0 MB"):
        reduced(path, "large.png", most_bytes=100, most_pixels=100)


def test_a_reduced_picture_is_the_same_to_a_model(tmp_path, pixels):
    large = Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).resize((1300, 900), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.png")
    small = reduced(tmp_path / "large.png", "large.png", most_bytes=10**8, most_pixels=10**8, side=256)
    assert small.size == (434, 300)
    both = [preprocess([picture], (3, 32, 32)).float() for picture in (large, small)]
    assert (both[0] - both[1]).abs().mean() < 1


def test_aligned_faces_are_pictures_each(session, uploaded):
    found = take(session, uploaded(1), align=lambda picture: [picture, picture.rotate(90)])
    assert [picture.name for picture in found.pictures] == ["00.png, face 1", "00.png, face 2"]
    with pytest.raises(ValueError, match=r"Expected a face; found none: 00\.png"):
        take(session, uploaded(1), align=lambda picture: [])
