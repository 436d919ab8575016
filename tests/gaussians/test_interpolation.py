"""Paths between Gaussians: their ends, their middle, and the length of samples on them."""

import math

import pytest
import torch

from transflow import Gaussian
from transflow.gaussians.bures import Transport
from transflow.gaussians.interpolation import deviations_between, follow, interpolate, samples_between, straight_lines
from transflow.gaussians.parents import Parents

A, B = Gaussian.of(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])), Gaussian.of(torch.ones(3), 5.0, torch.eye(3)[:, :1])


def test_ends_are_the_two_gaussians_and_steps_are_equal():
    path = interpolate(A, B, 5)
    for end, found in ((A, path[0]), (B, path[-1])):
        torch.testing.assert_close(found.mean, end.mean)
        torch.testing.assert_close(found.covariance.dense().matrix, end.covariance.dense().matrix)
    torch.testing.assert_close(path[1].mean, torch.full((3,), 0.25, dtype=torch.float64))


def test_between_multiples_of_i_it_is_the_papers_path_through_the_parameters():
    path = interpolate(Gaussian.of(torch.zeros(3), 1.0), Gaussian.of(torch.ones(3), 0.2), 5)
    for stop, expected in zip(path, (1.0, 0.8, 0.6, 0.4, 0.2), strict=True):
        torch.testing.assert_close(stop.covariance.variances(), torch.full((3,), expected, dtype=torch.float64))


def test_it_is_the_shortest_way_at_full_length():
    path, way = interpolate(A, B, 5), Transport.between(A, B)
    for i, stop in enumerate(path):
        exact = way.at(i / 4).covariance.dense().matrix
        found = stop.covariance.dense().matrix
        torch.testing.assert_close(found / found.trace(), exact / exact.trace())
        assert found.trace().item() == pytest.approx((1 - i / 4) * 6 + i / 4 * 16)


def test_unrelated_directions_do_not_shorten_samples_on_the_way():
    g = torch.Generator().manual_seed(0)
    a, b = (Gaussian.of(torch.zeros(4000), 0.05, torch.randn(4000, 20, generator=g) / 5) for _ in range(2))
    radii = [stop.squared_radius() for stop in interpolate(a, b, 3)]
    assert radii[1] == pytest.approx((radii[0] + radii[2]) / 2)
    assert Transport.between(a, b).at(0.5).squared_radius() < 0.7 * radii[1]
    lengths = follow(a, b, 3, 300, seed=0).square().mean((1, 2))
    torch.testing.assert_close(lengths, torch.tensor(radii, dtype=torch.float32), rtol=0.1, atol=0)


@pytest.mark.parametrize("ends", [(A, B), (Gaussian.of(torch.zeros(3), 1.0), Gaussian.of(torch.ones(3), 0.2))])
def test_samples_that_are_followed_are_of_each_stop(ends):
    steps = follow(*ends, 3, 100_000, seed=0).double()
    for z, stop in zip(steps, interpolate(*ends, 3), strict=True):
        torch.testing.assert_close(z.mean(0), stop.mean, atol=0.03, rtol=0)
        torch.testing.assert_close(z.T.cov(), stop.covariance.dense().matrix, atol=0.1, rtol=0.02)
    assert torch.equal(steps[0].float(), ends[0].sample(100_000, seed=0))
    between = torch.stack([steps[0], steps[2]]).mean(0) - steps[1]
    assert between.norm(dim=1).mean() < 0.5 * (steps[0] - steps[2]).norm(dim=1).mean()  # the same draws all the way
    assert torch.equal(steps.float(), follow(*ends, 3, 100_000, seed=0))
    assert follow(*ends, 2, 3).shape == (2, 3, 3)
    cold = follow(*ends, 3, 4, temperature=0.0)
    torch.testing.assert_close(cold[1], torch.full((4, 3), 0.5))


def test_large_covariances_that_no_span_holds_go_through_the_parameters():
    a = Gaussian.of(torch.zeros(3000), torch.linspace(0.5, 2, 3000), torch.ones(3000, 1))
    middle = interpolate(a, Gaussian.standard(3000), 3)[1].covariance
    torch.testing.assert_close(middle.variances(), (a.covariance.variances() + 1) / 2)


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


def test_samples_of_any_distributions_have_the_moments_between_both_ends():
    z = [torch.randn(6, 3, generator=torch.Generator().manual_seed(seed)) + seed for seed in (0, 3)]
    ends = [Parents.of(latents, 2) for latents in z]
    way = samples_between(*ends, 3, 40_000, seed=0).double()
    torch.testing.assert_close(way[0].float(), ends[0].sample(40_000, seed=0))
    torch.testing.assert_close(way[2].float(), ends[1].sample(40_000, seed=1))
    torch.testing.assert_close(way[1].mean(0), (ends[0].mean + ends[1].mean) / 2, rtol=0, atol=0.02)
    half = sum(end.covariance.dense().matrix for end in ends) / 2
    torch.testing.assert_close(way[1].T.cov(), half, rtol=0, atol=0.03)
    straight = samples_between(*ends, 3, 4, seed=0, direct=True)
    assert torch.equal(straight, straight_lines(ends[0].sample(4, seed=0), ends[1].sample(4, seed=1), 3))
    with pytest.raises(ValueError, match="one shape"):
        deviations_between(z[0], z[1][:2], ends[0].mean, ends[1].mean, 3)
