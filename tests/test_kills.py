"""Killed at a move of a file, an operation leaves the old or the new whole, and its next run goes on (`kills`)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import kills

HERE = Path(__file__).parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("operations", [("train",), kills.OPERATIONS[1:]], ids=["train", "others"])
def test_a_kill_at_a_move_of_a_file_loses_nothing(operations, tmp_path, model_file, pixels):
    shutil.copy(model_file, tmp_path / "m.safetensors")
    for name, chosen in (("pictures", pixels), ("more", pixels[8:10])):
        (tmp_path / name).mkdir()
        for i, picture in enumerate(chosen):
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / name / f"{i:02d}.png")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    how = {"capture_output": True, "text": True, "timeout": 600, "env": environment, "check": False}
    ended = subprocess.run([sys.executable, str(HERE / "kills.py"), str(tmp_path), *operations], **how)
    assert (ended.returncode, ended.stderr[-2000:]) == (0, "")
    assert [line.split(":")[0] for line in ended.stdout.splitlines()] == list(operations)
