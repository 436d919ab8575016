"""Models of Python code, by ``-m module:attribute``: only when given, and refused in one line where they are none."""

import pytest
from PIL import Image

CODE = """
import torch
from transflow import Gaussian

class Doubling:
    prior = Gaussian.standard(48)
    shape = (3, 4, 4)
    def encode(self, pictures):
        return (pictures.flatten(1) / 255 - 0.5) * 2
    def decode(self, latents):
        return (latents / 2 + 0.5).clamp(0, 1).view(-1, 3, 4, 4)

model = Doubling()
number = 3

def make():
    return Doubling()
"""


@pytest.fixture
def module(run, tmp_path, monkeypatch):
    name = "any_model_of_a_test"
    (tmp_path / "work" / f"{name}.py").write_text(CODE)
    yield name
    import sys

    sys.modules.pop(name, None)


@pytest.mark.parametrize("attribute", ["model", "make"])
def test_a_model_of_code_is_conditioned_and_sampled(run, module, folder, attribute):
    name = f"{module}:{attribute}"
    assert run("condition", folder, "-m", name, "--noise", "0.5m", "-o", "p.safetensors")[0] == 0
    assert run("sample", "p.safetensors", "-m", name, "-n", 4, "--seed", 0, "-o", "x.png")[0] == 0
    assert run("sample", name, "-n", 2, "-o", "prior.png")[0] == 0
    assert run("reconstruct", folder, "-m", name, "-o", "pairs.png")[0] == 0
    with Image.open("x.png") as picture:
        assert min(picture.size) > 4


def test_a_file_that_names_code_does_not_run_it(run, module, folder):
    assert run("condition", folder, "-m", f"{module}:model", "--noise", "0.5m", "-o", "p.safetensors")[0] == 0
    status, out, err = run("sample", "p.safetensors", "-o", "x.png")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "Give it with -m, if you trust it" in err


BAD = {
    "no density": (["score", "FOLDER", "-m", "MODULE:model"], "density"),
    "no module": (["sample", "no_such_module:model", "-o", "x.png"], "Python module to import"),
    "no attribute": (["sample", "MODULE:nothing", "-o", "x.png"], "got no nothing"),
    "no model": (["sample", "MODULE:number", "-o", "x.png"], "transflow.wrap"),
    "a precision": (["sample", "MODULE:model", "--dtype", "float64", "-o", "x.png"], "no precision"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_model_is_one_line(case, run, module, folder):
    words, expected = BAD[case]
    words = [word.replace("MODULE", module).replace("FOLDER", str(folder)) for word in words]
    status, out, err = run(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert expected in err
