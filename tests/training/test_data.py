"""What a step is shown: every picture once an epoch, groups held out whole."""

import os
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import transflow
from helpers import CONFIG
from transflow.pictures import decode as data
from transflow.training.data import draw_batch, group_of, read_groups, split
from transflow.training.state import TrainingState


def test_groups_are_held_out_whole(folder, tmp_path):
    read = data.read(folder, (3, 8, 8))
    path = tmp_path / "groups.csv"
    path.write_text("file,person\n" + "".join(f"{i:02d}.png,{i // 3}\n" for i in range(12)))
    table = read_groups(path)
    training, held_out = split(read, replace(CONFIG, held_out=0.25), table)
    assert (len(training), len(held_out)) == (9, 3)
    where = [i for i in range(12) if any(torch.equal(read.pixels[i], h) for h in held_out)]
    assert len({i // 3 for i in where}) == 1
    with pytest.raises(ValueError, match=r"got none for .*01\.png"):
        split(read, CONFIG, {"00.png": "1"})
    path.write_text("00.png,1\n00.png,2\n")
    with pytest.raises(ValueError, match="in one group"):
        read_groups(path)


def test_every_picture_is_shown_once_an_epoch(folder):
    pixels = torch.arange(12, dtype=torch.uint8).mul(8)[:, None, None, None].expand(12, 3, 8, 8)
    run = TrainingState(replace(CONFIG, flip=False), torch.device("cpu"))
    shown = []
    for _ in range(3):
        shown += ((draw_batch(pixels, run)[:, 0, 0, 0] + 0.5) * 32).floor().int().tolist()
        run.seen += 8
    assert sorted(shown[:12]) == sorted(shown[12:]) == list(range(12))
    assert shown[:12] != shown[12:]


NAMES = {"a/p0.png": "1", "b/p0.png": "2", "caf\u00e9.png": "3", "cafe\u0301s.png": "4", "x,y.png": "5"}
FORMS = {
    "commas": lambda rows: "\n".join(f'"{name}",{group}' for name, group in rows).encode(),
    "a BOM": lambda rows: "\r\n".join(f'"{name}",{group}' for name, group in rows).encode("utf-8-sig"),
    "semicolons": lambda rows: "\n".join(f"{name};{group}" for name, group in rows).encode("utf-8-sig"),
    "tabs": lambda rows: "\n".join(f"{name}\t{group}\tmore" for name, group in rows).encode(),
    "UTF-16": lambda rows: "\n".join(f"{name}\t{group}" for name, group in rows).encode("utf-16"),
    "NFC": lambda rows: FORMS["tabs"]((unicodedata.normalize("NFC", name), group) for name, group in rows),
    "NFD": lambda rows: FORMS["tabs"]((unicodedata.normalize("NFD", name), group) for name, group in rows),
    "Windows": lambda rows: FORMS["tabs"]((".\\" + name.replace("/", "\\"), group) for name, group in rows),
    "from above": lambda rows: FORMS["tabs"]((f"data/{name}", group) for name, group in rows),
}


@pytest.mark.parametrize("form", FORMS)
def test_groups_are_found_in_every_form_of_the_table(form, tmp_path):
    path = tmp_path / "groups.csv"
    path.write_bytes(FORMS[form](NAMES.items()))
    table = read_groups(path)
    for kind in ("NFC", "NFD"):
        found = {name: group_of(f"/home/me/data/{unicodedata.normalize(kind, name)}", table) for name in NAMES}
        assert found == NAMES


def test_a_name_alone_stands_for_files_of_that_name_in_any_folder(tmp_path):
    table = {"p0.png": "1", "b/p0.png": "2"}
    assert [group_of(name, table) for name in ("a/p0.png", "b/p0.png", "c/b/p0.png")] == ["1", "2", "2"]
    with pytest.raises(ValueError, match=r"got none for a/p1\.png"):
        group_of("a/p1.png", table)


def test_groups_are_read_in_any_locale(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_bytes("caf\u00e9.png,1\n".encode())
    name = "os.fsdecode(b'/x/caf\\xc3\\xa9.png')"
    code = "import os; from transflow.training.data import group_of, read_groups; "
    code += f"print(group_of({name}, read_groups({str(path)!r})))"
    source = str(Path(transflow.__file__).parent.parent)
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": source}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"
