"""Temperatures and weights are the best there are; the tail of a Student t."""

import math

import pytest
import torch

from transflow.fewshot.calibration import calibrate, smoothed, unskewed, upper_tail, weigh


def test_calibration_finds_the_temperature():
    g = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 4, dtype=torch.float64, generator=g)
    truth = torch.distributions.Categorical(logits=logits)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = truth.sample()
    temperature, _ = calibrate(7 * logits, labels)
    assert temperature == pytest.approx(7, rel=0.1)


def test_weights_are_the_best_there_are():
    g = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 3, (40,), generator=g)
    good = 2 * torch.eye(3, dtype=torch.float64)[truth] + torch.randn(40, 3, dtype=torch.float64, generator=g)
    noise = torch.randn(40, 3, dtype=torch.float64, generator=g)
    parts = torch.stack([good, noise, -good])
    target = smoothed(good, truth)

    def value(beta):
        joint = (beta[:, None, None] * parts).sum(0).log_softmax(1)
        return ((target * joint).sum() - (beta - 1 / 3).square().sum()).item()

    found = weigh(list(parts), truth)
    assert found[0] > 0.5
    assert (found >= 0).all()
    for _ in range(200):
        other = (found + 0.05 * torch.randn(3, dtype=torch.float64, generator=g)).clamp(min=0)
        assert value(other) <= value(found)
    torch.testing.assert_close(weigh([good, good], truth).diff(), torch.zeros(1, dtype=torch.float64))


def test_the_tail_of_student_t():
    for freedom, t in ((1, 31.82), (5, 3.365), (10, 2.764), (50, 2.403)):
        assert upper_tail(torch.tensor([t]), freedom).item() == pytest.approx(0.01, rel=1e-3)
    both = upper_tail(torch.tensor([-1.0, 1.0, math.inf]), 10)
    assert both[0] > 0.5 > both[1]
    assert both[:2].sum().item() == pytest.approx(1)
    assert both[2] == 0


def test_skewed_numbers_become_normal():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40_000, 8, dtype=torch.float64, generator=g).square().sum(1)  # chi squared of 8 degrees
    z = unskewed((x - 8) / 4, 1.0)
    assert z.mean().abs() < 0.02
    for bound, share in ((-2.326, 0.99), (0.0, 0.5), (2.326, 0.01)):
        assert (z > bound).double().mean().item() == pytest.approx(share, abs=0.01 if bound <= 0 else 0.002)
    assert torch.equal(unskewed(z, 0.0), z)
