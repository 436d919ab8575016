"""The page's functions without a browser: what each answers, its one line where it cannot, and code that runs."""

import asyncio
import runpy
import shlex
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

pytest.importorskip("gradio")

from transflow.app import bounds, gathering, serve
from transflow.app.gathering import Seen, is_encoded
from transflow.app.page import build
from transflow.app.sessions import PictureSet
from transflow.app.shelf import SAMPLES
from transflow.app.wiring import DEFECT, Wires, gradio, line_of
from transflow.cli import main
from transflow.pictures.preprocess import preprocess

TINY = "tiny.safetensors"
SLIDERS = ["Parents: a few pictures each", False, 0.6, 0.75, True, 0.5, 1.0, 6, 3]


class Page:
    """The page of one session, asked as the framework asks it."""

    def __init__(self, shelf, sessions, monkeypatch):
        for name, value in serve.OFFLINE.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(sessions.served))
        self.wires = Wires(gradio(), shelf, sessions, lambda picture: [picture, picture.rotate(90)])
        self.blocks = asyncio.run(self.built())
        self.session = sessions.of("abc")
        self.said, self.reports = [], []
        monkeypatch.setattr(self.wires.gr, "Warning", lambda line, **_: self.said.append(line))

    async def built(self):
        """The page; where no loop runs, the framework makes some, and leaves them open."""
        return build(self.wires)

    def ask(self, name, *values, session="abc"):
        """The last answer of the first function of a name."""
        function = next(f.fn for f in self.blocks.fns.values() if f.fn is not None and f.fn.__name__ == name)
        found = function(*values, SimpleNamespace(session_hash=session), lambda share, desc: self.reports.append(desc))
        return list(found)[-1] if hasattr(found, "__next__") else found

    def give(self, key, sample):
        self.session.sets[key] = PictureSet(sample=sample)


@pytest.fixture
def page(shelf, sessions, monkeypatch):
    monkeypatch.setattr("transflow.app.shelf.SAMPLE_COUNT", 8)
    monkeypatch.setattr("transflow.conditioning.completion.COARSE_STEPS", 2)
    monkeypatch.setattr("transflow.conditioning.completion.STEPS", 4)
    return Page(shelf, sessions, monkeypatch)


@pytest.fixture
def again(page, model_file, tmp_path, monkeypatch):
    """Unpack what a panel made, run its script and its lines where it lies, and return the folder."""

    def run(panel):
        update = next(
            f.fn for f in page.blocks.fns.values() if f.fn and f.fn.__name__ == "packed" and panel_of(f) == panel
        )(SimpleNamespace(session_hash="abc"), lambda *_, **__: None)
        assert not page.said
        with zipfile.ZipFile(update["value"]) as archive:
            archive.extractall(tmp_path)
        folder = tmp_path / f"transflow-{panel}"
        shutil.copy(model_file, folder / TINY)
        monkeypatch.chdir(folder)
        runpy.run_path("same.py")
        for line in Path("same.sh").read_text().splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "transflow"
            assert main([*words[1:], *(["--overwrite"] if "-o" in words else [])]) == 0
        return folder

    return run


def panel_of(function):
    """The panel of a download button."""
    return function.outputs[0].elem_id.removesuffix("-file")


def pixels_of(path):
    with Image.open(path) as picture:
        return preprocess([picture], (3, 16, 16))[0].float()


def test_new_pictures_and_their_code(page, again):
    page.give("evidence", "drawn")
    page.ask("redraw", TINY, *SLIDERS)
    folder = again("new")
    for i in range(6):  # the command line's are those of the page
        theirs, ours = pixels_of(folder / "new" / f"{i:04d}.png"), pixels_of(folder / "page" / "new" / f"{i:03d}.png")
        assert (theirs - ours).abs().max() <= 1


@pytest.mark.parametrize("way", ["Covariance", "Mixture: one each", "Mean: the paper"])
def test_code_of_the_other_ways(page, again, way):
    page.give("evidence", "drawn")
    page.ask("redraw", TINY, way, *SLIDERS[1:4], False, *SLIDERS[5:])
    folder = again("new")
    theirs, ours = pixels_of(folder / "new" / "0003.png"), pixels_of(folder / "page" / "new" / "003.png")
    assert (theirs - ours).abs().max() <= 1


def test_a_way_and_its_code(page, again):
    page.give("evidence", "drawn")
    page.give("other", "grey")
    film, python, shell = page.ask("travel", TINY, 3, 2, *SLIDERS)
    assert film.count("data:image/gif") == 1
    assert "prefers-reduced-motion" in film
    assert "frames" in python
    assert "--steps 3" in shell
    folder = again("way")
    for film in (folder / "way.gif", folder / "page" / "way.gif"):
        with Image.open(film) as found:
            assert found.n_frames == 4  # there and back


