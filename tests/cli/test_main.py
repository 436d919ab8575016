"""The command line as a program."""

import subprocess
import sys


def test_as_a_program(folder, model_file):
    command = [sys.executable, "-m", "transflow", "score", str(folder / "00.png"), "-m", str(model_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([*command[:-1], "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
