"""`train --family` of single flows: their options, and what they cannot do refused in one line."""

import pytest

from transflow import load

QUICK = ["--batch", 8, "--epochs", 2, "--no-compile", "--size", 8]
WORDS = {
    "real-nvp": ["--width", "8,8", "--steps", 1, "--depth", 1, "--net", "plain", "--no-batch-norm"],
    "tarflow": ["--width", 16, "--head", 8, "--steps", 2, "--depth", 1, "--patch", 2, "--noise", 0.05],
    "flow++": [
        "--width",
        8,
        "--steps",
        "1,1,1",
        "--depth",
        1,
        "--components",
        2,
        "--dequantiser",
        2,
        "--attention",
        "no",
    ],
    "nice": ["--width", 16, "--steps", 2, "--depth", 1, "--prior", "normal", "--no-whiten"],
}
MADE = {
    "real-nvp": {"width": (8, 8), "steps": 1, "depth": 1, "net": "plain", "batch_norm": False},
    "tarflow": {"width": 16, "head": 8, "blocks": 2, "layers": 1, "patch": 2, "noise": 0.05},
    "flow++": {"width": 8, "steps": (1, 1, 1), "components": 2, "dequantiser": 2, "attention": False, "bits": 8},
    "nice": {"width": 16, "steps": 2, "depth": 1, "prior": "normal", "whiten": False},
}


@pytest.mark.parametrize("family", WORDS)
def test_a_flow_is_trained_used_and_gone_on_with(run, folder, family):
    words = ["train", folder, "-o", "m.safetensors", "--family", family]
    status, out, _ = run(*words, *WORDS[family], *QUICK)
    assert status == 0
    assert "bits/dim" in out
    model = load("m.safetensors")
    assert model.shape == (3, 8, 8)
    assert {name: getattr(model.source.flow.config, name) for name in MADE[family]} == MADE[family]
    assert model.bits == 8
    assert run("reconstruct", folder, "-m", "m.safetensors", "-o", "x.png")[0] == 0
    assert run(*words, "--resume", "--epochs", 3)[0] == 0
    assert load("m.safetensors").card["pictures_seen"] == 40
    grey = ["train", folder, "-o", "g.safetensors", "--family", family, "--grey"]
    assert run(*grey, *WORDS[family], *QUICK, "--epochs", 1)[0] == 0
    assert load("g.safetensors").shape == (1, 8, 8)


BAD = {
    "a size that is not halved": (
        ["--family", "real-nvp", "--size", 6],
        "Expected height and width that are multiples of 4",
    ),
    "a patch that does not fit": (
        ["--family", "tarflow", "--size", 6],
        "Expected a patch that divides height and width",
    ),
    "too much noise": (["--family", "tarflow", "--noise", 1], "Expected a standard deviation of noise from 0"),
    "a width of no fours": (["--family", "flow++", "--size", 6], "a width that is a multiple of 4; got (3, 6, 6)"),
    "one coupling": (["--family", "nice", "--steps", 1], "Expected two steps or more"),
    "another net": (["--family", "glow", "--net", "plain"], "Expected options of the family glow; got --net."),
    "no whitening of a glow": (["--no-whiten"], "Expected options of the family glow; got --no-whiten."),
    "no batch norm of a nice": (["--family", "nice", "--no-batch-norm"], "family nice; got --no-batch-norm."),
    "batches of one": (["--family", "wae", "--batch", 1], "Expected batches of 2 or more for wae; got 1."),
}


@pytest.mark.parametrize("case", BAD)
def test_what_it_cannot_do_gets_one_line_and_leaves_nothing(run, folder, case, tmp_path):
    words, expected = BAD[case]
    status, out, err = run("train", folder, "-o", "x.safetensors", *words)
    assert (status, out) == (2, "")
    assert expected in err
    assert len(err.splitlines()) == 1
    assert not list((tmp_path / "work").iterdir())
