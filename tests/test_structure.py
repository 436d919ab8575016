"""The house rules that a machine can hold: who may know whom, public names, what the texts say."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import transflow

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "transflow"
LEVELS = {
    1: [
        "evidence", "covariance", "images", "metrics", "figures", "hub", "augment", "calibration", "sklearn_parts",
        "parallel", "strange", "listing", "store", "pictures",
    ],
    2: ["gaussian"],
    3: ["generative", "posterior", "data", "likelihoods"],
    4: ["paths", "experts", "checkpoint"],
    5: ["streaming", "run", "classifier"],
    6: ["transfer"],
    7: ["library", "training", "views"],
    8: ["showcase", "estimator", "cluster"],
    9: ["evaluation"],
    10: ["cli"],
}  # fmt: skip
LEVEL = {name: level for level, names in LEVELS.items() for name in names}
INFERENCE = {"evidence", "covariance", "gaussian", "posterior", "paths", "likelihoods", "experts", "classifier"}
OUTSIDE = {
    "argparse": "cli", "tqdm": "cli", "torch.optim": "run", "torch.distributed": "parallel",
    "sklearn": "sklearn_parts", "ray": "cluster",
}  # fmt: skip


def modules():
    return sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or not p.name.startswith("__"))


def home(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Every module that a file imports at run time, wherever in the file."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "transflow" and len(parts) > 1 and parts[1] in LEVEL:
            yield parts[1]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down_only(path):
    here = home(path)
    assert here in LEVEL, f"{here} has no level"
    for there in set(own(path)) - {here}:
        assert LEVEL[there] < LEVEL[here], f"{here} imports {there}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_inference_and_models_do_not_know_each_other(path):
    here, known = home(path), set(own(path))
    if here in INFERENCE:
        assert "generative" not in known
    if here == "generative":
        assert known & INFERENCE <= {"gaussian"}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_one_home_for_each_outside_world(path):
    for name in imports(path):
        for world, where in OUTSIDE.items():
            if name == world or name.startswith(world + "."):
                assert home(path) == where
    assert not re.search(r"\bprint\(", path.read_text()) or home(path) == "cli"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_has_one_idea_and_opens_with_it(path):
    assert len(path.read_text().splitlines()) <= 420
    if path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_public_names():
    assert sorted(transflow.__all__) == [
        "Encoded", "Evidence", "FewShotClassifier", "Gaussian", "Glow", "GlowConfig", "Latents", "Model", "Posterior",
        "TrainConfig", "__version__", "demo", "load", "load_posterior", "models", "train",
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
