"""Standardising is a bijection whose log-determinant is right, for every base."""

import math
import pickle

import pytest
import torch
from torch import distributions as td

from transflow.adapters import whiten

D = 6


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def lower(n, seed=3):
    return draw(n, n, seed=seed).tril(-1) * 0.3 + torch.diag(draw(n, seed=seed + 1).abs() + 0.3)


DISTRIBUTIONS = {
    "normal": lambda: td.Normal(draw(D), draw(D, seed=1).exp()),
    "independent": lambda: td.Independent(td.Normal(draw(2, 3), draw(2, 3, seed=1).exp()), 2),
    "dense": lambda: td.MultivariateNormal(draw(D), scale_tril=lower(D)),
    "dense batch": lambda: td.MultivariateNormal(draw(2, 3), scale_tril=torch.stack([lower(3), lower(3, 7)])),
    "low rank": lambda: td.LowRankMultivariateNormal(draw(D), draw(D, 2), draw(D, seed=1).exp()),
    "uniform": lambda: td.Independent(td.Uniform(-torch.ones(D, dtype=torch.float64), 3 * draw(D).exp()), 1),
}
EVERY = pytest.mark.parametrize("name", DISTRIBUTIONS)


def samples(distribution, n=50):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return distribution.sample((n,))


@EVERY
def test_density_is_the_librarys_own(name):
    distribution = DISTRIBUTIONS[name]()
    z = samples(distribution)
    eps, log_det = whiten.base_of(distribution).standardise(z.flatten(1))
    ours = -eps.square().sum(1) / 2 - D / 2 * math.log(2 * math.pi) + log_det
    theirs = distribution.log_prob(z)
    torch.testing.assert_close(ours, theirs.flatten(1).sum(1) if theirs.ndim > 1 else theirs)


@EVERY
def test_log_determinant_is_autograds(name):
    base = whiten.base_of(DISTRIBUTIONS[name]())
    z = samples(DISTRIBUTIONS[name](), 1).flatten(1)
    jacobian = torch.autograd.functional.jacobian(lambda one: base.standardise(one[None])[0][0], z[0])
    torch.testing.assert_close(base.standardise(z)[1][0], torch.linalg.slogdet(jacobian)[1])


@EVERY
def test_round_trip_and_pickling(name):
    base = pickle.loads(pickle.dumps(whiten.base_of(DISTRIBUTIONS[name]())))
    assert base.dim == D
    eps = torch.cat([draw(20, D), 6 * torch.ones(1, D), torch.zeros(1, D)]).double()
    torch.testing.assert_close(base.standardise(base.restore(eps))[0], eps, rtol=1e-9, atol=1e-7)


@EVERY
def test_latents_of_samples_are_standard_normal(name):
    distribution = DISTRIBUTIONS[name]()
    eps = whiten.base_of(distribution).standardise(samples(distribution, 20_000).flatten(1))[0]
    torch.testing.assert_close(eps.mean(0), torch.zeros(D, dtype=torch.float64), rtol=0, atol=0.04)
    torch.testing.assert_close(eps.T.cov(), torch.eye(D, dtype=torch.float64), rtol=0, atol=0.06)


def test_levels_are_standardised_each_by_its_own_base():
    first, second = (
        whiten.Diagonal.of(draw(2), draw(2, seed=1)),
        whiten.Box(-torch.ones(3).double(), torch.ones(3).double()),
    )
    both = whiten.Levels((first, second))
    z = torch.rand(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    eps, log_det = both.standardise(z)
    parts = first.standardise(z[:, :2]), second.standardise(z[:, 2:])
    torch.testing.assert_close(eps, torch.cat([parts[0][0], parts[1][0]], 1))
    torch.testing.assert_close(log_det, parts[0][1] + parts[1][1])
    torch.testing.assert_close(both.restore(eps), z)
    assert both.dim == 5
    assert "uniform" in both.note
    assert not first.note


def test_a_uniform_latent_at_the_edge_in_float32_stays_finite_and_one_outside_is_named():
    box = whiten.Box(torch.zeros(2).double(), torch.ones(2).double())
    eps, _ = box.standardise(torch.tensor([[0.0, 1.0], [1 - 6e-8, 0.5]]))
    assert eps.isfinite().all()
    assert eps[0, 1] > 8
    with pytest.raises(ValueError, match="got picture 1 outside"):
        box.standardise(torch.tensor([[0.5, 0.5], [1.01, 0.5]]))


@pytest.mark.parametrize(
    "base",
    [
        td.StudentT(3.0, torch.zeros(2), 1.0),
        td.Independent(td.Laplace(torch.zeros(2), 1.0), 1),
        td.MixtureSameFamily(td.Categorical(torch.ones(2)), td.Normal(torch.zeros(2), 1.0)),
    ],
)
def test_other_bases_are_refused_by_name(base):
    name = type(getattr(base, "base_dist", base)).__name__
    with pytest.raises(ValueError, match=f"got {name}"):
        whiten.base_of(base)


def test_lists_and_tuples_of_latents_are_flattened_in_order_and_split_again():
    parts = [draw(3, 2, 4, 4), draw(3, 5, seed=1), draw(3, 1, 2, 2, seed=2)]
    flat = whiten.flatten(tuple(parts))
    assert flat.shape == (3, 32 + 5 + 4)
    assert torch.equal(flat[:, 32:37], parts[1])
    for back, part in zip(whiten.split(flat, whiten.shapes(parts)), parts, strict=True):
        assert torch.equal(back, part)
    assert torch.equal(whiten.flatten(parts[0]), parts[0].flatten(1))
    assert whiten.shapes(parts[0]) == ((2, 4, 4),)
