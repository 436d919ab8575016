"""Mean and covariance unknown: beside conjugate updates written out, and beside integration by sampling."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from transflow import Evidence, Gaussian
from transflow.gaussians.inverse_wishart import InverseWishart

D = 3
KAPPA, WEIGHT, SCALE = 0.7, 2.5, 1.3
Z = torch.randn(7, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.2 + 0.4
PRIOR = InverseWishart.prior(D, KAPPA, WEIGHT, SCALE)


def given(start, z):
    return start.condition(Evidence.of(z), z - z.mean(0))


def same(a, b, **tolerance):
    torch.testing.assert_close(a.mean, b.mean, **tolerance)
    torch.testing.assert_close(a.expected_covariance.dense().matrix, b.expected_covariance.dense().matrix, **tolerance)
    assert (a.kappa, a.weight) == pytest.approx((b.kappa, b.weight))


def test_posterior_is_the_dense_formula():
    posterior, m, bar = given(PRIOR, Z), len(Z), Z.mean(0)
    scatter = (Z - bar).T @ (Z - bar)
    psi = WEIGHT * SCALE * torch.eye(D) + scatter + KAPPA * m / (KAPPA + m) * torch.outer(bar, bar)
    torch.testing.assert_close(posterior.mean, m / (KAPPA + m) * bar)
    torch.testing.assert_close(posterior.expected_covariance.dense().matrix, psi / (WEIGHT + m))
    t = posterior.predictive
    assert t.freedom == WEIGHT + m + 2  # nu - D + 1, nu = n + D + 1
    kappa = KAPPA + m
    torch.testing.assert_close(t.shape.dense().matrix, (kappa + 1) / kappa * psi / t.freedom)
    torch.testing.assert_close(t.covariance.dense().matrix, (1 + 1 / kappa) * psi / (WEIGHT + m))


def test_the_predictive_is_integrated_over_mean_and_covariance():
    posterior = given(InverseWishart.prior(D, KAPPA, 3.0, SCALE), Z)
    nu = int(posterior.weight + D + 1)
    psi = posterior.expected_covariance.dense().matrix * posterior.weight
    torch.manual_seed(0)
    x = MultivariateNormal(torch.zeros(D).double(), torch.linalg.inv(psi)).sample((100_000, nu))
    sigma = torch.linalg.inv(x.mT @ x)  # inverse of a Wishart draw
    torch.testing.assert_close(sigma.mean(0), psi / posterior.weight, rtol=0.03, atol=0.02)
    mu = MultivariateNormal(posterior.mean, sigma / posterior.kappa).sample()
    query = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0]], dtype=torch.float64)
    densities = torch.stack([MultivariateNormal(mu, sigma).log_prob(q).exp().mean() for q in query])
    torch.testing.assert_close(densities.log(), posterior.predictive.log_prob(query), atol=0.03, rtol=0)
    torch.testing.assert_close(mu.T.cov(), posterior.of_mean.covariance.dense().matrix, atol=0.005, rtol=0.05)


def test_chain_rule_of_the_predictive_is_one_joint_density():
    now, chained = PRIOR, 0.0
    for row in Z:
        chained += now.predictive.log_prob(row[None]).item()
        now = given(now, row[None])
    assert chained == pytest.approx(PRIOR.log_marginal(Evidence.of(Z), Z - Z.mean(0)), rel=1e-12)
    same(now, given(PRIOR, Z))
    back = sum(given(PRIOR, Z[i + 1 :]).predictive.log_prob(Z[i][None]).item() for i in range(len(Z) - 1))
    assert back + PRIOR.predictive.log_prob(Z[-1:]).item() == pytest.approx(chained, rel=1e-12)


def test_the_joint_density_integrates_to_one():
    prior = InverseWishart.prior(1, 0.5, 3.0)
    grid = torch.linspace(-60, 60, 601, dtype=torch.float64)
    first = grid[:, None]
    inner = torch.stack([given(prior, z[None]).predictive.log_prob(first).exp() for z in first])
    whole = torch.trapezoid(torch.trapezoid(inner, grid, dim=1) * prior.predictive.log_prob(first).exp(), grid)
    assert whole.item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("dim", [D, 40])
def test_evidence_goes_in_and_out_exactly(dim):
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(4, dim, generator=g), torch.randn(6, dim, generator=g) + 1
    prior = InverseWishart.prior(dim, KAPPA, WEIGHT)
    both = given(prior, torch.cat([a, b]).double())
    same(given(given(prior, a), b), both)
    same(both.remove(Evidence.of(b), b.double() - b.double().mean(0)), given(prior, a), rtol=1e-6, atol=1e-7)
    same(both.remove(Evidence.of(a), a.double() - a.double().mean(0)), given(prior, b), rtol=1e-6, atol=1e-7)
    nothing = both.remove(
        Evidence.of(torch.cat([a, b])), torch.cat([a, b]).double() - torch.cat([a, b]).double().mean(0)
    )
    same(nothing, prior, rtol=1e-6, atol=1e-7)
    assert len(both.factor) <= min(dim, 12)
    same(prior.condition(Evidence.none(dim), a[:0]), prior)


def test_what_was_never_added_is_not_taken_out():
    both = given(PRIOR, Z)
    for other in (Z[:2] + 5, 3 * Z, Z[:3] * -1):
        with pytest.raises(ValueError, match="latents that are in this evidence"):
            both.remove(Evidence.of(other), other - other.mean(0))
    wide = InverseWishart.prior(40, KAPPA, WEIGHT)
    a, b = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with pytest.raises(ValueError, match="latents that are in this evidence"):
        given(wide, a).remove(Evidence.of(b), b - b.mean(0))
    with pytest.raises(ValueError, match="latents that are in this evidence"):
        given(wide, a).remove(Evidence.of(b[:2]), b[:2] - b[:2].mean(0))
    a[:, 20:] = 0  # a direction in which what was added does not vary
    b = a.mean(0) + 0.1 * torch.eye(40, dtype=torch.float64)[30:31] * torch.tensor([[1.0], [-1.0]])
    with pytest.raises(ValueError, match="latents that are in this evidence"):
        given(wide, a).remove(Evidence.of(b), b - b.mean(0))


@pytest.mark.parametrize("lam", [0.4, 3.5, 20.0])
def test_the_paper_is_the_limit_of_a_covariance_that_is_known(lam):
    limit = given(InverseWishart.prior(D, lam, 1e9, scale=lam), Z)
    paper = Gaussian.standard(D).condition(Evidence.of(Z), lam)
    for found, expected in ((limit.of_mean, paper), (limit.predictive, paper.predictive(lam))):
        torch.testing.assert_close(found.mean, expected.mean)
        torch.testing.assert_close(
            found.covariance.dense().matrix, expected.covariance.dense().matrix, rtol=1e-6, atol=1e-6
        )
        torch.testing.assert_close(found.log_prob(Z), expected.log_prob(Z), rtol=1e-5, atol=1e-5)
    assert InverseWishart.prior(D, lam, 1e9, scale=lam).log_marginal(Evidence.of(Z), Z - Z.mean(0)) == pytest.approx(
        Gaussian.standard(D).log_marginal(Evidence.of(Z), lam), rel=1e-4
    )


@pytest.mark.parametrize("values", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (1.0, math.inf)])
def test_pseudo_observations_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="above 0; got"):
        InverseWishart.prior(D, *values)


def test_sizes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"D = 3 and deviations of shape \(r, 3\)"):
        PRIOR.condition(Evidence.of(torch.ones(2, 4)), torch.ones(2, 4))
