"""Closed forms against brute force, and structured covariances against their dense twins."""

import itertools
import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from transflow import Evidence, Gaussian
from transflow.gaussians import covariance as cov
from transflow.gaussians.gaussian import shrinkage
from transflow.gaussians.woodbury import Woodbury

D = 4


def rng(seed):
    return torch.Generator().manual_seed(seed)


def make(kind, seed=0):
    """A covariance of each structure."""
    g = rng(seed)
    if kind == "scalar":
        return cov.as_covariance(0.7 + seed, D)
    diagonal = torch.rand(D, generator=g, dtype=torch.float64) + 0.3
    if kind == "diagonal":
        return cov.as_covariance(diagonal, D)
    factor = torch.randn(D, 2, generator=g, dtype=torch.float64)
    if kind == "low rank":
        return cov.as_covariance(diagonal, D, factor)
    if kind == "scalar + low rank":
        return cov.as_covariance(0.4, D, factor)
    return cov.as_covariance(torch.diag(diagonal) + factor @ factor.T, D)


KINDS = ["scalar", "diagonal", "low rank", "scalar + low rank", "full"]
PAIRS = list(itertools.product(KINDS, KINDS))
MEAN = torch.randn(D, generator=rng(5), dtype=torch.float64)
Z = torch.randn(6, D, generator=rng(6), dtype=torch.float64) * 1.5 + 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_each_structure_is_its_dense_twin(kind):
    c, dense = make(kind), make(kind).dense().matrix
    v = torch.randn(3, D, generator=rng(1), dtype=torch.float64)
    torch.testing.assert_close(c.matvec(v), v @ dense)
    torch.testing.assert_close(c.solve(v), torch.linalg.solve(dense, v.T).T)
    torch.testing.assert_close(c.solve(v[0]), torch.linalg.solve(dense, v[0]))
    torch.testing.assert_close(c.variances(), dense.diagonal())
    torch.testing.assert_close(c.trace(), dense.trace())
    torch.testing.assert_close(c.scaled(2.5).dense().matrix, 2.5 * dense)
    twin = MultivariateNormal(MEAN, dense)
    torch.testing.assert_close(Gaussian(MEAN, c).log_prob(v), twin.log_prob(v))


@pytest.mark.parametrize(("prior", "noise"), PAIRS)
def test_posterior_is_equations_3_and_4_written_out(prior, noise):
    sigma_0, sigma = make(prior, 1), make(noise, 2)
    posterior = Gaussian(MEAN, sigma_0).condition(Evidence.of(Z), sigma)
    i0, i = torch.linalg.inv(sigma_0.dense().matrix), torch.linalg.inv(sigma.dense().matrix)
    sigma_p = torch.linalg.inv(i0 + len(Z) * i)
    torch.testing.assert_close(posterior.covariance.dense().matrix, sigma_p)
    torch.testing.assert_close(posterior.mean, sigma_p @ (i0 @ MEAN + len(Z) * i @ Z.mean(0)))


@pytest.mark.parametrize(("prior", "noise"), PAIRS)
def test_chain_rule_of_the_predictive_equals_one_joint_normal(prior, noise):
    sigma_0, sigma = make(prior, 1), make(noise, 2)
    now, chained = Gaussian(MEAN, sigma_0), 0.0
    for row in Z:
        chained += now.predictive(sigma).log_prob(row[None]).item()
        now = now.condition(Evidence.of(row[None]), sigma)
    m = len(Z)
    s0, s = sigma_0.dense().matrix, sigma.dense().matrix
    joint = torch.kron(torch.ones(m, m, dtype=s.dtype), s0) + torch.kron(torch.eye(m, dtype=s.dtype), s)
    expected = MultivariateNormal(MEAN.repeat(m), joint).log_prob(Z.flatten()).item()
    assert chained == pytest.approx(expected, rel=1e-9)
    assert Gaussian(MEAN, sigma_0).log_marginal(Evidence.of(Z, full=True), sigma) == pytest.approx(expected, rel=1e-9)


