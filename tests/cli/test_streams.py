"""A program without a terminal, and paths of one's own folder."""

import sys

from transflow.cli import main


def test_closed_streams_are_no_failure(folder, model_file, tmp_path, monkeypatch):
    target = tmp_path / "p.safetensors"
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    try:
        assert main(["condition", str(folder), "-m", str(model_file), "-o", str(target)]) == 0
        assert main(["condition", str(tmp_path / "none"), "-m", str(model_file), "-o", str(target)]) == 2
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.close()
    assert target.exists()


def test_a_path_may_begin_with_ones_own_folder(run, folder, model_file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.safetensors").write_bytes(model_file.read_bytes())
    assert run("condition", "~/pictures", "-m", "~/own.safetensors", "--output=~/p.safetensors")[0] == 0
    assert run("sample", "~/p.safetensors", "-n", 1, "-o~/out/")[0] == 0
    assert run("encode", "~/pictures", "-m", "~/own.safetensors", "--output=~/lat")[0] == 0
    assert (tmp_path / "out" / "0000.png").exists()
    assert (tmp_path / "lat" / "index.safetensors").exists()
