"""The command `score` prints a table for people, or JSON; bad pictures can be skipped."""

import json

import pytest
import torch

from transflow.cli.messages import say_json


def test_score_prints_a_table_or_json(run, folder, model_file, model, pixels):
    status, out, _ = run("score", folder, "-m", model_file, "--json")
    rows = json.loads(out)
    assert status == 0
    assert [set(r) for r in rows] == [{"picture", "log_prob", "bits_per_dim", "radius"}] * 12
    assert [r["log_prob"] for r in rows] == pytest.approx(model.log_prob(pixels).tolist())
    _, out, _ = run("score", folder, "-m", model_file)
    assert len(out.splitlines()) == 13


def test_bad_pictures_can_be_skipped(run, folder, model_file):
    (folder / "zero.png").write_bytes(b"")
    status, out, err = run("score", folder, "-m", model_file, "--json", "--skip-bad")
    assert status == 0
    assert len(json.loads(out)) == 12
    assert "skipped" in err
    assert "zero.png" in err


def test_a_log_density_that_is_none_is_an_error_that_names_the_picture(run, folder, model_file, monkeypatch):
    from transflow.conditioning.model import Model

    def infinite(self, pixels, names=()):
        return torch.zeros(len(pixels), self.dim), torch.full((len(pixels),), -torch.inf, dtype=torch.float64)

    monkeypatch.setattr(Model, "score_pixels", infinite)
    for more in ([], ["--json"]):
        status, out, err = run("score", folder, "-m", model_file, *more)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "00.png" in err


def test_json_has_no_nan(capsys):
    say_json({"a": [float("nan"), 1.0, (float("inf"),)], "b": 2})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {"a": [None, 1.0, [None]], "b": 2}
