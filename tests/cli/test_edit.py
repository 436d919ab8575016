"""The command `edit` writes what Python makes, and refuses in one line what does not go together."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from transflow.conditioning import edits
from transflow.pictures.grids import to_uint8


@pytest.fixture
def halves(folder, tmp_path):
    """The first six and the last six pictures, in folders of their own."""
    places = {}
    for name, files in (("a", sorted(folder.iterdir())[:6]), ("b", sorted(folder.iterdir())[6:])):
        places[name] = tmp_path / name
        places[name].mkdir()
        for file in files:
            (places[name] / file.name).write_bytes(file.read_bytes())
    return places


def pictures_of(folder):
    """One file each has no margin."""
    found = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            found.append(torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1))
    return torch.stack(found)


def test_towards_pictures_and_towards_their_posterior_are_one(run, folder, model_file, model, pixels, red):
    assert (
        run(
            "edit", folder, "-m", model_file, "--towards", folder, "--noise", "0.5m", "--strength", "0.6,0", "-o", "x/"
        )[0]
        == 0
    )
    status, out, _ = run("edit", folder, "--towards", red, "--strength", "0.6,0", "-o", "y/")
    assert status == 0
    assert "12 by 2 pictures" in out
    expected = to_uint8(edits.towards(model.condition(pixels, "0.5m")).strip(pixels, [0.6, 0.0]))
    found = pictures_of(Path("x"))
    assert torch.equal(found, pictures_of(Path("y")))
    assert (found[::2].int() - expected[0].int()).abs().max() <= 1
    assert torch.equal(found[1::2], to_uint8(model.reconstruct(pixels).decoded))


def test_pictures_are_learned_as_asked(run, folder, model_file, model, pixels):
    words = ["edit", folder / "00.png", "-m", model_file, "--towards", folder, "-o", "x/"]
    ways = {"covariance": [], "covariance:0.5": ["--learn", "covariance:0.5"], "mean": ["--learn", "mean"]}
    for learn, more in ways.items():
        assert run(*words, *more)[0] == 0
        edit = edits.towards(model.condition(pixels, learn=learn))
        assert (pictures_of(Path("x")).int() - to_uint8(edit.pictures(pixels[:1])).int()).abs().max() <= 1


def test_from_another_posterior(run, folder, halves, model_file, model, pixels, red):
    words = ["edit", folder, "-m", model_file, "--towards", red, "--from", halves["a"], "--noise", "1m"]
    assert run(*words, "-o", "x/")[0] == 0
    edit = edits.towards(model.condition(pixels, "0.5m"), model.condition(pixels[:6], "1m"))
    assert (pictures_of(Path("x")).int() - to_uint8(edit.pictures(pixels)).int()).abs().max() <= 1


@pytest.mark.parametrize("plain", [True, False])
def test_an_attribute_with_what_stays(run, folder, halves, model_file, model, pixels, plain):
    words = ["edit", halves["a"], "--more", halves["b"], "--less", halves["a"], "--keep", folder / "05.png"]
    words += ["--keep", folder / "03.png", folder / "04.png", "--strength=-0.5,1.5", "-m", model_file]
    assert run(*words, *(["--plain"] if plain else []), "-o", "x/")[0] == 0
    keep = [pixels[5:6], (pixels[3:4], pixels[4:5])]
    edit = edits.attribute(model, pixels[6:], pixels[:6], keep, fisher=not plain)
    expected = to_uint8(edit.strip(pixels[:6], [-0.5, 1.5])).transpose(0, 1).flatten(0, 1)
    assert (pictures_of(Path("x")).int() - expected.int()).abs().max() <= 1


def test_broken_pictures_are_noted(run, halves, model_file):
    words = ["edit", halves["a"], "--more", halves["b"], "--less", halves["a"], "-m", model_file, "-o", "x.png"]
    status, _, err = run(*words, "--strength", "0,200")
    assert status == 0
    assert "100% of the pictures at strength 200 are broken" in err
    assert err.count("\n") == 1


def test_sheets_begin_with_the_picture_itself(run, halves, model_file):
    words = ["edit", halves["a"], "--more", halves["b"], "--less", halves["a"], "-m", model_file]
    assert "(0, 1)" in run(*words, "-o", "x.png")[1]
    assert "(0.5, 0, 2)" in run(*words, "--strength", "0.5,0,2", "-o", "x.png")[1]
    assert run(*words, "--strength", "0,0.5,1", "-o", "x.gif")[0] == 0
    with Image.open("x.gif") as animation:
        assert animation.n_frames == 4


def test_a_way_to_another_picture(run, folder, model_file, model, pixels):
    words = ["edit", folder / "00.png", "--to", folder / "01.png", "-m", model_file]
    assert run(*words, "--steps", "3", "-o", "x/")[0] == 0
    expected = to_uint8(edits.between(model, pixels[:1], pixels[1:2], 3)[:, 0])
    assert (pictures_of(Path("x")).int() - expected.int()).abs().max() <= 1
    assert "4 by 8 pictures" in run(*words, "-o", "x.png")[1]
    assert "2 by 5 pictures" in run(*words, "--path", "straight,pixels", "--steps", "5", "-o", "x.gif")[1]


def test_arithmetic_beside_pixels(run, folder, halves, model_file, model, pixels):
    words = ["edit", halves["a"], "--minus", folder / "07.png", "--plus", halves["b"], "-m", model_file]
    assert run(*words, "-o", "x/")[0] == 0
    expected = to_uint8(edits.arithmetic(model, pixels[:6], pixels[7:8], pixels[6:]))
    assert (pictures_of(Path("x")).int() - expected.int()).abs().max() <= 1
    assert "(latents, pixels)" in run(*words, "-o", "x.png")[1]


BAD = {
    "nothing to do": (["GOOD", "-o", "x.png"], "required"),
    "two things": (["GOOD", "--towards", "A", "--more", "B", "-o", "x.png"], "not allowed"),
    "more than what": (["GOOD", "--more", "B", "-o", "x.png"], "Expected --less with --more"),
    "less than what": (["GOOD", "--towards", "B", "--less", "A", "-o", "x.png"], "Expected --more with --less"),
    "plus without minus": (["GOOD", "--plus", "B", "-o", "x.png"], "Expected --minus with --plus"),
    "a start of nothing": (["GOOD", "--to", "GOOD", "--from", "A", "-o", "x.png"], "Expected --towards with --from"),
    "a strength of nothing": (["GOOD", "--to", "GOOD", "--strength", "1", "-o", "x.png"], "with --strength"),
    "three sets": (
        ["GOOD", "--more", "B", "--less", "A", "--keep", "A", "B", "A", "-o", "x.png"],
        "one or two sets after --keep",
    ),
    "strengths of words": (["GOOD", "--towards", "B", "--strength", "much", "-o", "x.png"], "numbers, separated"),
    "a strength of NaN": (["GOOD", "--towards", "B", "--strength", "nan", "-o", "x.png"], "finite strengths"),
    "an empty set": (["GOOD", "--more", "B", "--less", "EMPTY", "-o", "x.png"], "at least one picture"),
    "equal sets": (["GOOD", "--more", "B", "--less", "B", "-o", "x.png"], "show no attribute"),
    "what changes and stays": (["GOOD", "--more", "B", "--less", "A", "--keep", "B", "A", "-o", "x.png"], "Keep fewer"),
    "ends of two sizes": (["GOOD", "--to", "A", "-o", "x.png"], "as many pictures"),
    "one step": (["A", "--to", "B", "--steps", "1", "-o", "x.png"], "2 or more steps"),
    "no such way": (["A", "--to", "B", "--path", "winding", "-o", "x.png"], "straight, spherical"),
    "the set as output": (["GOOD", "--more", "B", "--less", "A", "-o", "INSIDE"], "apart from what is read"),
    "the posterior as output": (["GOOD", "--towards", "PNG", "-o", "PNG"], "apart from what is read"),
    "noise of a posterior": (["GOOD", "--towards", "PNG", "--noise", "1m", "-o", "x.png"], "keeps its own"),
    "learning of a posterior": (["GOOD", "--towards", "PNG", "--learn", "mean", "-o", "x.png"], "keeps its own"),
    "nothing to learn": (["GOOD", "--towards", "A", "--learn", "lots", "-o", "x.png"], "what to learn"),
    "another model": (["GOOD", "--towards", "PNG", "-m", "faces-32", "-o", "x.png"], "Expected the model that"),
    "a text": (["TEXT", "--towards", "B", "-o", "x.png"], "notes.txt"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(case, run, folder, halves, model_file, red, tmp_path):
    words, told = BAD[case]
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    posterior = tmp_path / "red.png"
    posterior.write_bytes(red.read_bytes())
    names = {"GOOD": folder, "A": halves["a"], "B": halves["b"], "EMPTY": tmp_path / "empty", "PNG": posterior}
    names |= {"INSIDE": halves["b"] / "new.png", "TEXT": tmp_path / "notes.txt"}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    model = [] if "-m" in words or "PNG" in words else ["-m", model_file]
    status, out, err = run("edit", *[names.get(word, word) for word in words], *model)
    assert (status, out) == (2, "")
    assert told in err
    assert err.startswith("transflow: error: ")
    assert len(err.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_ways_through_latents_in_double_stand_beside_pixels(run, folder, model_file):
    words = ["edit", folder / "00.png", "-m", model_file, "--dtype", "float64", "-o", "x.png"]
    assert run(*words, "--to", folder / "01.png")[0] == 0
    assert run(*words, "--plus", folder / "01.png", "--minus", folder / "02.png")[0] == 0
