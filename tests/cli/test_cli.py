"""The command line: good words make files, bad ones make one line and exit status 2."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from transflow import TrainConfig, load, load_posterior
from transflow.cli import main
from transflow.pictures import grids as figures


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder; return status, standard output and standard error."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def call(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as error:
            status = error.code
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def red(run, folder, model_file, tmp_path):
    path = tmp_path / "red.safetensors"
    assert run("condition", folder, "-m", model_file, "--noise", "0.5m", "-o", path)[0] == 0
    return path


def test_condition_is_its_twin_in_python(red, model, pixels):
    posterior = load_posterior(red)
    torch.testing.assert_close(posterior.gaussian.mean, model.condition(pixels, "0.5m").gaussian.mean)


def test_condition_says_what_it_chose(run, folder, model_file, tmp_path):
    status, out, _ = run("condition", folder, "-m", model_file, "-o", tmp_path / "t.safetensors")
    assert status == 0
    assert "12 pictures" in out
    assert "typical: lambda = " in out


def test_evidence_goes_in_and_out_of_a_saved_posterior(run, red, folder, model, pixels):
    files = sorted(folder.iterdir())
    assert run("condition", *files[8:], "--remove", red, "-o", "less.safetensors")[0] == 0
    less = load_posterior("less.safetensors")
    torch.testing.assert_close(less.gaussian.mean, model.condition(pixels[:8], "0.5m").gaussian.mean, rtol=0, atol=1e-5)
    assert run("condition", *files[8:], "--add", "less.safetensors")[0] == 0
    again = load_posterior("less.safetensors")
    torch.testing.assert_close(again.gaussian.mean, load_posterior(red).gaussian.mean, rtol=0, atol=1e-5)
    before = red.read_bytes()
    status, _, err = run("condition", *files[:1], *files[:1], "--remove", red)
    assert (status, red.read_bytes()) == (2, before)
    assert "are not (numbers 2)" in err


def test_sample_writes_what_python_draws(run, red, model_file):
    status, out, _ = run("sample", red, "-n", 4, "--seed", 0, "--temperature", 0.7, "-o", "grid.png")
    assert status == 0
    assert "seed 0" in out
    assert run("sample", red, "-n", 4, "--seed", 0, "--temperature", 0.7, "-o", "each/")[0] == 0
    first = np.asarray(Image.open("each/0000.png")).astype(float) / 255
    expected = load_posterior(red).pictures(4, seed=0, temperature=0.7)[0].permute(1, 2, 0).numpy()
    assert np.abs(first - expected).max() <= 0.5 / 255 + 1e-6
    assert run("sample", model_file, "-n", 2, "-o", "prior.png")[0] == 0


def test_a_new_seed_is_printed_and_makes_the_same_again(run, red):
    _, out, _ = run("sample", red, "-n", 2, "-o", "a.png")
    seed = out.split("seed ")[1].rstrip(")\n")
    run("sample", red, "-n", 2, "--seed", seed, "-o", "b.png")
    assert np.array_equal(np.asarray(Image.open("a.png")), np.asarray(Image.open("b.png")))


def test_sweep_interpolate_reconstruct_write_what_python_makes(run, red, folder, model_file, model, pixels):
    words = ["--noise", "0.2m,1m", "-n", 3, "--seed", 1, "-o", "sweep.png"]
    assert run("sweep", folder, "-m", model_file, *words)[0] == 0
    assert run("interpolate", red, red, "--steps", 4, "-n", 2, "--seed", 1, "-o", "strip.png")[0] == 0
    assert run("interpolate", red, red, "--steps", 4, "-n", 2, "--direct", "-o", "strip.gif")[0] == 0
    with Image.open("strip.gif") as strip:
        assert strip.n_frames >= 2
    status, out, _ = run("reconstruct", folder, "-m", model_file, "-o", "pairs.png")
    assert status == 0
    assert "largest error" in out
    rows = model.sweep(pixels, ["0.2m", "1m"], 3, seed=1)
    way = load_posterior(red).strip(load_posterior(red), 4, 2, seed=1)
    both = model.reconstruct(pixels)
    expected = {
        "sweep.png": figures.grid(rows.flatten(0, 1), 3, rows=("0.2m", "1m")),
        "strip.png": figures.grid(way.transpose(0, 1).flatten(0, 1), 4),
        "pairs.png": figures.pairs(both.pictures, both.decoded),
    }
    for name, picture in expected.items():
        shown = np.asarray(Image.open(name)).astype(int)
        assert shown.shape == np.asarray(picture).shape
        assert np.abs(shown - np.asarray(picture)).max() <= 1  # a batch of another size rounds otherwise


def test_score_prints_a_table_or_json(run, folder, model_file, model, pixels):
    status, out, _ = run("score", folder, "-m", model_file, "--json")
    rows = json.loads(out)
    assert status == 0
    assert [set(r) for r in rows] == [{"picture", "log_prob", "bits_per_dim", "radius"}] * 12
    assert [r["log_prob"] for r in rows] == pytest.approx(model.log_prob(pixels).tolist())
    _, out, _ = run("score", folder, "-m", model_file)
    assert len(out.splitlines()) == 13


def test_models_are_listed_with_their_cards(run):
    status, out, _ = run("models", "--json")
    assert status == 0
    assert {"bits_per_dim", "data", "licence"} <= set(json.loads(out)["faces-32"])
    assert "faces-32" in run("models")[1]


BAD = {
    "an empty folder": (["condition", "EMPTY", "-m", "MODEL", "-o", "x.safetensors"], "at least one picture"),
    "a path that is not there": (["score", "nowhere", "-m", "MODEL"], "not there: nowhere"),
    "a text among the pictures": (["score", "MIXED", "-m", "MODEL"], "notes.txt"),
    "a truncated JPEG": (["sweep", "CUT", "-m", "MODEL", "-o", "x.png"], "cut.jpg"),
    "an empty file": (["reconstruct", "ZERO", "-m", "MODEL", "-o", "x.png"], "0 bytes"),
    "a noise of 0": (["condition", "GOOD", "-m", "MODEL", "--noise", "0", "-o", "x.safetensors"], '"0.5m"'),
    "a negative noise": (["condition", "GOOD", "-m", "MODEL", "--noise=-1m", "-o", "x.safetensors"], '"0.5m"'),
    "a noise of NaN": (["condition", "GOOD", "-m", "MODEL", "--noise", "nan", "-o", "x.safetensors"], '"0.5m"'),
    "nonsense as noise": (["sweep", "GOOD", "-m", "MODEL", "--noise", "0.5m,lots", "-o", "x.png"], "'lots'"),
    "evidence noise of one picture": (
        ["condition", "ONE", "-m", "MODEL", "--noise", "evidence", "-o", "x.safetensors"],
        "two different",
    ),
    "an unknown model": (["score", "GOOD", "-m", "faces-99"], "faces-32"),
    "a pickle as model": (["score", "GOOD", "-m", "PICKLE"], "pickle"),
    "a foreign safetensors": (["sample", "FOREIGN", "-o", "x.png"], "another program"),
    "a posterior as model": (["score", "GOOD", "-m", "RED"], "got a posterior"),
    "a model as posterior": (["interpolate", "RED", "MODEL", "-o", "x.png"], "got a model"),
    "a folder that is not there": (["sample", "RED", "-o", "no/where/x.png"], "folder that is there"),
    "an output of no picture": (["sample", "RED", "-o", "x.docx"], "picture file"),
    "a posterior file of another suffix": (["condition", "GOOD", "-m", "MODEL", "-o", "x.pt"], ".safetensors"),
    "no output": (["condition", "GOOD", "-m", "MODEL"], "-o FILE"),
    "noise with --add": (["condition", "GOOD", "--add", "RED", "--noise", "1m"], "no --noise"),
    "no samples": (["sample", "RED", "-n", "0", "-o", "x.png"], "whole number"),
    "a negative temperature": (["sample", "RED", "--temperature", "-1", "-o", "x.png"], "temperature"),
    "one step": (["interpolate", "RED", "RED", "--steps", "1", "-o", "x.png"], "2 or more"),
    "an unknown command": (["paint"], "invalid choice"),
    "no command": ([], "COMMAND"),
    "an unknown option": (["score", "GOOD", "--fast"], "unrecognized"),
    "a demo into a file": (["demo", "-o", "MODEL"], "got a file"),
    "impossible architecture": (["train", "GOOD", "-o", "x.safetensors", "--size", "33"], "squeezes"),
    "nothing to resume": (["train", "GOOD", "-o", "x.safetensors", "--resume"], "not there"),
    "nine bits": (["train", "GOOD", "-o", "x.safetensors", "--bits", "9"], "1 to 8 bits"),
    "no time": (["train", "GOOD", "-o", "x.safetensors", "--minutes", "nan"], "minutes above 0"),
    "time and epochs": (["train", "GOOD", "-o", "x.safetensors", "--minutes", "1", "--epochs", "1"], "not allowed"),
    "a negative weight": (
        ["train", "GOOD", "-o", "x.safetensors", "--strange", "-1"],
        "outliers of 0 or more",
    ),
    "no epoch": (["train", "GOOD", "-o", "x.safetensors", "--epochs", "0"], "epochs above 0"),
    "no time at a time": (["train", "GOOD", "-o", "x.safetensors", "--stop-after", "0"], "more than 0 minutes"),
    "nothing held out": (["train", "GOOD", "-o", "x.safetensors", "--held-out", "0"], "between 0 and 1"),
    "a device that is not there": (["sample", "RED", "--device", "toaster", "-o", "x.png"], "cpu or cuda"),
    "an unknown device": (["train", "GOOD", "-o", "x.safetensors", "--device", "toaster"], "device"),
    "the model as output": (["condition", "GOOD", "-m", "MODEL", "-o", "MODEL"], "apart from what is read"),
    "the posterior's model as output": (
        ["condition", "GOOD", "--add", "RED", "-o", "MODEL"],
        "apart from what is read",
    ),
    "an output among the pictures": (["reconstruct", "GOOD", "-m", "MODEL", "-o", "INSIDE"], "apart from what is read"),
    "a table over a picture": (["classify", "GOOD", "GOOD", "-m", "MODEL", "-o", "TABLE"], "apart from what is read"),
    "an empty noise": (["condition", "GOOD", "-m", "MODEL", "--noise", "", "-o", "x.safetensors"], "value for noise"),
    "an empty reference": (["score", "GOOD", "-m", "MODEL", "--reference", ""], "value for reference"),
    "an empty output": (["sample", "RED", "-o", ""], "value for output"),
    "a picture format that Pillow writes, but not in colour": (["sample", "RED", "-o", "x.xbm"], "picture file"),
    "samples into a file as a folder": (["sample", "RED", "-o", "FILE/"], "got a file"),
    "more samples than memory": (["sample", "RED", "-n", "1000000000", "-o", "x.png"], "fits into memory"),
    "more samples than can be counted": (["sample", "RED", "-n", "1" + "0" * 20, "-o", "x.png"], "whole number"),
    "a negative seed": (["sample", "RED", "--seed", "-1", "-o", "x.png"], "whole number"),
    "a folder as posterior": (["condition", "GOOD", "--add", "GOOD", "-o", "x.safetensors"], "got a folder"),
    "latents where pixels are needed": (["reconstruct", "LATENTS", "-m", "MODEL", "-o", "x.png"], "folder of latents"),
    "no groups": (["train", "GOOD", "-o", "x.safetensors", "--groups", "no.csv"], "CSV of file names"),
    "a picture as groups": (["train", "GOOD", "-o", "x.safetensors", "--groups", "PICTURE"], "CSV of file names"),
    "a posterior to train over": (["train", "GOOD", "-o", "RED"], "new output"),
    "one picture to train on": (["train", "ONE", "-o", "x.safetensors"], "train on"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_leaves_nothing(case, run, red, folder, model_file, tmp_path):
    words, told = BAD[case]
    one, empty, mixed, cut, zero = (tmp_path / name for name in ("one", "empty", "mixed", "cut", "zero"))
    for path in (one, empty, mixed, cut, zero):
        path.mkdir()
    good = sorted(folder.iterdir())[0]
    for path in (one, mixed, cut, zero):
        (path / "good.png").write_bytes(good.read_bytes())
    (mixed / "notes.txt").write_text("hello")
    Image.open(good).resize((80, 80)).save(tmp_path / "whole.jpg")
    (cut / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-300])
    (zero / "zero.png").write_bytes(b"")
    torch.save({}, tmp_path / "pickle.pt")
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    names = {
        "EMPTY": empty,
        "GOOD": folder,
        "ONE": one,
        "MIXED": mixed,
        "CUT": cut,
        "ZERO": zero,
        "MODEL": model_file,
        "RED": red,
        "PICKLE": tmp_path / "pickle.pt",
        "FOREIGN": tmp_path / "foreign.safetensors",
        "INSIDE": folder / "pairs.png",
        "TABLE": folder / "table.csv",
        "PICTURE": good,
        "FILE/": f"{good}/",
        "LATENTS": load(model_file).latents(folder, tmp_path / "latents").folder,
    }
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    status, out, err = run(*[names.get(word, word) for word in words])
    assert status == 2
    assert out == ""
    assert told in err
    assert err.startswith("transflow: error: ")
    assert len(err.splitlines()) == 1
    assert list((tmp_path / "work").iterdir()) == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_bad_pictures_can_be_skipped(run, folder, model_file):
    (folder / "zero.png").write_bytes(b"")
    status, out, err = run("score", folder, "-m", model_file, "--json", "--skip-bad")
    assert status == 0
    assert len(json.loads(out)) == 12
    assert "skipped" in err
    assert "zero.png" in err


def test_train_then_use(run, folder):
    words = [
        "--size",
        8,
        "--steps",
        "1,1",
        "--width",
        "4,4",
        "--epochs",
        3,
        "--no-compile",
        "--batch",
        4,
        "--reversible",
    ]
    status, out, _ = run("train", folder, "-o", "m.safetensors", *words, "--data", "blobs", "--licence", "CC0")
    assert status == 0
    assert "bits/dim" in out
    card = load("m.safetensors").card
    assert (card["data"], card["licence"]) == ("blobs", "CC0")
    assert run("train", folder, "-o", "m.safetensors", "--resume", "--epochs", 5)[0] == 0
    assert load("m.safetensors").card["data"] == "blobs"
    status, _, err = run("train", folder, "-o", "m.safetensors", "--resume", "--size", 16)
    assert status == 2
    assert "Expected size 8, as the run was begun with; got 16." in err


def test_the_defaults_that_help_tells_are_those_of_the_settings():
    config = TrainConfig()
    command = [sys.executable, "-m", "transflow", "train", "--help"]
    text = " ".join(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("options:")[1].split()
    )
    told = dict(re.findall(r"--([a-z-]+) (?:(?! --)[^()])*\(default: ([^)]*)\)", text))
    settings = {**vars(config), **vars(config.glow)}
    shown = {"minutes", "size", "bits", "steps", "width", "permutation", "batch", "learning-rate", "interval"}
    shown |= {"held-out", "seed"}
    assert shown <= set(told)
    for name in shown:
        value = settings[name.replace("-", "_")]
        expected = ",".join(map(str, value)) if isinstance(value, tuple) else value
        assert told[name] == (f"{expected:g}" if isinstance(expected, float) else str(expected)), name


def test_help_does_not_load_torch():
    code = """
import sys
from transflow.cli import main
try:
    main(["--help"])
except SystemExit:
    print("torch" in sys.modules, "numpy" in sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False False"


def test_as_a_program(folder, model_file):
    command = [sys.executable, "-m", "transflow", "score", str(folder / "00.png"), "-m", str(model_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([*command[:-1], "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_dtype_is_the_models_and_a_posterior_keeps_its_own(run, folder, model_file, tmp_path):
    made = tmp_path / "rounded.safetensors"
    run("condition", folder, "-m", model_file, "--dtype", "bfloat16", "-o", made)
    assert load_posterior(made).model.precision == "bfloat16"
    written = []
    for dtype in ([], ["--dtype", "bfloat16"], ["--dtype", "float64"]):
        output = tmp_path / f"{len(written)}.png"
        run("sample", made, "-n", "4", "--seed", "0", *dtype, "-o", output)
        written.append(output.read_bytes())
    assert written[0] == written[1]
