"""One covariance for all classes: its density written out, leaving out that is refitting, classes of few examples."""

from dataclasses import replace

import pytest
import torch

from fewshot_data import examples, few, folds, latents
from transflow import Evidence
from transflow.fewshot.shared_covariance import shared
from transflow.gaussians.inverse_wishart import InverseWishart


def brute_shared(rows, labels, query, classes, rho, size):
    """-N/2 of the squared distances by the covariance written out."""
    means = torch.stack([rows[labels == c].flatten(0, 1).mean(0) for c in range(classes)])
    x = (rows - means[labels][:, None]).flatten(0, 1)
    inverse = torch.linalg.inv(x.T @ x + rho * torch.eye(x.shape[1], dtype=x.dtype))
    gap = query - means
    return -0.5 * size * ((gap @ inverse) * gap).sum(1)


@pytest.mark.parametrize("dim", [8, 200])
@pytest.mark.parametrize("copies", [1, 3])
def test_leaving_out_of_the_shared_covariance_is_refitting(dim, copies):
    rows, labels = latents(dim=dim, copies=copies)
    whole = examples(rows, labels)
    found = replace(shared(whole, 0.5), spread=0.0)
    x = (rows - whole.means[labels][:, None]).flatten(0, 1)
    rho = 0.5 * x.square().sum().item() / dim
    direct = [brute_shared(rows, labels, q, 3, rho, len(x)) for q in rows[:, 0]]
    torch.testing.assert_close(found.log_density(rows[:, 0]), torch.stack(direct))
    for out in folds(labels):
        stay = torch.ones(len(rows), dtype=torch.bool)
        stay[out] = False
        means = torch.stack([rows[stay & (labels == c)].flatten(0, 1).mean(0) for c in range(3)])
        parts = []
        for i in out.tolist():  # the class's own scatter is without the example, every mean without one
            rest = torch.arange(len(rows)) != i
            own = [rows[rest & (labels == c)].flatten(0, 1).mean(0) for c in range(3)]
            y = (rows - torch.stack(own)[labels][:, None])[rest].flatten(0, 1)
            inverse = torch.linalg.inv(y.T @ y + rho * torch.eye(dim, dtype=y.dtype))
            gap = rows[i, 0] - means
            parts.append(-0.5 * len(x) * ((gap @ inverse) * gap).sum(1))
        torch.testing.assert_close(found.leave_one_out(whole, out, out), torch.stack(parts), rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("dim", [8, 200])
def test_it_is_the_expected_covariance_of_the_conjugate_family(dim):
    rows, labels = latents(dim=dim, copies=1)
    found = shared(examples(rows, labels), 0.5)
    now = InverseWishart.prior(dim, kappa=1.0, weight=1.0)
    rho = 0.5 * sum((rows[labels == c, 0] - rows[labels == c, 0].mean(0)).square().sum().item() for c in range(3)) / dim
    now = replace(now, diagonal=now.diagonal * rho)
    for c in range(3):  # about the mean of its own: only the scatter is added
        z = rows[labels == c, 0]
        now = now.condition(Evidence.of(z - z.mean(0)), z - z.mean(0))
    size = len(rows) / now.weight  # N, in place of n_0 + m
    query = rows[:4, 0]
    torch.testing.assert_close(found.length(query), size * (query * now.expected_covariance.solve(query)).sum(1))


def test_classes_of_few_examples_are_not_at_a_disadvantage():
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(42, 1, 60, dtype=torch.float64, generator=g)
    labels = torch.tensor([0] * 40 + [1] * 2)
    rows[labels == 1] += 1.0
    query = torch.randn(400, 60, dtype=torch.float64, generator=g)
    query[200:] += 1.0
    predicted = few(rows, labels, noise="shared")[0].ensemble.scores({"latents": query}).argmax(1)
    assert (predicted[:200] == 0).double().mean() > 0.75
    assert (predicted[200:] == 1).double().mean() > 0.75


def test_the_scatter_of_a_mean_is_subtracted_from_its_distances():
    rows, labels = latents(copies=1)
    whole = examples(rows, labels)
    found = shared(whole, 0.5)
    assert found.spread > 0
    without = replace(found, spread=0.0)
    torch.testing.assert_close(
        found.log_density(rows[:, 0]) - without.log_density(rows[:, 0]), torch.full((15, 3), found.spread / 10).double()
    )
    (out, _) = folds(labels)
    counts = torch.full((3,), 4.0, dtype=torch.float64)  # each class has lost one of five
    difference = found.leave_one_out(whole, out, out) - without.leave_one_out(whole, out, out)
    torch.testing.assert_close(difference, (0.5 * found.spread / counts).expand(3, 3))
