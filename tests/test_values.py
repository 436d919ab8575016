"""Public values in programs and notebooks: equal by identity, hashable, one line each; the same bits under autocast."""

import functools
import pickle

import numpy as np
import pytest
import torch

from transflow import Evidence, FewShotClassifier, load, load_posterior, train


@pytest.fixture
def values(model, pixels):
    posterior = model.condition(pixels, "0.5m")
    encoded = next(model.stream(pixels))
    found = [model, model.source, posterior, posterior.evidence, posterior.gaussian, posterior.gaussian.covariance]
    return [*found, model.score(pixels), model.reconstruct(pixels), encoded]


def test_values_are_equal_by_identity_and_can_be_keys(values, model_file):
    for value in values:
        assert value == value
        assert value in [None, value]
        assert {value: 1}[value] == 1
        assert functools.lru_cache(lambda value: 1)(value) == 1
        assert pickle.loads(pickle.dumps(value)) != value
    assert load(model_file) != values[0]


def test_a_value_is_shown_in_one_line(values):
    for value in values:
        assert "\n" not in repr(value)
        assert len(repr(value)) < 400
    assert "3 x 16 x 16" in repr(values[0])
    assert "float32" in repr(values[0])


def test_autocast_around_a_call_changes_no_bit(model_file, pixels):
    labels = [0, 1] * 6
    model = load(model_file)

    def numbers():
        other = load(model_file)
        z = other.encode(pixels)
        yield from (z, other.decode(z), other.score(pixels).log_prob, other.features_of(pixels))
        yield other.condition(pixels).pictures(2, seed=0)
        yield torch.from_numpy(FewShotClassifier(other).fit(pixels, labels).predict_proba(pixels))
        yield model.encode(pixels)

    outside = list(numbers())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = list(numbers())
    for a, b in zip(outside, inside, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


SLIPS = {
    "a picture by a word": (lambda p: p.vary("a"), "the number of an evidence picture as a whole number"),
    "one noise for a sweep": (lambda p: p.model.sweep("x", 0.5), "Expected noises as a list"),
    "one word for a sweep": (lambda p: p.model.sweep("x", "0.5m"), r"Give \['0.5m'\]"),
    "an empty path": (lambda p: p.add(""), "got an empty one"),
    "no path": (lambda p: p.save(None), "Expected a path; got NoneType"),
    "a picture where files are kept": (lambda p: p.model.latents(3, "x"), "by path or open; got int"),
    "a model's name for a model": (lambda p: load_posterior("x", "faces-32"), "Expected a model; got str"),
    "a dict for a config": (lambda p: train("x", "y.safetensors", {"epochs": 1}), "Expected a TrainConfig; got dict"),
    "a seed as a generator": (lambda p: p.pictures(4, 0), "torch.Generator"),
    "a file as a posterior": (lambda p: p.strip("file"), "Expected a posterior"),
    "a list as evidence": (lambda p: Evidence.of([[1.0]]), "tensor or an array"),
    "samples as a float": (lambda p: p.pictures(4.0), "whole number"),
    "nothing as a model": (lambda p: load(None), "model's name or file"),
    "a model as a model": (lambda p: load(p.model), "model's name or file"),
    "a device that is not there": (lambda p: load("faces-32", device=99), "Expected a device"),
    "a precision that is none": (lambda p: load("faces-32", dtype="half"), "Expected precision"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_in_our_words(slip, model, pixels):
    call, words = SLIPS[slip]
    with pytest.raises((ValueError, TypeError), match=words):
        call(model.condition(pixels))


def test_evidence_of_an_array_is_that_of_the_tensor():
    z = np.arange(6.0).reshape(3, 2)
    assert torch.equal(Evidence.of(z).scatter, Evidence.of(torch.from_numpy(z)).scatter)
    assert load("faces-32", dtype="bfloat16").precision == "bfloat16"
