"""The command that measures a model: a table for people, JSON for scripts."""

import json

import pytest

from transflow import load
from transflow.cli import main
from transflow.estimators.digits import digit_accuracy


def test_a_table_for_people_and_json_for_scripts(model_file, folder, capsys):
    assert main(["check", str(folder), "-m", str(model_file)]) == 0
    table = capsys.readouterr().out
    for words in ("round trip, photographs", "round trip, noise", "latents", "density", "digits, 10 a class"):
        assert words in table
    assert main(["check", "-m", str(model_file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shape"] == [3, 16, 16]
    assert found["round_trips"][0]["kind"] == "samples"
    assert found["round_trips"][0]["error"] < 1e-4
    assert found["few_shot"] == pytest.approx(digit_accuracy(load(model_file)))
    assert found["few_shot"] > 0.5


def test_what_is_no_picture_is_refused(model_file, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no picture")
    assert main(["check", str(tmp_path), "-m", str(model_file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
