"""Paths between Gaussians: their ends, their middle, and the length of samples on them."""

import math

import pytest
import torch

from transflow import Gaussian
from transflow.gaussians.interpolation import interpolate, straight_lines

A, B = Gaussian.of(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])), Gaussian.of(torch.ones(3), 5.0, torch.eye(3)[:, :1])


def test_ends_are_the_two_gaussians_and_steps_are_equal():
    path = interpolate(A, B, 5)
    for end, found in ((A, path[0]), (B, path[-1])):
        torch.testing.assert_close(found.mean, end.mean)
        torch.testing.assert_close(found.covariance.dense().matrix, end.covariance.dense().matrix)
    torch.testing.assert_close(path[1].mean, torch.full((3,), 0.25, dtype=torch.float64))
    expected = 0.75 * A.covariance.dense().matrix + 0.25 * B.covariance.dense().matrix
    torch.testing.assert_close(path[1].covariance.dense().matrix, expected)


def test_straight_lines_are_shorter_halfway():
    a, b = (Gaussian.standard(4000).sample(8, seed=seed) for seed in (0, 1))
    lines = straight_lines(a, b, 5)
    assert torch.equal(lines[0], a)
    assert torch.equal(lines[-1], b)
    torch.testing.assert_close(lines[1], 0.75 * a + 0.25 * b)
    assert (lines[2].norm(dim=1) / a.norm(dim=1)).mean().item() == pytest.approx(1 / math.sqrt(2), rel=0.03)


def test_bad_ends_and_steps_are_refused():
    with pytest.raises(ValueError, match="same D"):
        interpolate(A, Gaussian.standard(2), 3)
    with pytest.raises(ValueError, match="one shape"):
        straight_lines(torch.zeros(2, 3), torch.zeros(3, 3), 3)
    with pytest.raises(ValueError, match="2 or more"):
        interpolate(A, B, 1)
