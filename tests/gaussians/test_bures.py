"""Optimal transport between Gaussians: beside the dense formula, as a map of samples, and on the way."""

import pickle

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from transflow import Gaussian
from transflow.gaussians.bures import Transport
from transflow.gaussians.covariance import DiagonalPlusLowRank, as_covariance
from transflow.gaussians.span import SpanCovariance

linalg = pytest.importorskip("scipy.linalg")

D = 12
LEVELS = torch.tensor([0] * 7 + [1] * 5)


def gaussian(kind, seed):
    g = torch.Generator().manual_seed(seed)
    mean, factor = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((D,), (D, 2)))
    few = torch.rand(2, generator=g, dtype=torch.float64) * 0.5 + 0.05
    if kind == "scalar":
        return Gaussian.of(mean, few[0].item())
    if kind == "scalar + low rank":
        return Gaussian.of(mean, few[0].item(), factor)
    if kind == "levels":
        return Gaussian.of(mean, few[LEVELS])
    if kind == "levels + low rank":
        return Gaussian.of(mean, few[LEVELS], factor)
    diagonal = torch.rand(D, generator=g, dtype=torch.float64) + 0.1
    if kind == "diagonal + low rank":
        return Gaussian.of(mean, diagonal, factor)
    return Gaussian.of(mean, torch.diag(diagonal) + factor @ factor.T)


KINDS = ["scalar", "scalar + low rank", "levels", "levels + low rank", "diagonal + low rank", "full"]
PAIRS = [(a, b) for a in KINDS for b in KINDS]


def dense(a, b):
    """The matrix of the map, by scipy."""
    a, b = (g.covariance.dense().matrix.numpy() for g in (a, b))
    half = linalg.sqrtm(a)
    back = np.linalg.inv(half)
    return torch.from_numpy((back @ linalg.sqrtm(half @ b @ half) @ back).real)


