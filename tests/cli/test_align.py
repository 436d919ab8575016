"""``transflow align`` and --align: faces written under their photographs' names, nothing of others' replaced."""

import sys

import numpy as np
import pytest
from PIL import Image

from transflow.faces import by_hand
from transflow.pictures.drawn import draw_face
from transflow.pictures.grids import encode_image
from transflow.pictures.turned import Eyes


def centre(pixels):
    high, wide = pixels.shape[:2]
    faces = [Eyes((wide * 0.4, high / 2), (wide * 0.6, high / 2))]
    return [] if not pixels.any() else faces * (2 if wide > high else 1)


@pytest.fixture
def photos(tmp_path):
    """One with a face, one with two, one of the same name, one with none, and a film."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in {"one.png": (40, 40), "one.jpg": (40, 40), "two.png": (40, 60), "more/one.png": (40, 40)}.items():
        Image.fromarray(rng.integers(1, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    Image.new("RGB", (30, 30)).save(folder / "black.png")
    (folder / "clip.mp4").write_bytes(b"no picture")
    return folder


@pytest.fixture
def simple(monkeypatch):
    """The detector that finds the middle."""
    monkeypatch.setattr("transflow.faces.detector.usual_detector", lambda: centre)
    monkeypatch.setattr("transflow.faces.align.usual_detector", lambda: centre)


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


def test_faces_and_a_sheet(run, photos, tmp_path, simple):
    status, out, err = run("align", photos, "-o", tmp_path / "out/")
    assert status == 0
    assert written(tmp_path / "out") == ["more/one.png", "one.png", "one_2.png", "two-1.png", "two-2.png"]
    assert "5 faces of 4 pictures; 2 left out" in out
    lines = err.strip().splitlines()
    assert len(lines) == 2
    assert "black.png" in lines[0]
    assert "clip.mp4" in lines[1]
    with Image.open(tmp_path / "out" / "one.png") as face:
        assert face.size == (256, 256)
    assert (tmp_path / "out-sheet.png").exists()
    before = (tmp_path / "out" / "two-2.png").read_bytes()
    assert run("align", photos, "-o", tmp_path / "out")[0] == 0  # ours are replaced
    assert (tmp_path / "out" / "two-2.png").read_bytes() == before


def test_what_others_wrote_stays(run, photos, tmp_path, simple):
    out = tmp_path / "out"
    (out / "more").mkdir(parents=True)
    Image.new("RGB", (3, 3)).save(out / "more" / "one.png")
    before = (out / "more" / "one.png").read_bytes()
    status, _, err = run("align", photos, "-o", out)
    assert status == 2
    assert "that transflow did not write" in err
    assert (out / "more" / "one.png").read_bytes() == before
    assert written(out) == ["more/one.png"]
    assert run("align", photos, "-o", out, "--overwrite")[0] == 0


def test_never_among_what_is_read(run, photos, simple):
    assert run("align", photos, "-o", photos)[0] == 2
    assert run("align", photos, "-o", photos / "new")[0] == 2
    assert run("align", photos, "-o", "out", "--sheet", photos / "sheet.png")[0] == 2


def test_no_face_at_all(run, photos, tmp_path, simple):
    status, _, err = run("align", photos / "black.png", "-o", tmp_path / "out")
    assert status == 2
    assert "none in 1 files" in err.splitlines()[-1]
    assert "--by-hand" in err.splitlines()[-1]


def test_a_table_alone_needs_no_detector(run, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    (tmp_path / "boxes.csv").write_text("file,left,top,right,bottom\nblack.png,5,5,25,25\n")
    words = ("align", photos / "black.png", "-o", tmp_path / "out", "--box", tmp_path / "boxes.csv")
    assert run(*words, "--no-detector", "--side", "64")[0] == 0
    with Image.open(tmp_path / "out" / "black.png") as face:
        assert face.size == (64, 64)
    assert run("align", photos, "-o", tmp_path / "x", "--no-detector")[0] == 2


def test_a_missing_extra_is_one_line(run, photos, tmp_path, monkeypatch):
    from transflow.faces.detector import usual_detector

    usual_detector.cache_clear()
    monkeypatch.setitem(sys.modules, "dlib", None)
    for words in (("align", photos, "-o", tmp_path / "out"), ("condition", photos, "--align", "-o", "x.safetensors")):
        status, _, err = run(*words)
        assert status == 2
        assert len(err.strip().splitlines()) == 1
        assert 'pip install "transflow[align]"' in err


def test_by_hand_without_a_display_is_one_line_with_the_address(run, photos, tmp_path, simple, monkeypatch):
    monkeypatch.setattr(by_hand, "open_browser", lambda address: False)
    monkeypatch.setattr(by_hand.AskByHand, "_wait", lambda self: [[0.4, 0.5], [0.6, 0.5]])
    status, out, err = run("align", photos / "black.png", "-o", tmp_path / "out", "--by-hand")
    assert status == 0
    (line,) = err.strip().splitlines()
    assert "no browser" in line
    assert "http://127.0.0.1:" in line
    assert "1 faces of 1 pictures; 0 left out" in out


def test_condition_and_classify_with_align(run, photos, model_file, tmp_path, simple):
    status, out, err = run("condition", photos, "--align", "-m", model_file, "-o", "p.safetensors")
    assert status == 2
    assert "black.png" in err
    status, out, err = run("condition", photos, "--align", "--skip-bad", "-m", model_file, "-o", "p.safetensors")
    assert status == 0, err
    assert "4 pictures" in out
    whole = run("score", photos / "two.png", "-m", model_file)
    assert whole[0] == 0


def test_align_changes_what_is_encoded(run, photos, model_file, simple):
    for name, more in (("a", []), ("b", ["--align"])):
        words = ("sweep", photos / "two.png", photos / "one.png", "-m", model_file, "--noise", "0.5m", "--seed", 0)
        assert run(*words, "-n", 2, "-o", f"{name}.png", *more)[0] == 0
    with Image.open("a.png") as a, Image.open("b.png") as b:
        assert a.tobytes() != b.tobytes()


def test_edit_takes_one_face_of_each(run, photos, model_file, simple):
    words = ("edit", photos / "two.png", "--to", photos / "one.png", "-m", model_file, "--steps", 3)
    assert run(*words, "--align", "-o", "edit.png")[0] == 0


def test_a_drawn_face_by_the_real_detector(run, tmp_path):
    pytest.importorskip("dlib")
    from transflow.faces.detector import usual_detector

    usual_detector.cache_clear()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "drawn.png").write_bytes(encode_image(draw_face(np.random.default_rng(11), 256), ".png"))
    assert run("align", tmp_path / "in", "-o", tmp_path / "out")[0] == 0
    with Image.open(tmp_path / "out" / "drawn.png") as face, Image.open(tmp_path / "in" / "drawn.png") as picture:
        near = np.abs(np.asarray(face).astype(float) - np.asarray(picture)).mean()
    assert near < 25
