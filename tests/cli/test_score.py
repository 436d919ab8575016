"""The command `score` prints a table for people, or JSON; bad pictures can be skipped."""

import json

import pytest


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
