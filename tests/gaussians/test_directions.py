"""Directions of attributes: least changes by brute force, what stays, limits, and sets that show nothing."""

import pytest
import torch

from transflow.gaussians.directions import direction
from transflow.gaussians.tied import tied

BOTH = pytest.mark.parametrize("fisher", [True, False])


def sets(counts, dim=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, dtype=torch.float64, generator=generator)
    return [
        torch.randn(n, dim, dtype=torch.float64, generator=generator) @ mix
        + torch.randn(dim, dtype=torch.float64, generator=generator)
        for n in counts
    ]


def gap(a, b):
    return a.mean(0) - b.mean(0)


@BOTH
def test_it_is_the_least_change_that_reads_so(fisher):
    """Brute force: the Lagrange system of min d^T M d under W d = r, in dense matrices."""
    more, less, a, b, c, d = sets([5, 6, 4, 3, 8, 7])
    found = direction(more, less, [(a, b), (c, d)], fisher=fisher, shrinkage=0.2)
    sigma = tied([more, less, a, b, c, d], 0.2).dense().matrix
    w = torch.stack([gap(more, less), gap(a, b), gap(c, d)]) @ torch.linalg.inv(sigma)
    metric = torch.eye(7, dtype=torch.float64) if fisher else torch.linalg.inv(sigma)
    system = torch.cat([torch.cat([2 * metric, w.T], 1), torch.cat([w, torch.zeros(3, 3, dtype=torch.float64)], 1)])
    wanted = torch.zeros(10, dtype=torch.float64)
    wanted[7] = w[0] @ gap(more, less)
    torch.testing.assert_close(found.readings, w)
    torch.testing.assert_close(found.step, torch.linalg.solve(system, wanted)[:7])


@BOTH
def test_what_stays_is_orthogonal_in_the_tied_metric_and_the_reading_moves_from_mean_to_mean(fisher):
    more, less, a, b = sets([5, 6, 4, 3], dim=50)
    found = direction(more, less, [(a, b)], fisher=fisher)
    sigma = tied([more, less, a, b])
    assert (gap(a, b) @ sigma.solve(found.step)).item() == pytest.approx(0, abs=1e-9)
    reading = found.readings[0]
    assert (reading @ found.step).item() == pytest.approx((reading @ gap(more, less)).item())
    z = torch.randn(3, 50)
    z = z.double()
    torch.testing.assert_close(found.move(z, 2.0) @ found.readings[1], z @ found.readings[1])


def test_without_anything_that_stays_the_plain_one_is_the_difference_of_means():
    more, less = sets([5, 6])
    torch.testing.assert_close(direction(more, less, fisher=False).step, gap(more, less))


def test_fisher_s_direction_is_parallel_to_the_discriminant_and_shorter():
    more, less = sets([5, 6])
    found = direction(more, less, shrinkage=0.1)
    cosine = torch.cosine_similarity(found.step, tied([more, less], 0.1).solve(gap(more, less)), 0)
    assert cosine.item() == pytest.approx(1)
    assert found.step.norm() < gap(more, less).norm()


def test_shrunk_all_the_way_both_are_one():
    more, less, a, b = sets([5, 6, 4, 3])
    found = [direction(more, less, [(a, b)], fisher=fisher, shrinkage=1.0).step for fisher in (True, False)]
    torch.testing.assert_close(*found)


@BOTH
def test_the_other_way_is_the_opposite_and_the_order_does_not_count(fisher):
    more, less, a, b, c, d = sets([5, 6, 4, 3, 8, 7])
    found = direction(more, less, [(a, b), (c, d)], fisher=fisher)
    torch.testing.assert_close(direction(less, more, [(b, a), (c, d)], fisher=fisher).step, -found.step)
    torch.testing.assert_close(direction(more, less, [(c, d), (a, b)], fisher=fisher).step, found.step)
    torch.testing.assert_close(direction(more.flip(0), less, [(a, b), (c, d)], fisher=fisher).step, found.step)


@BOTH
def test_what_stays_twice_stays_once(fisher):
    more, less, a, b = sets([5, 6, 4, 3])
    once = direction(more, less, [(a, b)], fisher=fisher, shrinkage=0.3)
    sigma = tied([more, less, a, b, a, b], 0.3)
    twice = direction(more, less, [(a, b), (b, a)], fisher=fisher, shrinkage=0.3)
    assert (gap(a, b) @ sigma.solve(twice.step)).item() == pytest.approx(0, abs=1e-8)
    assert torch.cosine_similarity(once.step, twice.step, 0) > 0.9


@BOTH
def test_a_set_alone_is_compared_with_those_that_have_less(fisher):
    more, less, a = sets([5, 6, 4])
    found = direction(more, less, [a], fisher=fisher)
    assert (gap(a, less) @ tied([more, less, a]).solve(found.step)).item() == pytest.approx(0, abs=1e-9)


def test_steps_add():
    found = direction(*sets([5, 6]))
    z = torch.randn(2, 7, dtype=torch.float64)
    torch.testing.assert_close(found.move(found.move(z, 0.3), 0.9), found.move(z, 1.2))
    z = z.float()
    assert torch.equal(found.move(z, 0.0), z)
    assert found.move(z, 1.0).dtype == torch.float32


def test_one_latent_a_set_is_enough():
    more, less = sets([1, 1])
    torch.testing.assert_close(direction(more, less).step, (more - less)[0])


def test_sets_that_show_nothing_are_told():
    more, less, a = sets([5, 6, 4])
    with pytest.raises(ValueError, match="show no attribute"):
        direction(more, more.flip(0))
    with pytest.raises(ValueError, match="show no attribute"):
        direction(more, less, [(a, a)])
    with pytest.raises(ValueError, match="Keep fewer"):
        direction(more, less, [(less, more)])
    with pytest.raises(ValueError, match="of one D"):
        direction(more, less[:0])
    with pytest.raises(ValueError, match="of one D"):
        direction(more, less[:, :3])
    with pytest.raises(ValueError, match="of one D"):
        direction(more[0], less)
