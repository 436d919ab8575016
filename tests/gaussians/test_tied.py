"""The tied covariance against its dense twin, and the shrinkage against its formula written out."""

import pytest
import torch

from transflow.gaussians.tied import ledoit_wolf, tied


def sets(dim=6, counts=(4, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    stretch = torch.linspace(0.3, 2, dim, dtype=torch.float64)
    return [
        torch.randn(n, dim, dtype=torch.float64, generator=generator) * stretch + 3 * i for i, n in enumerate(counts)
    ]


@pytest.mark.parametrize("shrinkage", [1.0, 0.3, 1e-3, None])
@pytest.mark.parametrize("dim", [3, 6, 40])
def test_it_is_its_dense_twin(dim, shrinkage):
    latents = sets(dim)
    rows = torch.cat([part - part.mean(0) for part in latents])
    scatter = rows.T @ rows / len(rows)
    g = ledoit_wolf(latents) if shrinkage is None else shrinkage
    expected = (1 - g) * scatter + g * scatter.trace() / dim * torch.eye(dim, dtype=torch.float64)
    torch.testing.assert_close(tied(latents, shrinkage).dense().matrix, expected)


def test_the_shrinkage_is_ledoit_and_wolfs():
    latents = sets(7, (6, 9))
    rows = torch.cat([part - part.mean(0) for part in latents])
    scatter = rows.T @ rows / len(rows)
    target = scatter.trace() / 7 * torch.eye(7, dtype=torch.float64)
    each = torch.stack([(torch.outer(row, row) - scatter).square().sum() for row in rows])
    expected = each.sum() / len(rows) ** 2 / (scatter - target).square().sum()
    assert ledoit_wolf(latents) == pytest.approx(expected.clamp(max=1).item())


def test_few_white_latents_are_shrunk_and_many_unequal_ones_are_not():
    white = torch.randn(20, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert ledoit_wolf([white]) > 0.85
    assert ledoit_wolf(sets(6, (4000,))) < 0.01


def test_the_means_of_the_sets_do_not_count():
    a, b = sets()
    torch.testing.assert_close(tied([a, b + 100], 0.5).dense().matrix, tied([a, b], 0.5).dense().matrix)


def test_without_two_different_latents_in_a_set_it_is_the_identity():
    one = torch.ones(1, 3)
    for latents in ([one, 2 * one], [one.expand(4, 3), one]):
        assert tied(latents).is_identity
        assert ledoit_wolf(latents) == 1


def test_a_latent_alone_in_its_set_says_nothing():
    a, b = sets()
    torch.testing.assert_close(tied([a, b[:1]], None).dense().matrix, tied([a], None).dense().matrix)


@pytest.mark.parametrize("bad", [0.0, -1.0, 1.5, float("nan")])
def test_a_shrinkage_is_a_share(bad):
    with pytest.raises(ValueError, match="shrinkage"):
        tied(sets(), bad)
