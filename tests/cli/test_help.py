"""Help answers without torch, and gives the defaults and lists of the code."""

import argparse
import re
import subprocess
import sys

import pytest

from transflow import TrainConfig
from transflow.cli import arguments
from transflow.cli.commands import train
from transflow.cli.parser import COMMANDS
from transflow.fewshot.selection import LIKELIHOODS
from transflow.gaussians.noise import parse_noise


def test_the_defaults_in_the_help_of_train_are_those_of_the_configuration():
    parser = argparse.ArgumentParser()
    train.arguments(parser)
    shown = {a.dest: found[1] for a in parser._actions if (found := re.search(r"\(default: ([^)]*)\)", a.help or ""))}
    values = vars(TrainConfig()) | vars(TrainConfig().glow)
    assert len(shown) >= 14
    for name, words in shown.items():
        if name == "device":
            continue
        value = values[name]
        expected = ",".join(map(str, value)) if isinstance(value, tuple) else value
        assert words == (f"{expected:g}" if isinstance(expected, float) else str(expected)), name


def test_the_lists_in_the_help_are_those_of_the_code():
    assert set(re.findall(r'"([a-z]+)"', arguments.CLASS_NOISE)) == set(LIKELIHOODS)
    for word in re.findall(r'"([a-z0-9.:]+)"', arguments.NOISE):
        parse_noise(word)


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS), ["--version"], ["paint"]])
def test_help_loads_neither_torch_nor_sklearn(words):
    code = f"""
import sys
from transflow.cli import main
try:
    main({words})
except SystemExit:
    print([name for name in ("torch", "numpy", "sklearn", "PIL", "tqdm") if name in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