def test_posterior_is_brute_force_bayes_in_one_dimension():
    z = torch.tensor([[0.3], [1.1], [0.7]], dtype=torch.float64)
    grid = torch.linspace(-8, 8, 200_001, dtype=torch.float64)
    log_density = -0.5 * (grid - 0.2) ** 2 / 1.7 - 0.5 * ((z - grid) ** 2 / 0.6).sum(0)
    weights = torch.softmax(log_density, 0)
    mean = (weights * grid).sum()
    variance = (weights * (grid - mean) ** 2).sum()
    posterior = Gaussian.of(torch.tensor([0.2]), 1.7).condition(Evidence.of(z), 0.6)
    assert posterior.mean.item() == pytest.approx(mean.item(), rel=1e-6)
    assert posterior.covariance.variances().item() == pytest.approx(variance.item(), rel=1e-6)


@pytest.mark.parametrize("per_count", [0.1, 0.5, 1.0, 3.0])
def test_standard_prior_gives_equations_7_and_8(per_count):
    evidence = Evidence.of(Z)
    posterior = Gaussian.standard(D).condition(evidence, per_count * len(Z))
    k = 1 / per_count
    torch.testing.assert_close(posterior.mean, k * Z.mean(0) / (k + 1))
    torch.testing.assert_close(posterior.covariance.variances(), torch.full((D,), 1 / (k + 1), dtype=torch.float64))


def test_shrinkage_is_the_standard_prior_conditioned():
    lam = torch.tensor([0.3, 2.0, 50.0], dtype=torch.float64)
    s, variance = shrinkage(torch.tensor(len(Z)), lam)
    for share, spread, noise in zip(s, variance, lam.tolist(), strict=True):
        predictive = Gaussian.standard(D).condition(Evidence.of(Z), noise).predictive(noise)
        torch.testing.assert_close(predictive.mean, share * Z.mean(0))
        torch.testing.assert_close(predictive.covariance.variances(), spread.expand(D))


@pytest.mark.parametrize("scalar", [True, False])
def test_woodbury_is_the_dense_inverse(scalar):
    g = rng(3)
    factor = torch.randn(7, 3, generator=g, dtype=torch.float64)
    diagonal = (
        torch.tensor(0.4, dtype=torch.float64) if scalar else torch.rand(7, generator=g, dtype=torch.float64) + 0.2
    )
    inverse = torch.linalg.inv(torch.diag(diagonal.expand(7)) + factor @ factor.T)
    found = Woodbury.of(diagonal, factor)
    v = torch.randn(4, 7, generator=g, dtype=torch.float64)
    torch.testing.assert_close(found.solve(v), v @ inverse)
    torch.testing.assert_close(found.solve(v[0]), v[0] @ inverse)
    assert found.solve(v.float()).dtype == torch.float32
    torch.testing.assert_close(found.factor_times(v), factor.T @ inverse @ v.T)
    w = found.whitened_factor()
    torch.testing.assert_close(torch.diag((1 / diagonal).expand(7)) - w @ w.T, inverse)
    columns = torch.tensor([[0, 2], [1, 0]])
    blocks = torch.stack([factor[:, i].T @ inverse @ factor[:, i] for i in columns])
    torch.testing.assert_close(found.factor_blocks(columns), blocks)
    if scalar:
        torch.testing.assert_close(Woodbury.of(diagonal, factor, factor.T @ factor).solve(v), found.solve(v))


