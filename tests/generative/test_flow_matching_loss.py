"""What flow matching is trained by: straight lines, their velocity, and pictures that are shown as is said."""

import pytest
import torch

from helpers import shaken
from transflow.generative.flow_matching import CHANGES, FlowMatching, FlowMatchingConfig
from transflow.generative.flow_matching_loss import NOISE, loss, prepare

CONFIG = FlowMatchingConfig((3, 8, 8), widths=(16, 32), attention=(False, True), depth=1, embedding=16, steps=4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count, seed=1):
    return 0.9 * (torch.rand(count, 3, 8, 8, generator=generator(seed)) - 0.5)


class Known(torch.nn.Module):
    """A flow whose velocity is that of one straight line, and which keeps what it was given."""

    def __init__(self, velocity):
        super().__init__()
        self.found = velocity

    def velocity(self, x, t, more):
        self.given = x, t, more
        return self.found

    def changes(self, numbers):
        return 2 * numbers


def test_the_loss_is_the_error_of_the_velocity_along_a_straight_line():
    x, noise = pictures(4), torch.randn(4, 3, 8, 8, generator=generator())
    t, changes = torch.tensor([0.0, 0.25, 0.5, 1.0]), torch.rand(4, CHANGES)
    flow = Known(2 * x - noise)
    torch.testing.assert_close(loss(flow, x, noise, t, changes), torch.zeros(4))
    on_the_way, at, more = flow.given
    torch.testing.assert_close(on_the_way[:1], noise[:1])
    torch.testing.assert_close(on_the_way[3:], 2 * x[3:])
    torch.testing.assert_close(on_the_way[1], 0.75 * noise[1] + 0.5 * x[1])
    assert torch.equal(at, t)
    torch.testing.assert_close(more, 2 * changes)
    flow = Known(2 * x - noise + torch.arange(4.0)[:, None, None, None])
    torch.testing.assert_close(loss(flow, x, noise, t, changes), torch.arange(4.0) ** 2)


def test_in_training_pictures_are_noisy_and_changed_and_times_logit_normal_or_uniform():
    x = pictures(4000)
    shown, noise, t, changes = prepare(FlowMatching(CONFIG), x, generator())
    untouched = ~changes.any(1)
    assert 0.4 < untouched.double().mean() < 0.5
    assert (shown - x)[untouched].std().item() == pytest.approx(NOISE, rel=0.02)
    assert noise.std().item() == pytest.approx(1, rel=0.02)
    assert t.mean().item() == pytest.approx(0.5, abs=0.02)
    assert t.var().item() == pytest.approx(0.75 * 0.0434 + 0.25 / 12, rel=0.05)
    assert ((t > 0) & (t < 1)).all()
    for first, second in zip((shown, noise, t, changes), prepare(FlowMatching(CONFIG), x, generator()), strict=True):
        assert torch.equal(first, second)


def test_held_out_pictures_are_shown_as_they_are_at_even_times():
    x = pictures(8)
    shown, noise, t, changes = prepare(FlowMatching(CONFIG).eval(), x, generator())
    assert torch.equal(shown, x)
    assert noise.shape == x.shape
    torch.testing.assert_close(t, torch.arange(1, 17, 2) / 16)
    assert not changes.any()


def test_what_was_changed_is_learned_from():
    flow = shaken(lambda: FlowMatching(CONFIG))
    x, noise, t, _ = prepare(flow.eval(), pictures(4), generator())
    numbers = torch.ones(4, CHANGES)
    value = loss(flow, x, noise, t, numbers)
    assert value.shape == (4,)
    assert (value - loss(flow, x, noise, t, torch.zeros(4, CHANGES))).abs().max() > 1e-4
    value.mean().backward()
    assert flow.changes.weight.grad.abs().min() > 0
