"""Whitened priors: latents of a Gaussian's mean and covariance, and back to the nearest numbers."""

import pytest
import torch

from transflow import Gaussian
from transflow.conditioning.whitened import Whitened

DIM = 5
FACTOR = torch.randn(DIM, 2, generator=torch.Generator().manual_seed(0))
GAUSSIANS = {
    "standard": Gaussian.standard(DIM),
    "diagonal": Gaussian.of(torch.ones(DIM), torch.linspace(0.5, 2, DIM)),
    "low rank": Gaussian.of(torch.linspace(-1, 1, DIM), 0.3, FACTOR),
}
GAUSSIANS["full"] = Gaussian.of(torch.ones(DIM), GAUSSIANS["low rank"].covariance.dense().matrix)


@pytest.mark.parametrize("name", GAUSSIANS)
def test_latents_have_its_mean_and_covariance(name):
    prior = Whitened(GAUSSIANS[name], 0.7)
    assert prior.size == DIM + 2 * (name == "low rank")
    eye = torch.eye(prior.size)
    origin = prior.latents(torch.zeros(1, prior.size))
    columns = (prior.latents(eye) - origin).double()
    assert torch.allclose(origin[0].double(), prior.gaussian.mean)
    assert torch.allclose(columns.T @ columns, 0.49 * prior.gaussian.covariance.dense().matrix, atol=1e-5)


@pytest.mark.parametrize("name", GAUSSIANS)
def test_the_nearest_numbers_give_the_latents(name):
    prior = Whitened(GAUSSIANS[name], 0.7)
    start, latents = torch.randn(3, prior.size), torch.randn(3, DIM)
    found = prior.nearest(latents, start)
    assert torch.allclose(prior.latents(found), latents, atol=1e-4)
    eye, change = torch.eye(prior.size), (found - start).double()
    columns = (prior.latents(eye) - prior.latents(0 * eye)).double()  # L^T: nearest, so the change is of its range
    assert torch.allclose(change, change @ columns @ torch.linalg.pinv(columns), atol=1e-4)
