"""`train --family` and `stack`: a pyramid from pictures alone, and what does not fit refused in one line."""

import numpy as np
import pytest
from PIL import Image

from transflow import load

QUICK = ["--batch", 8, "--epochs", 2, "--no-compile"]
BASE = ["--family", "flow-matching", "--width", "16,32", "--attention", "no,yes", "--depth", 1, "--steps", 4]
LEVEL = ["--family", "details", "--width", 8, "--steps", 2, "--seen", 6, "--coarser", "6,6"]


@pytest.fixture
def parts(run, folder):
    """A base of 8 x 8 and a level of 16 x 16, trained for three steps, in the folder where commands run."""
    assert run("train", folder, "-o", "base.safetensors", *BASE, "--size", 8, *QUICK, "--data", "blobs")[0] == 0
    words = ["--size", 16, "--crop", 8, "--whole", 0.5, "--outliers", 0.01]
    status, out, _ = run("train", folder, "-o", "level.safetensors", *LEVEL, *words, *QUICK)
    assert status == 0
    assert "bits/dim" in out


def test_a_pyramid_is_trained_put_together_and_used(run, folder, parts):
    status, out, err = run(
        "stack", "base.safetensors", "level.safetensors", "-o", "whole.safetensors", "--licence", "CC0"
    )
    assert (status, err) == (0, "")
    assert "whole.safetensors: pictures of 16 x 16, 3 channels" in out
    model = load("whole.safetensors")
    assert model.shape == (3, 16, 16)
    assert (model.card["name"], model.card["data"], model.card["licence"]) == ("whole", "blobs", "CC0")
    assert run("reconstruct", folder, "-m", "whole.safetensors", "-o", "x.png")[0] == 0
    level = ["--family", "details", "--size", 16, "--crop", 8]
    words = ["train", folder, "-o", "more.safetensors", "--from", "whole.safetensors", *level, *QUICK]
    assert run(*words)[0] == 0
    more = load("more.safetensors")
    assert more.card["begun_from"] == "whole.safetensors"
    assert more.source.flow.config == load("level.safetensors").source.flow.config.__class__(
        steps=2, width=8, seen=6, coarser=(6, 6), size=16, crop=8
    )


def test_settings_are_those_of_the_family_or_the_run(run, folder, parts):
    from transflow.training.loop import read_config

    config = read_config("base.safetensors")
    assert (config.bits, config.ema, config.weight_decay, config.architecture.power) == (8, 0.9995, 0.01, 1.5)
    assert config.architecture.widths == (16, 32)
    assert config.architecture.attention == (False, True)
    assert run("train", folder, "-o", "base.safetensors", "--resume", "--epochs", 3)[0] == 0
    assert load("base.safetensors").card["pictures_seen"] == 40
    again = ["--resume", "--family", "flow-matching", "--size", 8, "--epochs", 3]
    assert run("train", folder, "-o", "base.safetensors", *again)[0] == 0


BAD = {
    "a state of another family": (
        ["train", "GOOD", "-o", "level.safetensors", "--resume", "--family", "flow-matching"],
        "Expected family details, as the run was begun with; got flow-matching.",
    ),
    "a size that a net cannot halve": (["train", "GOOD", "-o", "x.safetensors", *BASE, "--size", 10], "multiples of 4"),
    "an odd level": (["train", "GOOD", "-o", "x.safetensors", *LEVEL, "--size", 33], "Expected an even size"),
    "too few pictures": (
        ["train", "GOOD", "-o", "x.safetensors", *LEVEL, "--size", 16],
        "as many pictures to train on as a batch has, 64; got 11.",
    ),
    "grey pictures": (["train", "GREY", "-o", "x.safetensors", *LEVEL, "--size", 16, *QUICK], "got grey ones alone"),
    "an option of another family": (
        ["train", "GOOD", "-o", "x.safetensors", *LEVEL, "--coupling", "affine"],
        "Expected options of the family details; got --coupling.",
    ),
    "steps of levels": (
        ["train", "GOOD", "-o", "x.safetensors", "--family", "details", "--steps", "2,2"],
        "Expected one number for --steps of the family details; got 2,2.",
    ),
    "outliers without a likelihood": (
        ["train", "GOOD", "-o", "x.safetensors", *BASE, "--size", 8, "--outliers", 0.01],
        "Expected no outliers for flow-matching",
    ),
    "to resume and to begin": (
        ["train", "GOOD", "-o", "level.safetensors", "--resume", "--from", "level.safetensors"],
        "Expected --resume, to go on with a run, or --from",
    ),
    "to begin from pictures": (["train", "GOOD", "-o", "x.safetensors", "--from", "GOOD"], "got"),
    "a level of another size": (
        ["stack", "base.safetensors", "base.safetensors", "-o", "x.safetensors"],
        "Expected levels of the family details",
    ),
    "a base alone": (["stack", "base.safetensors", "-o", "x.safetensors"], "LEVEL"),
    "a level as base": (
        ["stack", "level.safetensors", "level.safetensors", "-o", "x.safetensors"],
        "Expected a base of a family of glow, flow-matching, real-nvp",
    ),
    "a part as output": (["stack", "base.safetensors", "level.safetensors", "-o", "base.safetensors"], "apart"),
    "a base of another size": (
        ["stack", "MODEL", "level.safetensors", "-o", "x.safetensors"],
        "Expected a level of 32 x 32 pixels and 3 channels above the base",
    ),
}


def test_what_does_not_fit_gets_one_line_and_leaves_nothing(run, folder, parts, model_file, tmp_path):
    grey = tmp_path / "grey"
    grey.mkdir()
    for i in range(12):
        values = np.random.default_rng(i).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(values).save(grey / f"{i}.png")
    names = {"GOOD": folder, "GREY": grey, "MODEL": model_file}
    work = tmp_path / "work"
    before = {path: path.read_bytes() for path in work.iterdir()}
    for case, (words, expected) in BAD.items():
        status, out, err = run(*[names.get(word, word) for word in words])
        assert (status, out) == (2, ""), case
        assert expected in err, case
        assert len(err.splitlines()) == 1, case
        assert {path: path.read_bytes() for path in work.iterdir()} == before, case
