"""Pictures from pictures, beside transflow: a stopped run is the one that was not; an answer is a picture's own."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent.parent / "benchmarks"
PLACES = [str(HERE / "beside"), str(HERE)]
NAMES = ("method", "regression", "pix2pix")


@pytest.fixture
def modules(monkeypatch):
    sys.path[:0] = PLACES
    found = {name: import_module(name) for name in NAMES}
    for name in NAMES[1:]:
        monkeypatch.setattr(found[name], "WIDTHS", (8, 8, 8, 8, 8))
    yield found
    del sys.path[: len(PLACES)]
    for name in NAMES:
        sys.modules.pop(name)


def pairs(n, channels=1):
    """Inputs and outputs, both noise."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (n, c, 32, 32), generator=generator, dtype=torch.uint8) for c in (channels, 3)]


def fitted(modules, name, folder, steps, channels=1):
    none = torch.zeros(0, 3, 32, 32, dtype=torch.uint8)
    task = modules["method"].Task("pairs", none, none, none, none, 0, 10.0, folder)
    return modules[name].fit(*pairs(60, channels), task, steps=steps)[0]


def test_answers_do_not_depend_on_what_is_beside_them(modules, tmp_path):
    inputs, _ = pairs(60)
    network = fitted(modules, "regression", tmp_path, 2)
    alone = modules["regression"].answers(network, inputs[3:4])
    together = modules["regression"].answers(network, inputs)[3:4]
    assert (alone.int() - together.int()).abs().max() <= 1  # of 255: sums in another order


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_stopped_run_is_the_run_that_was_not(name, modules, tmp_path):
    whole = fitted(modules, name, tmp_path / "whole", 4).state_dict()
    fitted(modules, name, tmp_path / "parts", 2)
    gone_on = fitted(modules, name, tmp_path / "parts", 4).state_dict()
    assert all(torch.equal(value, gone_on[key]) for key, value in whole.items())


def test_draws_of_dropout_differ_and_are_repeated_by_their_seed(modules, tmp_path):
    draws, inputs = modules["pix2pix"].draws, pairs(3, 2)[0]
    network = fitted(modules, "pix2pix", tmp_path, 2, channels=2)
    before = torch.get_rng_state()
    made = draws(network, inputs, 5, 0)
    assert made.shape == (3, 5, 3, 32, 32)
    assert torch.equal(made, draws(network, inputs, 5, 0))
    assert not torch.equal(made, draws(network, inputs, 5, 1))
    assert not torch.equal(made[:, 0], made[:, 1])
    assert torch.equal(before, torch.get_rng_state())


def test_the_adversary_sees_patches_of_16_pixels(modules):
    adversary = modules["pix2pix"].PatchGAN(1).eval()
    y = torch.zeros(1, 3, 32, 32, requires_grad=True)
    adversary(torch.zeros(1, 1, 32, 32), y)[0, 0, 7, 7].backward()
    seen = y.grad.abs().sum(1)[0] > 0
    assert seen.any(0).sum() == seen.any(1).sum() == 16
