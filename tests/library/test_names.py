"""Models by name: code is run only when somebody asks for it by name, and what cannot be found is said in one line."""

import json
import sys
from importlib.metadata import EntryPoint

import pytest
import torch

from transflow import Model, load, load_posterior
from transflow.cli import main
from transflow.library import names

CODE = """
import torch
from transflow import Gaussian

class Doubling:
    prior = Gaussian.standard(4)
    shape = (1, 2, 2)
    fingerprint = "d" * 64

    def encode(self, pictures):
        return pictures.flatten(1) * (2 / 255)

    def decode(self, latents):
        return latents.view(-1, 1, 2, 2) / 2

model = Doubling()
number = 3

def make():
    return Doubling()

def needs(argument):
    return Doubling()

def fails():
    raise KeyError("weights")

def leaves():
    raise SystemExit(7)

class Outer:
    inner = Doubling()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a user's in the current folder; its name."""
    monkeypatch.chdir(tmp_path)
    name = f"users_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE)
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def grey(tmp_path):
    from PIL import Image

    folder = tmp_path / "grey"
    folder.mkdir()
    for i in range(4):
        Image.new("L", (2, 2), 60 * i).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("attribute", ["model", "make", "Outer.inner"])
def test_a_users_model_is_found_in_a_module(module, attribute):
    before = list(sys.path)
    model = load(f"{module}:{attribute}")
    assert isinstance(model, Model)
    assert (model.name, model.shape, model.file) == (f"{module}:{attribute}", (1, 2, 2), None)
    assert sys.path == before


def test_everything_works_with_a_users_model(module, grey, tmp_path, capsys):
    name, kept = f"{module}:model", str(tmp_path / "p.safetensors")
    assert main(["condition", str(grey), "-m", name, "-o", kept, "--noise", "1m"]) == 0
    assert main(["sample", kept, "-m", name, "-n", "2", "-o", str(tmp_path / "s.png")]) == 0
    assert main(["reconstruct", str(grey), "-m", name, "-o", str(tmp_path / "r.png")]) == 0
    assert main(["sweep", str(grey), "-m", name, "-n", "2", "-o", str(tmp_path / "w.png")]) == 0
    assert main(["encode", str(grey), "-m", name, "-o", str(tmp_path / "latents")]) == 0
    assert main(["interpolate", kept, kept, "-m", name, "-o", str(tmp_path / "i.gif")]) == 0
    assert main(["condition", str(grey), "-m", name, "--remove", kept, "-o", str(tmp_path / "q.safetensors")]) == 0
    capsys.readouterr()
    assert main(["score", str(grey), "-m", name]) == 2
    assert "Expected a model with a density" in capsys.readouterr().err


def test_a_posterior_file_runs_no_code(module, grey, tmp_path):
    load(f"{module}:model").condition(grey, "1m").save(tmp_path / "p.safetensors")
    sys.modules.pop(module)
    with pytest.raises(ValueError, match="Python code to run"):
        load_posterior(tmp_path / "p.safetensors")
    assert module not in sys.modules
    assert load_posterior(tmp_path / "p.safetensors", load(f"{module}:model")).evidence.count == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:model", "Expected a Python module to import; got no_such_module"),
        ("{module}:nothing", "got no nothing. It has: .*model"),
        ("{module}:number", "Expected a model at .*number; got int"),
        ("{module}:Doubling", "got the class Doubling. Name an instance"),
        ("{module}:needs", "a function without arguments; got one that needs some"),
        ("{module}:fails", "to return a model; got KeyError: 'weights'"),
        ("{module}:leaves", "to return a model; got SystemExit: 7"),
        ("broken:model", "got broken .ZeroDivisionError: "),
        ("leaving:model", "got leaving .SystemExit: bye"),
        ("json:model", r"Expected a model in json \(.*json.__init__.py\); got no model"),
        ("checkpoint:", "after checkpoint:; got nothing"),
        ("diffusers:", "after diffusers:; got nothing"),
        ("no-such-file", "Expected a model: faces-32.* checkpoint:FILE"),
    ],
)
def test_what_is_no_model_is_said_in_one_line(module, tmp_path, name, words, capsys):
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "leaving.py").write_text("import sys; sys.exit('bye')")
    name = name.format(module=module)
    with pytest.raises((ImportError, TypeError, ValueError, FileNotFoundError), match=words):
        load(name)
    assert main(["sample", name, "-m", name, "-o", str(tmp_path / "s.png")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_another_package_registers_names(module, monkeypatch):
    point = EntryPoint("theirs", f"{module}:make", names.GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] if group == names.GROUP else [])
    assert load("theirs").shape == (1, 2, 2)
    assert names.is_code("theirs")


def test_a_file_wins_over_code_and_a_bundled_name_over_all(model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:name").write_bytes(model_file.read_bytes())
    assert load("odd:name").file is not None
    assert load("faces-32").file.parent == names.FOLDER


def test_code_says_itself_how_it_computes(module):
    with pytest.raises(ValueError, match="its code says how"):
        load(f"{module}:model", dtype=torch.float64)


def test_what_a_users_module_prints_is_no_part_of_the_result(module, grey, tmp_path, capsys):
    (tmp_path / f"{module}_loud.py").write_text(f"print('hello')\nfrom {module} import model")
    assert main(["check", str(grey), "-m", f"{module}_loud:model", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["dim"] == 4
    assert "hello" in err
