"""A Wasserstein autoencoder: its discrepancy against a double loop, zero on average for equal distributions."""

import pytest
import torch

from helpers import shaken
from transflow.generative.codec import prepare
from transflow.generative.wae import SCALES, Wae, WaeConfig, discrepancy, kernel, loss


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one(a, b):
    return sum(2 * len(a) * s / (2 * len(a) * s + ((a - b) ** 2).sum()) for s in SCALES)


def test_the_discrepancy_is_that_of_a_double_loop():
    a, b = normal(7, 3), 0.5 + 2 * normal(7, 3, seed=1)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(7):
        for j in range(7):
            total += (one(a[i], a[j]) + one(b[i], b[j])) / 42 if i != j else 0
            total -= 2 * one(a[i], b[j]) / 49
    torch.testing.assert_close(discrepancy(a, b).mean(), total)
    assert kernel(a, a).diagonal().tolist() == pytest.approx([len(SCALES)] * 7)


def test_it_is_zero_on_average_for_equal_distributions_and_grows_with_the_distance():
    many = [(normal(16, 4, seed=2 * i), normal(16, 4, seed=2 * i + 1)) for i in range(400)]
    alike = torch.stack([discrepancy(a, b).mean() for a, b in many])
    assert abs(alike.mean().item()) < 3 * alike.std().item() / 20
    means = [
        torch.stack([discrepancy(scale * a + by, b).mean() for a, b in many]).mean().item()
        for scale, by in ((1, 0.5), (1, 1.0), (1, 2.0), (0.3, 0.0), (3.0, 0.0))
    ]
    error = alike.std().item() / 20
    assert 6 * error < means[0] < means[1] < means[2]
    assert min(means[3:]) > 6 * error


def test_codes_are_drawn_towards_the_prior():
    codes = (1.5 + 0.2 * normal(64, 2)).requires_grad_()
    optimiser = torch.optim.Adam([codes], 0.1)
    for i in range(200):
        optimiser.zero_grad()
        discrepancy(codes, normal(64, 2, seed=i)).mean().backward()
        optimiser.step()
    found = codes.detach()
    assert found.median(0).values.abs().max() < 0.3
    quartiles = found.quantile(torch.tensor([0.25, 0.75], dtype=torch.float64), 0)
    assert ((quartiles[1] - quartiles[0]) / 1.349 - 1).abs().max() < 0.3  # as wide as N(0, 1)


def test_the_loss_of_a_batch_is_error_and_weighted_discrepancy():
    flow = shaken(lambda: Wae(WaeConfig((1, 8, 8), latent=2, widths=(8, 8), matching=0.7)), torch.float64)
    x, drawn = prepare(flow, normal(6, 1, 8, 8), torch.Generator().manual_seed(3))
    assert drawn.shape == (6, 2)
    codes = flow.encoder(x)
    error = (flow.decoder(codes) - x).square().mean()
    found = loss(flow, x, drawn)
    assert found.shape == (6,)
    torch.testing.assert_close(found.mean(), error + 0.7 * discrepancy(codes, drawn.double()).mean())
    assert loss(flow, x[:1], drawn[:1]).isfinite().all()
    with pytest.raises(ValueError, match="weight of matching above 0"):
        WaeConfig(matching=0.0)
