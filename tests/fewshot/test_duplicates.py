"""An example that is given twice counts once: the classifier is the one of each given once."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from transflow import FewShotClassifier
from transflow.fewshot.duplicates import distinct


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x, y = found.data[order].astype(np.float32), found.target[order]
    examples = np.concatenate([np.flatnonzero(y == c)[:5] for c in range(10)])
    others = np.setdiff1d(np.arange(len(y)), examples)[:300]
    return x[examples], y[examples], x[others]


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_digits_given_twice_are_those_given_once(digits, noise):
    x, y, queries = digits
    again = x + noise * np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    once = FewShotClassifier().fit(x, y)
    twice = FewShotClassifier().fit(np.concatenate([x, again]), np.concatenate([y, y]))
    assert (twice.predict_proba(queries) == once.predict_proba(queries)).all()
    rejected = (twice.predict_or_reject(queries, 0.01) == None).sum()  # noqa: E711
    assert rejected == (once.predict_or_reject(queries, 0.01) == None).sum() < 30  # noqa: E711
    assert "50 of 100 examples are equal" in twice.choice_.note
    assert once.choice_.note == ""
    left = twice.forget(again[:1], y[:1])
    assert "49 of 99" in left.choice_.note


def test_near_ones_of_few_dimensions_are_examples_of_their_own():
    x = torch.linspace(0, 1, 100)[:, None]
    labels, keys = torch.zeros(100, dtype=torch.long), [str(i) for i in range(100)]
    assert distinct(x, labels, keys).all()
    assert distinct(x, labels, ["same"] * 100).sum() == 1
    assert distinct(torch.cat([x, x]), torch.arange(200) // 100, keys * 2).all()  # equal ones of two classes
