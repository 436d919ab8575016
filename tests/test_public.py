"""What is public: names, versions, the commands and the Python of the README."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import transflow

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "transflow"


def test_the_public_names():
    assert sorted(transflow.__all__) == [
        "Encoded", "Evidence", "FewShotClassifier", "Gaussian", "Glow", "GlowConfig", "Latents", "Model", "Posterior",
        "TrainConfig", "__version__", "demo", "load", "load_posterior", "models", "train", "wrap",
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


def test_the_changelog_begins_with_this_version():
    found = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert found
    assert found[1] == transflow.__version__


def test_the_python_of_the_readme_runs(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder.rename(tmp_path / "my-pictures")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    scope = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), scope)


def test_the_commands_of_the_readme_exist():
    from transflow.cli import parser

    lines = re.findall(r"^transflow (.+)$", (ROOT / "README.md").read_text(), re.M)
    assert len(lines) >= 9
    for line in lines:
        words = line.split("#")[0].split()
        if words[0] not in ("--help", "--version"):
            parser().parse_args(words)
