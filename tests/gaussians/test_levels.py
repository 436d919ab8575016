"""Levels: orthogonal parts of a latent, and the cut by them."""

import math

import pytest
import torch

from transflow.gaussians.levels import Cut, FrequencyBands, LevelSizes, levels_of

EACH = [LevelSizes((40, 20, 4)), FrequencyBands((1, 8, 8)), FrequencyBands((3, 16, 12)), FrequencyBands((2, 9, 11))]


def some(levels, n=5):
    dim = sum(levels.sizes) if isinstance(levels, LevelSizes) else math.prod(levels.shape)
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("levels", EACH)
def test_levels_are_orthogonal_and_add_up(levels):
    d = some(levels)
    torch.testing.assert_close(levels.norms(d).square().sum(1), d.square().sum(1))
    torch.testing.assert_close(levels.scaled(d, torch.ones(levels.count, dtype=torch.float64)), d)
    factors = torch.rand(5, levels.count, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(levels.norms(levels.scaled(d, factors)), levels.norms(d) * factors)
    spliced = levels.spliced(d[:1], d[1:2])
    torch.testing.assert_close(levels.norms(spliced - d[1:2])[:, -1], torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(levels.norms(spliced - d[:1])[:, :-1], torch.zeros(1, levels.count - 1).double())


def test_frequencies_go_from_fine_to_coarse():
    bands = FrequencyBands((1, 16, 16))
    flat, checker = torch.ones(1, 256), (1.0 - 2 * ((torch.arange(256) // 16 + torch.arange(256)) % 2))[None]
    slow = torch.cos(2 * math.pi * torch.arange(16) / 16).repeat(16)[None]
    assert bands.norms(flat)[0].argmax() == bands.norms(slow)[0].argmax() == bands.count - 1
    assert bands.norms(checker.float() - checker.float().mean())[0].argmax() == 0


def test_a_model_without_levels_is_cut_by_frequency_where_its_latent_is_a_picture():
    assert levels_of((3072,), (3, 32, 32)) == FrequencyBands((3, 32, 32))
    assert levels_of((100,), (3, 32, 32)) == LevelSizes((100,))
    assert levels_of((48,), (3, 4, 4)) == LevelSizes((48,))
    assert levels_of((2048, 1024), (3, 32, 32)) == LevelSizes((2048, 1024))


@pytest.mark.parametrize("levels", EACH)
def test_the_cut_shortens_what_is_too_long_and_nothing_else(levels):
    d = some(levels, 9)
    cut = Cut.of(levels, d)
    norms, limits = levels.norms(d), levels.norms(d).median(0).values
    torch.testing.assert_close(levels.norms(cut(d)), torch.minimum(norms, limits))
    torch.testing.assert_close(cut(cut(d)), cut(d))
    assert torch.equal(cut(torch.zeros_like(d)), torch.zeros_like(d))
