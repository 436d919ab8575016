"""Hamiltonian and Langevin Monte Carlo leave the posterior as it is, and reach it from elsewhere."""

import pytest
import torch

from completion_models import DIM, linear, posterior
from transflow.conditioning.completion import draw
from transflow.conditioning.energy import Energy
from transflow.conditioning.hmc import run_chains
from transflow.conditioning.operators import Known
from transflow.conditioning.whitened import Whitened

MASK = torch.tensor([[True, True, False], [True, False, False]])


@pytest.mark.parametrize(("leapfrogs", "trajectories"), [(10, 16), (1, 200)])
def test_chains_from_the_prior_reach_the_posterior(leapfrogs, trajectories):
    model, operator = linear(), Known(MASK)
    y = torch.tensor([[[0.6, 0.4, 0.55]]])
    generator = torch.Generator().manual_seed(0)
    xi = torch.randn(3000, DIM, generator=generator)
    energy = Energy(model, operator, Whitened(model.prior), y.flatten(1).expand(3000, -1), torch.zeros_like(xi), 0.05)
    found = run_chains(energy, xi, energy.widths(xi, generator), trajectories, generator, leapfrogs=leapfrogs)
    mean, covariance = posterior(model, [0, 1, 3], y, 0.05)
    assert ((found.points.double().mean(0) - mean) / covariance.diagonal().sqrt()).abs().max() < 0.1
    assert (found.points.double().T.cov() - covariance).abs().max() < 0.12
    assert (xi.double().T.cov() - covariance).abs().max() > 0.4
    assert 0.4 < found.accepted.mean() < 0.95


def test_a_single_trajectory_fits_its_steps_and_counts():
    model, operator = linear(), Known(MASK)
    y = torch.tensor([[[0.6, 0.4, 0.55]]])
    generator = torch.Generator().manual_seed(0)
    xi = torch.randn(200, DIM, generator=generator)
    energy = Energy(model, operator, Whitened(model.prior), y.flatten(1).expand(200, -1), torch.zeros_like(xi), 0.05)
    found = run_chains(energy, xi, torch.full((DIM,), 0.01), 1, generator)
    moved = (found.points != xi).any(1)
    assert torch.equal(found.accepted, moved.double())
    assert moved.double().mean() > 0.5


def test_a_trajectory_that_goes_wild_is_refused():
    model, operator = linear(), Known(MASK)
    y = torch.tensor([[[0.6, 0.4, 0.55]]])
    generator = torch.Generator().manual_seed(0)
    drawn = draw(model, operator, y, 0.05, 5, Whitened(model.prior), generator)
    energy = Energy(model, operator, Whitened(model.prior), drawn.observed.flatten(1), torch.zeros(5, DIM), 0.05)
    energy = Energy(model, operator, energy.prior, energy.target.expand(5, -1), energy.centre, 0.05)
    found = run_chains(energy, drawn.latents, torch.full((DIM,), 100.0), 1, generator)
    assert torch.allclose(found.points, drawn.latents)
    assert found.points.isfinite().all()


def test_the_gradient_is_that_of_the_energy_and_the_widths_those_of_its_curvature():
    model, operator = linear(), Known(MASK)
    centre = torch.randn(1, DIM)
    energy = Energy(model, operator, Whitened(model.prior, 0.5), torch.tensor([[0.6, 0.4, 0.55]]), centre, 0.1)
    row, xi = torch.zeros(1, dtype=torch.long), torch.randn(1, DIM)
    matrix = 0.5 * model.source.matrix[[0, 1, 3]]
    residual = 0.5 + xi @ matrix.T - energy.target
    value, gradient = energy(xi, row)
    assert torch.allclose(value.float(), residual.square().sum() / 0.02 + (xi - centre).square().sum() / 2)
    assert torch.allclose(gradient, residual @ matrix / 0.01 + xi - centre, atol=1e-4)
    widths = energy.widths(xi.expand(2000, -1), torch.Generator().manual_seed(0))
    assert torch.allclose(widths, (1 + matrix.square().sum(0) / 0.01).rsqrt(), rtol=0.05)