@pytest.mark.parametrize(("kind_a", "kind_b"), PAIRS)
def test_the_map_and_the_way_are_the_dense_formula(kind_a, kind_b):
    a, b = gaussian(kind_a, 1), gaussian(kind_b, 2)
    way, m, eye = Transport.between(a, b), dense(a, b), torch.eye(D, dtype=torch.float64)
    z = torch.randn(5, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    moved = b.mean + (z - a.mean) @ m
    torch.testing.assert_close(way.move(z), moved)
    torch.testing.assert_close(way.move(z, 0.3), 0.7 * z + 0.3 * moved)
    for t in (0.0, 0.25, 0.5, 1.0):
        step = (1 - t) * eye + t * m
        at, expected = way.at(t), step @ a.covariance.dense().matrix @ step
        torch.testing.assert_close(at.mean, torch.lerp(a.mean, b.mean, t))
        torch.testing.assert_close(at.covariance.dense().matrix, expected)
        torch.testing.assert_close(at.log_prob(z), MultivariateNormal(at.mean, expected).log_prob(z))
    square = (a.mean - b.mean).square().sum() + (a.covariance.dense().matrix @ (m - eye) @ (m - eye)).trace()
    assert way.squared_distance() == pytest.approx(square.item())


@pytest.mark.parametrize("kind", ["scalar + low rank", "levels + low rank"])
def test_samples_of_the_source_become_samples_of_the_target(kind):
    a, b = gaussian(kind, 1), gaussian(kind, 2)
    way = Transport.between(a, b)
    z = a.sample(100_000, seed=0)
    for t in (0.5, 1.0):
        moved = way.move(z, t).double()
        torch.testing.assert_close(moved.mean(0), way.at(t).mean, atol=0.02, rtol=0)
        torch.testing.assert_close(moved.T.cov(), way.at(t).covariance.dense().matrix, atol=0.05, rtol=0.03)
        drawn = way.at(t).sample(100_000, seed=1).double()
        torch.testing.assert_close(drawn.T.cov(), way.at(t).covariance.dense().matrix, atol=0.05, rtol=0.03)
    assert (way.move(z) - z).double().square().sum(1).mean().item() == pytest.approx(way.squared_distance(), rel=0.02)


def test_a_latent_at_strength_0_is_itself_and_there_and_back_too():
    a, b = gaussian("scalar + low rank", 1), gaussian("levels + low rank", 2)
    z = torch.cat([a.sample(4, seed=0), 1e6 * torch.ones(1, D), torch.zeros(1, D)])
    assert torch.equal(Transport.between(a, b).move(z, 0.0), z)
    there = Transport.between(a, b).move(z.double())
    torch.testing.assert_close(Transport.between(b, a).move(there), z.double(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(Transport.between(a, a).move(z.double()), z.double())
    assert Transport.between(a, a).squared_distance() == pytest.approx(0, abs=1e-12)


def test_the_way_is_a_way_from_both_ends():
    a, b = gaussian("levels + low rank", 1), gaussian("scalar + low rank", 2)
    there, back = Transport.between(a, b).at(0.3), Transport.between(b, a).at(0.7)
    torch.testing.assert_close(there.covariance.dense().matrix, back.covariance.dense().matrix)


@pytest.mark.parametrize("seed", range(8))
def test_between_multiples_of_i_the_way_is_a_diagonal_plus_low_rank(seed):
    g = torch.Generator().manual_seed(seed)
    low = 10 * torch.randn(2, D, 3, generator=g, dtype=torch.float64)
    a, b = (Gaussian.of(torch.zeros(D), alpha, u) for alpha, u in zip((0.9, 0.02), low, strict=True))
    for t in (0.1, 0.5, 0.9):
        covariance = Transport.between(a, b).at(t).covariance
        assert isinstance(covariance, DiagonalPlusLowRank)
        assert covariance.diagonal.item() == pytest.approx(((1 - t) * 0.9**0.5 + t * 0.02**0.5) ** 2)
        step = (1 - t) * torch.eye(D, dtype=torch.float64) + t * dense(a, b)
        torch.testing.assert_close(covariance.dense().matrix, step @ a.covariance.dense().matrix @ step)


@pytest.mark.parametrize("kind", ["levels + low rank", "scalar + low rank"])
def test_the_structure_on_the_way_is_its_dense_twin(kind):
    covariance = Transport.between(gaussian("levels + low rank", 1), gaussian(kind, 2)).at(0.5).covariance
    assert isinstance(covariance, SpanCovariance)
    twin, v = covariance.dense(), torch.randn(3, D, dtype=torch.float64)
    torch.testing.assert_close(covariance.variances(), twin.variances())
    torch.testing.assert_close(covariance.trace(), twin.trace())
    torch.testing.assert_close(covariance.matvec(v), twin.matvec(v))
    torch.testing.assert_close(covariance.solve(v), twin.solve(v))
    torch.testing.assert_close(covariance.scaled(3.0).dense().matrix, 3 * twin.matrix)
    torch.testing.assert_close(covariance.log_det(), torch.logdet(twin.matrix))
    noise = as_covariance(0.3, D)
    torch.testing.assert_close(covariance.condition(noise, 4).dense().matrix, twin.condition(noise, 4).matrix)
    torch.testing.assert_close((covariance + noise).dense().matrix, (twin + noise).dense().matrix)
    here, there = Gaussian(v[0], covariance), Gaussian(v[1], noise)
    for other in (there, Gaussian(v[1], covariance)):
        expected = Gaussian(v[0], twin).kl(Gaussian(v[1], other.covariance.dense()))
        assert here.kl(other) == pytest.approx(expected)
    again = pickle.loads(pickle.dumps(here))
    assert torch.equal(again.sample(2, seed=0), here.sample(2, seed=0))


def test_large_latents_take_no_matrix_of_their_size():
    dim, g = 30_000, torch.Generator().manual_seed(0)
    sizes = torch.tensor([20_000, 8_000, 2_000])
    diagonals = [torch.rand(3, generator=g, dtype=torch.float64).repeat_interleave(sizes) + 0.1 for _ in range(2)]
    a, b = (Gaussian.of(torch.zeros(dim), d, torch.randn(dim, 3, generator=g, dtype=torch.float64)) for d in diagonals)
    way = Transport.between(a, b)
    assert way.span.rank == 18
    back = Transport.between(b, a)
    z = a.sample(3, seed=0)
    torch.testing.assert_close(back.move(way.move(z)), z, rtol=1e-4, atol=1e-4)
    assert way.at(0.5).sample(3, seed=0).shape == (3, dim)


def test_what_has_no_map_is_refused():
    with pytest.raises(ValueError, match="same D; got 12 and 2"):
        Transport.between(gaussian("full", 1), Gaussian.standard(2))
    dim = 3000
    scattered = Gaussian.of(torch.zeros(dim), torch.linspace(0.5, 2, dim), torch.ones(dim, 1))
    with pytest.raises(ValueError, match="diagonals of a few values, or D of at most 2048; got D = 3000"):
        Transport.between(scattered, Gaussian.standard(dim))
    way = Transport.between(gaussian("scalar", 1), gaussian("scalar", 2))
    with pytest.raises(ValueError, match="part of the way of 0 to 1"):
        way.at(1.5)
    with pytest.raises(ValueError, match=r"latents of shape \(n, 12\)"):
        way.move(torch.zeros(3))
    with pytest.raises(ValueError, match="finite strength"):
        way.move(torch.zeros(1, D), float("nan"))
