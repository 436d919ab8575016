"""The multivariate t: its density beside scipy's, its moments beside samples, the normal as its limit."""

import pickle

import numpy as np
import pytest
import torch

from transflow import Gaussian
from transflow.gaussians.covariance import as_covariance
from transflow.gaussians.student import StudentT

multivariate_t = pytest.importorskip("scipy.stats").multivariate_t

D = 3
G = torch.Generator().manual_seed(0)
MEAN = torch.randn(D, generator=G, dtype=torch.float64)
FACTOR = torch.randn(D, 2, generator=G, dtype=torch.float64)
SHAPES = {
    "scalar": as_covariance(0.4, D),
    "diagonal": as_covariance(torch.tensor([0.2, 1.0, 3.0]), D),
    "low rank": as_covariance(0.4, D, FACTOR),
    "full": as_covariance(torch.eye(D, dtype=torch.float64) + FACTOR @ FACTOR.T, D),
}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("freedom", [0.5, 4.0, 1e4])
def test_density_is_scipys(kind, freedom):
    z = 10 * torch.randn(20, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = torch.cat([z, MEAN[None], 1e4 * z[:1]])
    twin = multivariate_t(MEAN.numpy(), SHAPES[kind].dense().matrix.numpy(), freedom)
    found = StudentT(MEAN, SHAPES[kind], freedom).log_prob(z)
    np.testing.assert_allclose(found.numpy(), twin.logpdf(z.numpy()), rtol=1e-9)


@pytest.mark.parametrize("kind", SHAPES)
def test_samples_have_its_moments(kind):
    t = StudentT(MEAN, SHAPES[kind], 9.0)
    z = t.sample(200_000, seed=3).double()
    torch.testing.assert_close(z.mean(0), MEAN, atol=0.03, rtol=0)
    torch.testing.assert_close(z.T.cov(), t.covariance.dense().matrix, atol=0.1, rtol=0.03)
    assert z.square().mean().item() == pytest.approx(t.squared_radius(), rel=0.02)
    fourth = ((z - MEAN)[:, 0] / (z - MEAN)[:, 0].std()).pow(4).mean().item()
    assert fourth == pytest.approx(3 + 6 / (9 - 4), rel=0.15)  # longer tails than the normal's 3


def test_one_stretch_serves_all_numbers_of_a_draw():
    t = StudentT(torch.zeros(400).double(), as_covariance(1.0, 400), 3.0)
    lengths = t.sample(500, seed=0).norm(dim=1) / 20
    assert lengths.std() > 0.3  # 0.035 if each number had its own


def test_many_degrees_of_freedom_are_the_normal():
    z = torch.randn(5, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    normal = Gaussian(MEAN, SHAPES["low rank"])
    torch.testing.assert_close(
        StudentT(MEAN, normal.covariance, 1e9).log_prob(z), normal.log_prob(z), atol=1e-6, rtol=0
    )


def test_draws_repeat_and_pickle():
    t = StudentT(MEAN, SHAPES["low rank"], 5.0)
    assert torch.equal(t.sample(4, seed=1), pickle.loads(pickle.dumps(t)).sample(4, seed=1))
    assert not torch.equal(t.sample(4, seed=1), t.sample(4, seed=2))
    torch.testing.assert_close(t.sample(2, temperature=0.0), MEAN.float().expand(2, D))
    assert t.sample(0).shape == (0, D)


def test_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="degrees of freedom above 0; got 0"):
        StudentT(MEAN, SHAPES["scalar"], 0.0)
    with pytest.raises(ValueError, match="more than 2 degrees of freedom"):
        _ = StudentT(MEAN, SHAPES["scalar"], 2.0).covariance
    with pytest.raises(ValueError, match=r"latents of shape \(n, 3\)"):
        StudentT(MEAN, SHAPES["scalar"], 5.0).log_prob(torch.zeros(2, 4))
