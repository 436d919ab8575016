"""Bad input gets one line and exit status 2, and nothing is written."""

import pytest
import torch
from PIL import Image

from transflow import load

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
    "no output": (["condition", "GOOD", "-m", "MODEL"], "give -o FILE"),
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
    "no time": (["train", "GOOD", "-o", "x.safetensors", "--minutes", "nan"], "Expected minutes"),
    "time and epochs": (["train", "GOOD", "-o", "x.safetensors", "--minutes", "1", "--epochs", "1"], "not allowed"),
    "a negative weight": (["train", "GOOD", "-o", "x.safetensors", "--strange", "-1"], "outliers of 0 or more"),
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
    "more samples than a sheet holds": (
        ["sample", "RED", "-n", "1000000000", "-o", "x.png"],
        "178 megapixels to write",
    ),
    "more samples than can be counted": (["sample", "RED", "-n", "1" + "0" * 20, "-o", "x.png"], "whole number"),
    "two hyphens for a value": (["sample", "RED", "--seed=--", "-o", "x.png"], 'a value for seed; got "--"'),
    "two hyphens for several": (
        ["edit", "RED", "--more=x", "--less=x", "--keep=--", "-o", "x.png"],
        "a value for keep",
    ),
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
