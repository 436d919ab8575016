"""The command `check` prints what Python measures, as a table or as JSON."""

import json

import pytest

from transflow.conditioning.check import check


def test_check_prints_what_python_measures(run, folder, model_file, model):
    status, out, _ = run("check", folder, "-m", model_file, "--json")
    assert status == 0
    found, expected = json.loads(out), check(model, folder).plain()
    assert found.keys() == expected.keys()
    for name in ("family", "shape", "dim", "density", "distances"):
        assert found[name] == expected[name], name
    assert found["gaussianity"]["deviation"] == pytest.approx(expected["gaussianity"]["deviation"], rel=1e-4)
    assert 0 <= found["few_shot"] <= 1


def test_check_of_a_model_alone_prints_a_table(run, model_file):
    status, out, _ = run("check", "-m", model_file, "--no-digits")
    assert status == 0
    assert "round trip, samples" in out
    assert "digits" not in out
    starts = {len(line) - len(line.split("  ", 1)[1].lstrip()) for line in out.splitlines()}
    assert len(starts) == 1, "values begin in one column"
