"""What is made small: the likelihood, the penalty on outliers, the same compiled or not; a missing compiler is told."""

import math
import warnings
from dataclasses import replace

import pytest
import torch

from helpers import CONFIG
from transflow.training.data import draw_inputs
from transflow.training.losses import BatchLoss, nll_per_dim, no_compiler, penalty
from transflow.training.ranks import Ranks
from transflow.training.state import TrainingState


def test_the_likelihood_is_the_normal_density_and_the_log_determinant():
    z, log_det = torch.randn(3, 10, generator=torch.Generator().manual_seed(0)), torch.tensor([0.0, 1.0, -2.0])
    expected = -(torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det) / 10
    torch.testing.assert_close(nll_per_dim(z, log_det), expected)


def test_the_penalty_grows_with_the_logarithm_and_leaves_the_likely_alone():
    assert penalty(torch.tensor([-2.0, 0.0])) == 0
    assert penalty(torch.tensor([12.5, 0.0])).item() == pytest.approx(math.log(13.5) / 2)
    far = torch.tensor([1e30], requires_grad=True)
    penalty(far).backward()
    assert far.grad == 0


def loss_of(pixels, **changes):
    run = TrainingState(replace(CONFIG, precision="float32", **changes), torch.device("cpu"))
    run.initialise(pixels[..., :8, :8])
    return BatchLoss(run, Ranks()), draw_inputs(pixels[..., :8, :8], run)


def test_the_loss_is_the_likelihood_of_pictures_and_the_penalty_of_outliers(pixels):
    loss, inputs = loss_of(pixels, outliers=0.5)
    (x,) = inputs
    assert len(x) == 9
    rows = nll_per_dim(*loss.objective.model(x))
    found, reported = loss(*inputs)
    torch.testing.assert_close(found, rows[:8].mean() + 0.5 * penalty(rows[8:]))
    torch.testing.assert_close(reported, rows[:8].mean().detach())
    assert not reported.requires_grad


def missing(kind):
    """An error of torch.compile as it comes, from the one that says why."""
    from torch._inductor import exc

    if kind == "compiler":
        cause = exc.InvalidCxxCompiler()
    elif kind == "triton":
        cause = exc.TritonMissing(None)
    else:
        text = "fatal error: Python.h: No such file or directory" if kind == "headers" else "internal compiler error"
        cause = exc.CppCompileError(["g++"], text)
    try:
        try:
            raise cause
        except Exception as error:
            raise exc.InductorError(error, None) from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("kind", ["compiler", "triton", "headers"])
def test_without_a_compiler_training_goes_on_and_says_so_once(kind, pixels, monkeypatch):
    def compiling(function):
        def fails(*inputs):
            raise missing(kind)

        return fails

    monkeypatch.setattr(torch, "compile", compiling)
    loss, inputs = loss_of(pixels, compile=True)
    assert loss.compiles
    with pytest.warns(RuntimeWarning, match="goes on uncompiled, as exact but slower: .") as caught:
        first = loss(*inputs)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(first[0], loss(*inputs)[0])
    assert not loss.compiles
    assert torch.equal(first[0], loss_of(pixels)[0](*inputs)[0])


@pytest.mark.parametrize("error", [RuntimeError("a defect"), ValueError("bad"), missing("other")])
def test_what_fails_otherwise_is_raised(error, pixels, monkeypatch):
    def compiling(function):
        def fails(*inputs):
            raise error

        return fails

    monkeypatch.setattr(torch, "compile", compiling)
    loss, inputs = loss_of(pixels, compile=True)
    with pytest.raises(type(error)):
        loss(*inputs)
    assert loss.compiles


def test_a_python_that_torch_cannot_compile_for_is_no_compiler():
    assert no_compiler(RuntimeError("torch.compile is not supported on Python 3.15+")).startswith("torch.compile")
    assert no_compiler(RuntimeError("out of memory")) == ""


def test_reversible_runs_are_not_compiled(pixels):
    assert not loss_of(pixels, compile=True, reversible=True)[0].compiles
