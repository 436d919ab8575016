"""Novelty: the same number means the same distance from a parent, of parents and of the mixture."""

import math

import numpy as np
import pytest
import torch

from transflow.gaussians.learn import parse_learn
from transflow.gaussians.mixture import Mixture
from transflow.gaussians.novelty import Weights, bandwidth_of, novelty_of_bandwidth, weights_for
from transflow.gaussians.parents import Parents

STEPS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75]


@pytest.mark.parametrize("novelty", STEPS)
def test_weights_have_the_novelty_that_was_asked_for(novelty):
    weights = weights_for(novelty, 200)
    assert weights.novelty == pytest.approx(novelty, abs=0.002)
    assert novelty_of_bandwidth(bandwidth_of(novelty)) == pytest.approx(novelty)
    w = weights.of(torch.randn(50_000, weights.count, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(w.square().sum(1), torch.ones(50_000, dtype=torch.float64))
    assert (w > 0).all()
    assert weights.effective == pytest.approx(1 / w.pow(4).sum(1).mean().item(), rel=0.01)
    assert weights.squared_sum == pytest.approx(w.sum(1).square().mean().item(), rel=0.01)
    assert weights.largest == pytest.approx(w.max(1).values.mean().item(), rel=0.01)


def test_more_novelty_is_more_parents_up_to_half_of_the_pictures_then_the_gaussian():
    counts = [weights_for(novelty, 24).count for novelty in (0, 0.3, 0.5, 0.6, 0.7, 0.75)]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] <= 12
    assert weights_for(0.95, 24) is None
    assert weights_for(0.6, 4) is None
    assert weights_for(1, 10**6) is None


@pytest.mark.parametrize("novelty", [0.1, 0.3, 0.5, 0.65])
def test_both_ways_lie_as_far_from_their_parent(novelty):
    z = torch.randn(40, 3000, generator=torch.Generator().manual_seed(0))
    others = torch.cdist(z, z)[0, 1:].mean()
    for way in (Parents.of(z, weights_for(novelty, 40)), Mixture.of(z, bandwidth_of(novelty))):
        nearest = torch.cdist(way.sample(200, seed=0), z).min(1).values
        assert nearest.square().mean().sqrt() / others == pytest.approx(novelty, abs=0.03)
        assert nearest.std() / others < 0.08  # each of them, not on average


def test_equal_weights_are_known_in_closed_form():
    assert Weights(4, 0.0).effective == Weights(4, 0.0).squared_sum == 4
    assert Weights(4, 0.0).novelty == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("bad", [-0.1, 1.5, math.nan, "much", True])
def test_a_bad_novelty_is_refused(bad):
    for rule in (bandwidth_of, lambda value: weights_for(value, 10)):
        with pytest.raises(ValueError, match="a novelty from 0"):
            rule(bad)


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5)])
def test_numbers_of_numpy_and_torch_are_taken(number):
    assert bandwidth_of(number) == pytest.approx(bandwidth_of(0.5))
    found = parse_learn("mixture", number)
    assert (found.novelty, type(found.novelty)) == (0.5, float)
    assert Weights(np.int64(3)) == Weights(torch.tensor(3)) == Weights(3)
