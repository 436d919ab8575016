"""No word of a file, a tar or a header reaches the terminal as it is, whatever the command."""

import csv
import io
import json
import re
import tarfile
import unicodedata
import warnings

import pytest
from safetensors.torch import load, save

from transflow.store import container
from transflow.store.identity import plain

EVIL = "\x1b[31m\ntransflow: done\r\x9b\u202e\u200f"
UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def raw(text):
    """Characters of a text that a terminal would take for more than letters, but for ends of lines."""
    return [c for c in text if c in DIRECTIONS or (unicodedata.category(c) in UNSEEN and c != "\n")]


@pytest.fixture
def evil(folder, model_file, tmp_path, run):
    """Files and folders whose names hold all that a terminal obeys, and headers that do."""
    there = tmp_path / EVIL
    there.mkdir()
    pictures = there / f"p{EVIL}"
    folder.rename(pictures)
    (pictures / "00.png").rename(pictures / f"={EVIL}.png")
    classes = there / f"c{EVIL}"
    for name in ("@red", f"-blue{EVIL}"):
        (classes / name).mkdir(parents=True)
        for file in sorted(pictures.iterdir())[:4]:
            (classes / name / file.name).write_bytes(file.read_bytes())
    model = there / f"m{EVIL}.safetensors"
    model.write_bytes(model_file.read_bytes())
    tar = there / f"t{EVIL}.tar"
    with tarfile.open(tar, "w") as file:
        for picture in sorted(pictures.iterdir()):
            file.add(picture, f"{EVIL}/{picture.name}")
        bad = tarfile.TarInfo(f"{EVIL}.png")
        bad.size = 4
        file.addfile(bad, io.BytesIO(b"none"))
    mine = there / f"mine{EVIL}.safetensors"
    assert run("condition", pictures, "-m", model, "-o", mine)[0] == 0
    return {"pictures": pictures, "classes": classes, "model": model, "tar": tar, "mine": mine, "there": there}


def lines_of(evil):
    """A command line for each command, with hostile names wherever it takes any; good and bad ones."""
    p, m, a, t, there = (evil[key] for key in ("pictures", "model", "mine", "tar", "there"))
    first = sorted(p.iterdir())[0]
    out = there / f"o{EVIL}"
    return [
        ("condition", t, "--skip-bad", "-m", m, "-o", f"{out}.safetensors"),
        ("condition", p, "--add", a, "-o", f"{out}1.safetensors"),
        ("condition", t, "-m", m, "-o", f"{out}2.safetensors"),
        ("condition", p, "-m", EVIL, "-o", f"{out}.safetensors"),
        ("condition", there / EVIL, "-m", m, "-o", f"{out}.safetensors"),
        ("encode", p, "-m", m, "-o", f"{out}lat"),
        ("encode", t, "-m", m, "-o", f"{out}lat2"),
        ("encode", p, "-m", m, "-o", p),
        ("sample", a, "-n", 2, "-o", f"{out}.png"),
        ("sample", a, "-n", 2, "-o", f"{out}.png"),
        ("sample", a, "-n", 2, "-o", f"{p}/"),
        ("sample", a, "--learn", EVIL, "-o", f"{out}3.png"),
        ("sweep", p, "-m", m, "-n", 1, "--novelty", "0,1", "-o", f"{out}s.png"),
        ("sweep", p, "-m", m, "-n", 1, "--noise", EVIL, "-o", f"{out}s2.png"),
        ("interpolate", a, a, "--steps", 2, "-n", 1, "-o", f"{out}i.gif"),
        ("interpolate", a, first, "-o", f"{out}i2.gif"),
        ("score", p, "-m", m),
        ("score", p, "-m", m, "--json"),
        ("score", t, "-m", m, "--skip-bad"),
        ("score", t, "-m", m),
        ("reconstruct", p, "-m", m, "-o", f"{out}r.png"),
        ("edit", p, "--towards", a, "-o", f"{out}e.png"),
        ("edit", p, "--to", p, "--path", EVIL, "-m", m, "-o", f"{out}e2.png"),
        ("complete", first, "--hide", "left", "-m", m, "-n", 1, "-o", f"{out}c.png"),
        ("complete", a, "--hide", "left", "-m", m, "-n", 1, "-o", f"{out}c2.png"),
        (
            "classify",
            evil["classes"],
            evil["classes"],
            "-m",
            m,
            "--no-augment",
            "--confusion",
            f"{out}k.png",
            "-o",
            f"{out}.csv",
        ),
        ("classify", evil["classes"], p, "-m", m, "--no-augment", "-o", f"{out}2.csv"),
        ("classify", p, p, "-m", m, "-o", f"{out}3.csv"),
        ("stack", m, m, "-o", f"{out}st.safetensors"),
        ("train", p, "-o", f"{out}t.safetensors", "--groups", first),
        ("train", there / EVIL, "-o", f"{out}t.safetensors"),
        ("demo", "-o", f"{out}d", "-m", EVIL),
        ("check", first, "-m", EVIL),
        ("models", EVIL),
        (EVIL,),
    ]


def test_no_command_prints_a_control_character(run, evil):
    for words in lines_of(evil):
        status, out, err = run(*words)
        assert raw(out + err) == [], words
        assert status in (0, 2), words
        assert not any(line.startswith("transflow: done") for line in (out + err).splitlines()), words
        assert all(line.startswith("transflow: ") for line in err.splitlines()), words


HEADERS = ("model", "fingerprint", "precision", "noise", "learn", "kind", "format", "holds")


@pytest.mark.parametrize("key", HEADERS)
def test_no_word_of_a_header_reaches_the_terminal(run, evil, key, tmp_path):
    tensors, header = load(evil["mine"].read_bytes()), container.header(evil["mine"])
    changed = plain(header | {key: EVIL})
    if key in ("kind", "format"):
        evil["mine"].write_bytes(save(tensors, {"transflow": json.dumps(changed)}))
    else:
        container.write(evil["mine"], "posterior", tensors, changed)
    for words in (("sample", evil["mine"]), ("condition", evil["pictures"], "--add", evil["mine"])):
        status, out, err = run(*words, *(["-o", tmp_path / "x.png"] if words[0] == "sample" else []))
        assert raw(out + err) == []
        assert status in (0, 2)
        assert len(err.splitlines()) <= 3


def test_no_cell_of_a_table_is_a_formula(run, evil, tmp_path):
    table = tmp_path / "table.csv"
    words = ("classify", evil["classes"], evil["classes"], "-m", evil["model"], "--no-augment", "-o", table)
    assert run(*words)[0] == 0
    with open(table, newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'@red" in cells
    assert [cell for cell in cells if re.match(r"[=+@\t\r-](?!\d+(\.\d+)?$)", cell)] == []


def test_a_warning_is_one_line_of_ours(run, monkeypatch):
    def warn(options):
        warnings.warn(f"odd: {EVIL}", UserWarning, stacklevel=1)

    monkeypatch.setattr("transflow.cli.commands.models.run", warn)
    monkeypatch.setattr(warnings, "filters", [("default", None, Warning, None, 0)])
    status, out, err = run("models")
    assert (status, out) == (0, "")
    assert raw(err) == []
    assert err.startswith("transflow: warning: odd: ")
    assert len(err.splitlines()) == 1
