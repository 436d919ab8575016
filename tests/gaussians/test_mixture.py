"""The shrunk kernel mixture against its moments, its sum written out, and its ends."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from transflow.gaussians.covariance import as_covariance
from transflow.gaussians.kept import Kept
from transflow.gaussians.mixture import Mixture

Z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) + 0.5
MEAN = Z.double().mean(0)
C = (Z.double() - MEAN).T @ (Z.double() - MEAN) / 6


@pytest.mark.parametrize("h", [0.0, 0.3, 0.8, 1.0])
def test_a_kernel_of_the_evidence_s_covariance_keeps_mean_and_covariance(h):
    mixture = Mixture.of(Z, h, as_covariance(C, 4))
    torch.testing.assert_close(mixture.covariance.dense().matrix, C, rtol=1e-4, atol=1e-5)
    drawn = mixture.sample(100_000, seed=0).double()
    torch.testing.assert_close(drawn.mean(0), MEAN, rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.T.cov(), C, rtol=0, atol=0.03)


@pytest.mark.parametrize("h", [0.2, 0.6, 1.0])
def test_the_density_is_the_sum_written_out(h):
    mixture = Mixture.of(Z, h)
    k = mixture.spread.dense().matrix
    torch.testing.assert_close(k.trace(), C.trace(), rtol=1e-5, atol=0)
    x = Z[:3] + 0.3
    terms = torch.stack(
        [
            MultivariateNormal(MEAN + math.sqrt(1 - h * h) * (z.double() - MEAN), h * h * k).log_prob(x.double())
            for z in mixture.rows
        ],
        1,
    )
    torch.testing.assert_close(mixture.log_prob(x), terms.logsumexp(1) - math.log(6))
    torch.testing.assert_close(mixture.responsibilities(x), terms.softmax(1))
    torch.testing.assert_close(mixture.covariance.dense().matrix, (1 - h * h) * C + h * h * k, rtol=1e-4, atol=1e-5)
    radius = (MEAN.square().sum() + mixture.covariance.trace()) / 4
    assert mixture.squared_radius() == pytest.approx(radius.item(), rel=1e-5)


def test_the_ends_are_the_evidence_and_the_gaussian():
    drawn = Mixture.of(Z, 0.0).draw(40, seed=0)
    assert torch.cdist(drawn.latents.double(), Z.double()).min(1).values.max() < 1e-5
    with pytest.raises(ValueError, match="bandwidth above 0"):
        Mixture.of(Z, 0.0).log_prob(Z)
    whole = Mixture.of(Z, 1.0)
    torch.testing.assert_close(whole.log_prob(Z), whole.gaussian.log_prob(Z), rtol=1e-5, atol=1e-4)


def test_a_close_variation_is_known_by_its_parent():
    mixture = Mixture.of(Z, 0.1)
    drawn = mixture.draw(50, seed=1)
    assert (mixture.responsibilities(drawn.latents).argmax(1) == drawn.parents[:, 0]).double().mean() > 0.95


def test_added_and_taken_out_equals_never_seen():
    whole = Mixture.of(Z, 0.5)
    assert torch.equal(Mixture.of(Z[:4], 0.5).add(Kept.of(Z[4:])).sample(3, seed=0), whole.sample(3, seed=0))
    assert torch.equal(whole.remove(Kept.of(Z[4:]).keys).sample(3, seed=0), Mixture.of(Z[:4], 0.5).sample(3, seed=0))


@pytest.mark.parametrize("h", [-0.1, 1.1, math.nan])
def test_a_bad_bandwidth_is_refused(h):
    with pytest.raises(ValueError, match="from 0 to 1"):
        Mixture.of(Z, h)