def test_limits_of_lambda():
    evidence, prior = Evidence.of(Z), Gaussian.standard(D)
    sharp, blunt = prior.condition(evidence, 1e-12), prior.condition(evidence, 1e12)
    torch.testing.assert_close(sharp.mean, Z.mean(0))
    assert sharp.covariance.trace() < 1e-11
    torch.testing.assert_close(blunt.mean, torch.zeros(D, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(blunt.covariance.variances(), torch.ones(D, dtype=torch.float64))


@pytest.mark.parametrize("noise", KINDS)
def test_no_evidence_gives_the_prior_back(noise):
    prior = Gaussian(MEAN, make("low rank"))
    assert prior.condition(Evidence.none(D), make(noise)) is prior


@pytest.mark.parametrize(("prior", "noise"), PAIRS)
def test_one_by_one_equals_all_at_once(prior, noise):
    start, sigma = Gaussian(MEAN, make(prior, 1)), make(noise, 2)
    now = start
    for row in Z:
        now = now.condition(Evidence.of(row[None]), sigma)
    once = start.condition(Evidence.of(Z), sigma)
    torch.testing.assert_close(now.mean, once.mean)
    torch.testing.assert_close(now.covariance.dense().matrix, once.covariance.dense().matrix)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_samples_have_the_mean_and_covariance_they_should(kind, temperature):
    n = 200_000
    c = make(kind)
    z = Gaussian(MEAN, c).sample(n, seed=0, temperature=temperature).double()
    expected = temperature**2 * c.dense().matrix
    largest = expected.diagonal().max().item()
    torch.testing.assert_close(z.mean(0), MEAN, rtol=0, atol=6 * math.sqrt(largest / n))
    torch.testing.assert_close(torch.cov(z.T), expected, rtol=0, atol=9 * largest / math.sqrt(n))


def test_the_seed_decides_the_samples_and_nothing_else_does():
    g = Gaussian.standard(D)
    state = torch.random.get_rng_state()
    assert torch.equal(g.sample(5, seed=3), g.sample(5, seed=3))
    assert not torch.equal(g.sample(5, seed=3), g.sample(5, seed=4))
    assert torch.equal(g.sample(5, generator=rng(3)), g.sample(5, seed=3))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(g.sample(5), g.sample(5))
    assert torch.equal(g.sample(2, temperature=0), torch.zeros(2, D))


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_divergence_is_the_dense_formula(a, b):
    p, q = Gaussian(MEAN, make(a, 1)), Gaussian(-MEAN, make(b, 2))
    sp, sq = p.covariance.dense().matrix, q.covariance.dense().matrix
    gap = q.mean - p.mean
    expected = 0.5 * (
        torch.linalg.solve(sq, sp).trace() + gap @ torch.linalg.solve(sq, gap) - D + torch.logdet(sq) - torch.logdet(sp)
    )
    assert p.kl(q) == pytest.approx(expected.item(), rel=1e-9)
    assert p.kl(p) == pytest.approx(0, abs=1e-9)


def test_large_dimensions_build_no_square_matrix():
    dim, m = 50_000, 20
    factor = torch.randn(dim, m, generator=rng(0)) / 10
    z = torch.randn(m, dim, generator=rng(1))
    prior = Gaussian.of(torch.zeros(dim), 1.0, factor)
    posterior = prior.condition(Evidence.of(z), cov.as_covariance(torch.rand(dim) + 1, dim, factor))
    assert torch.isfinite(posterior.log_prob(z)).all()
    assert posterior.sample(3, seed=0).shape == (3, dim)
    with pytest.raises(ValueError, match="full covariance"):
        posterior.covariance.dense()


@pytest.mark.parametrize("noise", [0.0, -1.0, float("nan"), float("inf"), torch.zeros(D), -torch.eye(D), torch.ones(2)])
def test_noise_that_is_no_covariance_is_refused(noise):
    with pytest.raises(ValueError, match="Expected"):
        Gaussian.standard(D).condition(Evidence.of(Z), noise)


def test_off_diagonal_noise_wants_the_full_scatter():
    with pytest.raises(ValueError, match="full=True"):
        Gaussian.standard(D).log_marginal(Evidence.of(Z), make("low rank"))


@pytest.mark.parametrize(
    "call",
    [
        lambda g: g.log_prob(torch.zeros(D)),
        lambda g: g.sample(-1),
        lambda g: g.sample(1, temperature=-1),
        lambda g: g.condition(Evidence.none(D + 1), 1.0),
        lambda g: g.kl(Gaussian.standard(D + 1)),
    ],
)
def test_bad_arguments_are_refused(call):
    with pytest.raises(ValueError, match="Expected"):
        call(Gaussian.standard(D))


@pytest.mark.parametrize(
    "bad", [[[1.0, 0.3], [0.0, 1.0]], [[1.0, math.nan], [0.0, 1.0]], [[math.inf, 0.0], [0.0, 1.0]]]
)
def test_a_covariance_that_is_not_symmetric_or_finite_is_refused(bad):
    with pytest.raises(ValueError, match="symmetric, finite covariance"):
        cov.FullCovariance(torch.tensor(bad).double())
    with pytest.raises(ValueError, match="a finite factor"):
        cov.DiagonalPlusLowRank(2, torch.ones(()).double(), torch.tensor([[math.nan], [1.0]]).double())
