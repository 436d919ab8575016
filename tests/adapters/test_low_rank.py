"""The symmetric root of a diagonal plus low rank is that of its dense twin."""

import pytest
import torch

from transflow.adapters.low_rank import LowRank, gaussian_base
from transflow.adapters.whiten import Diagonal
from transflow.gaussians.gaussian import Gaussian


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


PARTS = draw(7), draw(7, seed=1).exp(), draw(7, 3, seed=2)


@pytest.fixture
def gaussian():
    return Gaussian.of(*PARTS)


def test_latents_become_standard_normal_and_come_back(gaussian):
    base = gaussian_base(*PARTS)
    assert isinstance(base, LowRank)
    matrix = gaussian.covariance.dense().matrix
    jacobian = base.standardise(torch.eye(7).double())[0] - base.standardise(torch.zeros(1, 7).double())[0]
    torch.testing.assert_close(jacobian.T @ matrix @ jacobian, torch.eye(7).double())
    z = draw(5, 7, seed=3)
    eps, log_det = base.standardise(z)
    torch.testing.assert_close(base.restore(eps), z)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian)[1].expand(5))
    standard = Gaussian.standard(7).log_prob(eps) + log_det
    torch.testing.assert_close(standard, gaussian.log_prob(z))


def test_variances_are_those_of_the_linear_map():
    base = gaussian_base(*PARTS)
    jacobian = base.standardise(torch.eye(7).double())[0] - base.standardise(torch.zeros(1, 7).double())[0]
    variance = draw(4, 7, seed=5).exp()
    torch.testing.assert_close(base.variance(variance), variance @ jacobian.square())


def test_without_directions_it_is_diagonal():
    base = gaussian_base(draw(4), draw(4, seed=1).exp(), None)
    assert isinstance(base, Diagonal)
    torch.testing.assert_close(base.variance(torch.ones(1, 4)), (-draw(4, seed=1)).exp()[None])
