"""L-BFGS goes to the minimum, and a search ends there from its starts."""

import pytest
import torch

from transflow.generative.latent_search import Search, invert, minimise


def test_a_quadratic_has_its_minimum_where_it_is_known():
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    matrix, target = factor @ factor.T + torch.eye(6), torch.randn(1, 6, generator=generator, dtype=torch.float64)

    def loss(eps):
        return ((eps - target) @ matrix @ (eps - target).T).sum()

    start = torch.zeros(1, 6, dtype=torch.float64)
    torch.testing.assert_close(minimise(loss, start, 100, 1.0), target, atol=1e-8, rtol=0)
    assert torch.equal(minimise(loss, start, 0, 1.0), start)
    assert not start.any()
    with pytest.raises(FloatingPointError):
        minimise(lambda eps: (eps * torch.nan).sum(), start, 5, 1.0)


def test_a_linear_generator_has_its_penalised_latent_in_closed_form():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(4, 12, generator=generator, dtype=torch.float64)
    x = torch.randn(3, 1, 3, 4, generator=generator, dtype=torch.float64)

    def generate(eps):
        return (eps @ matrix).view(-1, 1, 3, 4)

    for prior, free in ((0.3, 0), (0.3, 50)):
        found = invert(generate, x, 4, Search(starts=16, restarts=2, steps=80, free=free, prior=prior, near=9.0))
        weight = prior * 12 / 4 if not free else 0  # |g(eps) - x|^2 / 12 + prior |eps|^2 / 4
        gram = matrix @ matrix.T + weight * torch.eye(4, dtype=torch.float64)
        known = torch.linalg.solve(gram, matrix @ x.flatten(1).T).T
        torch.testing.assert_close(found.latents, known, atol=1e-6, rtol=0)
        rms = (generate(known) - x).square().mean((1, 2, 3)).sqrt()
        torch.testing.assert_close(found.errors, rms, atol=1e-8, rtol=0)
