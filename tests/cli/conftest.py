"""Commands run in an empty folder, and a posterior made by one."""

import pytest

from transflow.cli import main


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
