"""What is public: names, versions, the commands, the changelog."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import transflow
from transflow.cli.parser import COMMANDS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "transflow"


def test_the_public_names():
    assert sorted(transflow.__all__) == [
        "Encoded", "Evidence", "FewShotClassifier", "Gaussian", "Glow", "GlowConfig", "Latents", "Model",
        "PixelFormat", "Posterior", "TrainConfig", "TransflowTransformer", "__version__", "align", "demo", "load",
        "load_posterior", "models", "paper", "train", "wrap",
    ]  # fmt: skip
    for name in transflow.__all__:
        assert getattr(transflow, name) is not None
    assert not set(transflow.__all__) & {path.stem for path in PACKAGE.iterdir()}, "a module would hide a function"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        transflow.nonsense  # noqa: B018


def test_importing_changes_nothing():
    code = """
import logging, torch
def state():
    torch_state = torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.get_num_threads()
    return torch_state, list(logging.root.handlers)
before = state()
import transflow
for name in transflow.__all__:
    getattr(transflow, name)
assert state() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_and_help_load_no_framework():
    code = """
import sys
import transflow
from transflow.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
slow = {"torch", "numpy", "sklearn", "scipy"} & set(sys.modules)
assert not slow, slow
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_what_is_cited_is_this_version():
    assert f"\nversion: {transflow.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_changelog_begins_with_this_version():
    found = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert found
    assert found[1] == transflow.__version__


def test_the_commands():
    assert list(COMMANDS) == [
        "demo", "app", "models", "paper", "check", "align", "condition", "encode", "sample", "sweep", "interpolate",
        "complete", "edit", "score", "classify", "reconstruct", "train", "stack",
    ]  # fmt: skip


def test_every_command_is_in_the_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()
    for name in COMMANDS:
        assert re.search(rf"`(transflow )?{name}`", text), name
