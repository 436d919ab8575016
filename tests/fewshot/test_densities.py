"""Densities of a class: the paper's, one that integrates to 1, and leaving out that is refitting."""

import math

import pytest
import torch

from fewshot_data import examples, folds, latents
from transflow import Evidence, Gaussian
from transflow.fewshot.densities import Student, per_level, pooled, scaled_per_count, student
from transflow.gaussians.inverse_wishart import InverseWishart


@pytest.mark.parametrize("make", [pooled, per_level, student])
def test_leaving_out_is_refitting(make):
    rows, labels = latents(copies=1)
    whole = examples(rows, labels, levels=(6, 2))
    found = make(whole)
    for out in folds(labels):
        rest = torch.ones(len(rows), dtype=torch.bool)
        rest[out] = False
        less = examples(rows[rest], labels[rest], levels=(6, 2))
        fresh = make(less)
        if isinstance(fresh, Student):  # its pooled lambda is the prior of each class's and stays
            fresh = Student.of(less.counts, less.means, less.scatter, found.lam)
        torch.testing.assert_close(found.leave_one_out(whole, out, out), fresh.log_density(rows[out, 0]))


def test_lambda_i_is_the_papers_predictive():
    rows, labels = latents(copies=1)
    found = scaled_per_count(examples(rows, labels), 0.5)
    query = torch.randn(4, 8, dtype=torch.float64)
    for c in range(3):
        evidence = Evidence.of(rows[labels == c, 0])
        lam = 0.5 * evidence.count
        direct = Gaussian.standard(8).condition(evidence, lam).predictive(lam).log_prob(query)
        torch.testing.assert_close(found.log_density(query)[:, c], direct - 4 * -math.log(2 * math.pi))
    weights, offset = found.linear()
    torch.testing.assert_close((query @ weights.T + offset).log_softmax(1), found.log_density(query).log_softmax(1))


def test_student_is_a_density_that_integrates_to_one():
    rows, labels = latents(copies=1, dim=1, classes=2)
    found = student(examples(rows, labels, 2))
    grid = torch.linspace(-400, 400, 400_001, dtype=torch.float64)[:, None]
    density = (found.log_density(grid) - 0.5 * math.log(math.pi)).exp()
    torch.testing.assert_close(
        torch.trapezoid(density, grid[:, 0], dim=0), torch.ones(2, dtype=torch.float64), atol=1e-3, rtol=0
    )


def test_student_of_one_number_is_the_inverse_wisharts_predictive():
    rows, labels = latents(copies=1, dim=1, classes=2)
    found = student(examples(rows, labels, 2))
    lam = torch.tensor(found.lam, dtype=torch.float64)
    zeros = torch.zeros(1, dtype=torch.float64)
    prior = InverseWishart(zeros, found.lam, -1.0, lam, zeros.new_zeros(0, 1))  # IG(1/2, lambda/2)
    query = torch.linspace(-4, 4, 9, dtype=torch.float64)[:, None]
    for c in range(2):
        z = rows[labels == c, 0]
        t = prior.condition(Evidence.of(z), z - z.mean(0)).predictive
        torch.testing.assert_close(found.log_density(query)[:, c] - 0.5 * math.log(math.pi), t.log_prob(query))


@pytest.mark.parametrize("dim", [1, 3])
def test_student_is_the_predictive_integrated_over_lambda(dim):
    rows, labels = latents(copies=1, dim=dim, classes=2)
    found = student(examples(rows, labels, 2))
    query = torch.linspace(-2, 3, 5 * dim, dtype=torch.float64).view(5, dim)
    k = found.lam
    lam = torch.logspace(-4, 5, 40_000, dtype=torch.float64)
    log_prior = torch.distributions.InverseGamma(dim / 2, dim * k / 2).log_prob(lam) + lam.log()  # d log(lambda)

    def log_marginal(z):
        """Of rows z (n, D): given lambda their mean is N(0, lambda / k I), and they scatter about it by lambda."""
        n = len(z)
        shape = torch.eye(n, dtype=z.dtype) + 1 / k
        square = (z * torch.linalg.solve(shape, z)).sum()
        log_density = -0.5 * (n * dim * (2 * math.pi * lam).log() + dim * torch.logdet(shape) + square / lam)
        return torch.logsumexp(log_density + log_prior, 0)

    for c in range(2):
        own = rows[labels == c, 0]
        expected = torch.stack([log_marginal(torch.cat([own, z[None]])) - log_marginal(own) for z in query])
        density = found.log_density(query)[:, c] - dim / 2 * math.log(math.pi)
        torch.testing.assert_close(density, expected, rtol=1e-5, atol=1e-5)
