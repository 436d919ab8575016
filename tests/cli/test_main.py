"""The command line as a program: exit statuses, and one line for what went wrong."""

import subprocess
import sys

import pytest

from transflow.cli import main
from transflow.cli.commands import models
from transflow.cli.parser import COMMANDS


def test_as_a_program(folder, model_file):
    command = [sys.executable, "-m", "transflow", "score", str(folder / "00.png"), "-m", str(model_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([*command[:-1], "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_every_command_has_help_arguments_and_run():
    for name, command in COMMANDS.items():
        assert command.__name__ == f"transflow.cli.commands.{name}"
        assert command.HELP[0].islower()
        assert not command.HELP.endswith(".")
        assert callable(command.arguments)
        assert callable(command.run)


FAILURES = {
    "interrupted": (KeyboardInterrupt(), 130, "transflow: interrupted"),
    "no memory": (MemoryError(), 2, "transflow: error: Out of memory."),
    "no memory of a device": (RuntimeError("CUDA out of memory. Tried to"), 2, "transflow: error: Out of memory."),
    "bad input": (ValueError("Expected a; got b\x1b."), 2, r"transflow: error: Expected a; got b\x1b."),
    "a missing extra": (ImportError("Install: pip install x"), 2, "transflow: error: Install: pip install x"),
    "a file": (OSError("Expected a file; got none"), 2, "transflow: error: Expected a file; got none"),
    "a diverged run": (FloatingPointError("Expected a finite loss"), 2, "transflow: error: Expected a finite loss"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_one_line_and_a_status(case, run, monkeypatch):
    error, expected, line = FAILURES[case]

    def fail(options):
        raise error

    monkeypatch.setattr(models, "run", fail)
    status, out, err = run("models")
    assert (status, out) == (expected, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "near", "where"),
    [
        (["smaple"], "near it: sample", "transflow --help"),
        (["train", "x", "-o", "y", "--family", "gow"], "near it: glow", "transflow train --help"),
        (
            ["train", "x", "-o", "y", "--latnt=3"],
            "unrecognized arguments: --latnt=3; near it: --latent",
            "train --help",
        ),
        (
            ["sample", "x", "-o", "y", "--sed", "1"],
            "unrecognized arguments: --sed 1; near it: --seed",
            "transflow sample --help",
        ),
        (["sample", "x", "-o", "y", "--qqqq"], "unrecognized arguments: --qqqq. See", "transflow sample --help"),
        (["train", "x", "-o", "y", "--family", "qqqq"], "invalid choice: 'qqqq'", "transflow train --help"),
    ],
)
def test_a_word_that_is_not_known_gets_a_line_with_what_is_near(run, words, near, where):
    status, out, err = run(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert near in err
    assert err.rstrip().endswith(where)
    assert ("near it" in err) == ("near it" in near)


def test_a_defect_is_seen_whole(monkeypatch):
    def fail(options):
        raise RuntimeError("a defect")

    monkeypatch.setattr(models, "run", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["models"])


def test_a_reader_that_closes_early_is_no_error():
    command = f"{sys.executable} -m transflow models --json | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
