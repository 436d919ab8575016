"""Halving undoes enlarging, sizes come in one after the other and without a jump, features keep their size."""

from itertools import pairwise

import pytest
import torch

from transflow.generative.growing import GRAIN, GROWING, Scaled, enlarged, faded, grown_at, halved, stage_of


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (7, 13), (1, 2), (3, 1)])
def test_halving_undoes_enlarging(size):
    half = tuple(-(-side // 2) for side in size)
    x = torch.randn(2, 3, *half, dtype=torch.float64)
    assert enlarged(x, size).shape == (2, 3, *size)
    torch.testing.assert_close(halved(enlarged(x, size)), x, rtol=0, atol=1e-15)


def test_each_size_has_as_much_of_the_budget_as_all_coarser_ones():
    """With three doublings all is in after G, two after G / 2, one after G / 4."""
    assert [grown_at(share * GROWING, 3) for share in (1 / 4, 1 / 2, 1)] == [GRAIN, 2 * GRAIN, 3 * GRAIN]
    assert grown_at(0.0, 3) == grown_at(GROWING / 8, 3) == 0
    assert grown_at(1.0, 3) == 3 * GRAIN
    assert grown_at(2**-0.5 * GROWING, 3) == 2 * GRAIN  # half of its time, by the logarithm, a size waits
    assert grown_at(2**-0.25 * GROWING, 3) == 2 * GRAIN + GRAIN // 2
    assert grown_at(0.2, 0) == 0
    found = [grown_at(i / 10_000, 3) for i in range(10_001)]
    assert found == sorted(found)
    assert max(b - a for a, b in pairwise(found) if a) < GRAIN / 50  # no jump


def test_a_stage_is_the_finest_size_and_its_share():
    known = {0: (0, 1.0), 1: (1, 1 / GRAIN), GRAIN // 4: (1, 0.25), GRAIN: (1, 1.0), GRAIN + GRAIN // 2: (2, 0.5)}
    known |= {2 * GRAIN: (2, 1.0), 9 * GRAIN: (2, 1.0), -5: (0, 1.0)}  # what a damaged file says is no place outside
    for grown, stage in known.items():
        assert stage_of(torch.tensor(grown), 2) == stage
        assert stage_of(torch.tensor(float(grown)), 2) == stage  # as a file is read


def test_a_fade_goes_from_the_coarser_pictures_enlarged_to_the_finer():
    coarser, finer = torch.randn(2, 1, 3, 2), torch.randn(2, 1, 5, 4)
    assert torch.equal(faded(coarser, finer, 0.0), enlarged(coarser, (5, 4)))
    assert torch.equal(faded(coarser, finer, 1.0), finer)
    torch.testing.assert_close(faded(coarser, finer, 0.25), 0.75 * enlarged(coarser, (5, 4)) + 0.25 * finer)


def test_features_keep_their_size():
    torch.manual_seed(0)
    for kernel in (1, 3):
        x = torch.randn(16, 64, 32, 32)
        y = Scaled(64, 64, kernel, gain=1.0)(x)[:, :, 1:-1, 1:-1]
        assert y.std().item() == pytest.approx(1, abs=0.1)