@pytest.mark.parametrize("learn", ["all that it is", "what it has in common"])
def test_an_edit_and_its_code(page, again, learn):
    page.give("evidence", "drawn")
    page.give("picture", "own")
    page.ask("move", TINY, None, learn, 0.4)
    folder = again("edit")
    assert (pixels_of(folder / "edited" / "0000.png") - pixels_of(folder / "page" / "edited.png")).abs().max() <= 1


def test_an_attribute_and_its_code(page, again):
    for key, kind in {"picture": "own", "with": "covered", "without": "own"}.items():
        page.give(key, kind)
    page.ask("give", TINY, "The model's own samples 3", -0.7)
    folder = again("attribute")
    assert (pixels_of(folder / "edited" / "0000.png") - pixels_of(folder / "page" / "edited.png")).abs().max() <= 1


@pytest.mark.parametrize(
    ("hidden", "like"), [("the left half", "any picture of the model"), ("its colours", "one of the evidence")]
)
def test_a_completion_and_its_code(page, again, hidden, like):
    page.give("evidence", "drawn")
    page.give("picture", "own")
    shown, *_ = page.ask("search", TINY, None, hidden, None, like, 1, 4)
    assert "1 completions" not in shown
    folder = again("complete")
    theirs, ours = pixels_of(folder / "completed" / "0000.png"), pixels_of(folder / "page" / "completed" / "000.png")
    assert (theirs - ours).abs().mean() <= 3  # a search, of latents that differ in the last bits


def test_classes_and_their_code(page, again):
    page.give("class-0", "drawn")
    page.give("class-1", "grey")
    page.give("query", "drawn")
    _, table, *_ = page.ask("tell", TINY, "drawn", "it's grey", "", "", "")
    assert table.count("<tr>") == 9
    assert "it&#x27;s grey" in table
    folder = again("classify")
    assert (folder / "predictions.csv").read_text().count("\n") == 9


@pytest.mark.parametrize("beside", [True, False])
def test_scores_and_their_code(page, again, beside, capsys):
    page.give("scored", "grey")
    page.give("evidence", "own")
    _, table, *_ = page.ask("score", TINY, beside)
    assert ("p by typicality" in table) == beside
    again("score")


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("travel", (TINY, 3, 2, *SLIDERS), "Expected evidence to begin with; got none"),
        ("search", (TINY, None, "its colours", None, "", 1, 0), "Expected a picture to change; got none"),
        ("tell", (TINY, "a", "b", "c", "d", "e"), "at least two classes; got 0"),
        ("score", (TINY, True), "Expected a picture to score; got none"),
        ("add", ([], TINY, False), "Expected a picture; got none"),
        ("add_model", (None,), "Expected a model file; got none"),
        ("redraw", ("module:code", *SLIDERS), "Expected a model, one of"),
        ("redraw", ("/etc/passwd", *SLIDERS), "Expected a model, one of"),
        ("redraw", (TINY, *SLIDERS[:-2], 1e6, 0), "Expected 1 to 36 pictures"),
    ],
)
def test_what_cannot_be_done_is_one_line(page, name, values, words):
    page.ask(name, *values)
    (line,) = page.said
    assert words in line
    assert "\n" not in line
    assert "Traceback" not in line


def test_an_empty_page_says_what_to_do(page):
    shown, *_ = page.ask("redraw", TINY, *SLIDERS)
    assert "Give some pictures" in shown
    page.ask("move", TINY, None, "all that it is", 0.5)
    assert not page.said
    page.ask("packed")
    assert page.said == ["Expected something made to download; got nothing yet. Make it first."]


def test_a_defect_is_logged_and_says_nothing_of_the_server(page, monkeypatch, caplog):
    def broken(*_):
        raise KeyError("/secret/path")

    monkeypatch.setattr(page.wires.shelf, "model", broken)
    with pytest.raises(page.wires.gr.Error) as error:
        page.ask("score", TINY, True)
    assert error.value.message == DEFECT
    assert "secret" in caplog.text


def test_no_path_of_the_server_is_in_a_line(sessions):
    inside = sessions.served / "ab12" / "mine.safetensors"
    assert line_of(ValueError(f"Expected a model; got none: {inside}"), sessions) == (
        "Expected a model; got none: mine.safetensors"
    )
    assert "page" in line_of(MemoryError(), sessions) or line_of(MemoryError(), sessions)


def test_sessions_do_not_see_each_other(page, uploaded):
    page.ask("add", uploaded(3), TINY, False)
    mine, *_ = page.ask("shown", TINY)
    theirs, *_ = page.ask("shown", TINY, session="another")
    assert mine.count("<li") == 3
    assert "No picture yet" in theirs
    page.ask("packed", session="another")
    assert page.said


