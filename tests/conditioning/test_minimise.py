"""L-BFGS in one batch: each row ends in its own minimum, as alone, and stops by itself."""

from itertools import pairwise

import torch

from transflow.conditioning.minimise import minimise


def quadratic(dim=12, rows=5):
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(rows, dim, dim, generator=generator)
    matrices = roots @ roots.mT + torch.eye(dim)
    middles = torch.randn(rows, dim, generator=generator)
    calls = []

    def function(x, which):
        calls.append(which)
        apart = x - middles[which]
        gradient = (matrices[which] @ apart[..., None])[..., 0]
        return (apart * gradient).sum(1).double() / 2, gradient

    return function, middles, calls


def test_each_row_ends_in_its_own_minimum():
    function, middles, _ = quadratic()
    found = minimise(function, torch.zeros_like(middles), 200, 1e-7)
    assert (found.points - middles).abs().max() < 1e-2
    assert torch.allclose(found.values, torch.zeros(5, dtype=torch.float64), atol=1e-4)


def test_a_row_ends_where_it_does_alone():
    function, middles, _ = quadratic()
    together = minimise(function, torch.zeros_like(middles), 6, 0)
    alone = minimise(lambda x, rows: function(x, rows + 3), torch.zeros(1, 12), 6, 0)
    assert torch.allclose(together.points[3], alone.points[0], atol=1e-4)


def test_a_row_that_is_done_is_evaluated_no_more():
    function, middles, calls = quadratic()
    starts = torch.zeros_like(middles)
    starts[2] = middles[2]
    found = minimise(function, starts, 200, 1e-3)
    assert found.evaluations[2] < found.evaluations.max() / 2
    assert found.evaluations.tolist() == [sum((which == row).sum().item() for which in calls) for row in range(5)]


def test_a_curved_valley_is_gone_down_and_no_value_rises():
    def rosenbrock(x, rows):
        x = x.detach().requires_grad_()
        value = ((1 - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2).double()
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), gradient

    starts = torch.tensor([[-1.2, 1.0], [2.0, 2.0]])
    values = [minimise(rosenbrock, starts, steps, 0).values for steps in range(0, 80, 4)]
    assert all((b <= a).all() for a, b in pairwise(values))
    assert (minimise(rosenbrock, starts, 200, 1e-12).points - 1).abs().max() < 1e-2


def test_a_step_to_where_there_is_no_value_is_made_shorter():
    def walled(x, rows):
        value = (x - 1).square().sum(1).double()
        value[(x > 1.5).any(1)] = torch.inf
        return value, 2 * (x - 1)

    found = minimise(walled, torch.full((1, 3), -30.0), 50, 1e-9)
    assert (found.points - 1).abs().max() < 1e-3
