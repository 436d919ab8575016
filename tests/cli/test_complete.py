"""The command `complete`: what Python makes, of masks, halves, grey and small pictures; bad input in one line."""

import numpy as np
import pytest
from PIL import Image

from transflow import load, load_posterior
from transflow.cli.commands import complete
from transflow.cli.parser import build_parser
from transflow.conditioning.completion import NOISE, TEMPERATURE
from transflow.conditioning.operators import SIDES, Grey


@pytest.fixture
def picture(folder):
    return folder / "00.png"


@pytest.fixture
def hole(tmp_path):
    painted = np.zeros((16, 16), dtype=np.uint8)
    painted[4:10, 4:12] = 255
    Image.fromarray(painted).save(tmp_path / "hole.png")
    return tmp_path / "hole.png"


def test_the_defaults_are_those_of_python():
    options = build_parser().parse_args(["complete", "x.png", "-o", "y.png"])
    assert (options.noise, options.temperature) == (NOISE, TEMPERATURE)
    assert complete.SIDES == SIDES


def test_a_folder_has_what_python_makes(run, picture, hole, model_file):
    words = ["complete", picture, "--mask", hole, "-m", model_file, "-n", 2, "--seed", 0, "-o", "each/"]
    status, out, _ = run(*words)
    assert status == 0
    assert "2 samples, known part to 0.0" in out
    assert "seed 0" in out
    mask = np.asarray(Image.open(hole)) == 0
    found = load(model_file).complete(picture, mask, n=2, seed=0)
    for made, expected in zip(("0000.png", "0001.png"), found.pictures, strict=True):
        written = np.asarray(Image.open(f"each/{made}")).astype(float) / 255
        assert np.abs(written - expected.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("words", [["--hide", "left"], ["--grey"], ["--enlarge", "4"]])
def test_every_way_writes_a_sheet(run, picture, model_file, words):
    status, _, err = run("complete", picture, *words, "-m", model_file, "-n", 2, "-o", "sheet.png")
    assert status == 0, err
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 3.5 * sheet.height, "what is known, two samples, their mean"


def test_transparent_pixels_are_unknown(run, picture, hole, model_file, tmp_path):
    cut = Image.open(picture).convert("RGBA")
    cut.putalpha(Image.fromarray(255 - np.asarray(Image.open(hole))))
    cut.save(tmp_path / "cut.png")
    for words in ([tmp_path / "cut.png", "-o", "a.png"], [picture, "--mask", hole, "-o", "b.png"]):
        assert run("complete", *words, "-m", model_file, "-n", 1, "--seed", 1)[0] == 0
    assert np.array_equal(np.asarray(Image.open("a.png")), np.asarray(Image.open("b.png")))


def test_evidence_is_the_prior_and_names_the_model(run, picture, red, folder):
    assert run("complete", picture, "--grey", "--evidence", red, "-n", 1, "--seed", 0, "-o", "one/")[0] == 0
    posterior = load_posterior(red)
    found = posterior.model.complete(picture, Grey(), n=1, seed=0, prior=posterior)
    written = np.asarray(Image.open("one/0000.png")).astype(float) / 255
    assert np.abs(written - found.pictures[0].permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6


def test_a_small_picture_is_enlarged_by_what_its_size_asks_for(run, model_file, tmp_path):
    Image.new("RGB", (8, 8), (90, 120, 60)).save(tmp_path / "small.png")
    status, _, err = run("complete", tmp_path / "small.png", "--enlarge", "-m", model_file, "-n", 1, "-o", "a.png")
    assert status == 0, err


def test_bad_input_is_one_line(run, picture, hole, folder, model_file, tmp_path):
    Image.new("L", (15, 16)).save(tmp_path / "other.png")
    Image.new("L", (16, 16)).save(tmp_path / "black.png")
    Image.new("L", (16, 16), 255).save(tmp_path / "white.png")
    cases = {
        "without transparent pixels": [picture],
        "as large as the picture, 16 x 16 pixels; got 15 x 16": [picture, "--mask", tmp_path / "other.png"],
        "all are known": [picture, "--mask", tmp_path / "black.png"],
        "got one with none": [picture, "--mask", tmp_path / "white.png"],
        "smaller than 16 x 16": [picture, "--enlarge"],
        "divides 16 and 16; got 3": [picture, "--enlarge", "3"],
        "one picture to complete; got 12": [folder, "--grey"],
        "above 0; got 0.0": [picture, "--grey", "--noise", "0"],
        "not there": ["missing.png", "--mask", hole],
        "invalid choice": [picture, "--hide", "middle"],
        "not allowed with": [picture, "--grey", "--mask", hole],
    }
    for message, words in cases.items():
        status, out, err = run("complete", *words, "-m", model_file, "-n", 1, "-o", "x.png")
        assert status == 2, message
        assert message in err
        assert err.count("\n") == 1
        assert not out
    assert run("complete", picture, "--mask", hole, "-m", model_file, "-o", hole)[0] == 2, "the mask is read"