def test_faces_are_found_and_turned_on_request(page, uploaded):
    page.ask("add", uploaded(2), TINY, True)
    assert [picture.name for picture in page.session.set_of("evidence").pictures][:2] == [
        "00.png, face 1",
        "00.png, face 2",
    ]
    page.ask("add", uploaded(1), TINY, False)
    assert len(page.session.set_of("evidence").pictures) == 5


def test_an_own_model_is_the_session_s_alone(page, model_file, sessions):
    upload = sessions.served / "mine.safetensors"
    shutil.copy(model_file, upload)
    _, update = page.ask("add_model", str(upload))
    assert update["value"] == "mine.safetensors"
    assert not upload.exists()
    page.give("evidence", "drawn")
    page.ask("redraw", "mine.safetensors", *SLIDERS)
    assert not page.said
    page.ask("redraw", "mine.safetensors", *SLIDERS, session="another")
    assert page.said
    assert str(sessions.folder) not in page.said[0]


@pytest.mark.parametrize("name", ["foreign.safetensors", "text.bin", TINY])
def test_a_foreign_model_file_is_one_line(page, sessions, name):
    upload = sessions.served / name
    upload.write_bytes(b"\x10\0\0\0\0\0\0\0" + b'{"a":{}}        ')
    page.ask("add_model", str(upload))
    (line,) = page.said
    assert name in line
    assert str(sessions.folder) not in line
    assert not page.session.models


def test_everything_shown_is_escaped(page, sessions):
    path = sessions.served / "<img src=x onerror=alert(1)>.png"
    Image.new("RGB", (16, 16)).save(path)
    page.ask("add", [str(path)], TINY, False)
    shown, *_ = page.ask("shown", TINY)
    assert "<img src=x" not in shown
    assert "&lt;img src=x" in shown


def test_the_bounds_are_those_of_the_components(page):
    slider = next(block for block in page.blocks.blocks.values() if getattr(block, "elem_id", "") == "number")
    assert slider.maximum == bounds.NUMBER


def test_stop_ends_the_work(page):
    page.give("evidence", "drawn")
    page.give("other", "grey")
    original = page.reports.append

    def stop_at_the_second(words):
        original(words)
        if words == "step 2 of 9":
            page.session.stop("way")

    page.reports = SimpleNamespace(append=stop_at_the_second)
    skipped = page.ask("travel", TINY, 9, 1, *SLIDERS)
    assert not page.said
    assert skipped == page.wires.gr.skip()
    assert "way" not in page.session.results


def test_gradio_missing_is_one_line_that_names_the_extra(monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["app"]) == 2
    assert capsys.readouterr().err == (
        "transflow: error: Expected gradio for the page; it is not installed. pip install 'transflow[app]'\n"
    )


def test_two_browsers_of_one_session_leave_it_whole(page):
    titles = ["Faces drawn by code", "Without colour", "Tinted red"]

    def edit(title):
        for _ in range(3):
            page.ask("choose", title, TINY)
            page.ask("redraw", TINY, *SLIDERS)

    with ThreadPoolExecutor(len(titles)) as pool:
        list(pool.map(edit, titles))
    assert not page.said
    kind = page.session.set_of("evidence").sample
    shown, *_ = page.ask("shown", TINY)
    assert shown.count("<li") == 8
    assert SAMPLES[kind] in titles
    assert SAMPLES[kind] in shown


def test_a_slider_waits_for_the_encoder_and_a_stopped_encoder_draws_nothing(page, monkeypatch):
    page.give("evidence", "drawn")
    page.session.encoding = True
    monkeypatch.setattr(gathering, "_samples", type(gathering._samples)())
    assert page.ask("redraw", TINY, *SLIDERS) == [page.wires.gr.skip()] * 3
    page.session.encoding = False
    found = page.wires.shelf.model(page.session, TINY)
    pixels = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
    assert not is_encoded(page.session, found, Seen(("a", "b", "c"), pixels))
    page.ask("encode", TINY)
    assert not page.session.encoding
    _, python, _ = page.ask("draw_encoded", TINY, *SLIDERS)
    assert "transflow.load" in python
    monkeypatch.setattr(gathering, "_samples", type(gathering._samples)())
    assert page.ask("draw_encoded", TINY, *SLIDERS) == [page.wires.gr.skip()] * 3


def test_a_model_that_is_not_there_is_one_line_before_the_page_opens(capsys):
    assert main(["app", "--port", "0", "-m", "nowhere.safetensors"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Expected a model" in line
    assert "nowhere.safetensors" in line
