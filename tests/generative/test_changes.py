"""Changes of training pictures: what is said of a picture is what was done to it."""

import pytest
import torch

from transflow.generative.changes import WEIGHTS, change


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ramps(height, width):
    """Two pictures in one, linear across and down; and the points of their pixels, in half heights."""
    down = (torch.arange(height) + 0.5) / height * 2 - 1
    across = ((torch.arange(width) + 0.5) / width * 2 - 1) * (width / height)
    points = torch.stack(torch.broadcast_tensors(across[None, :], down[:, None]))
    return 0.2 * points, points


@pytest.mark.parametrize(("height", "width"), [(48, 48), (48, 64)])
def test_the_numbers_say_how_a_picture_was_changed(height, width):
    """A linear picture shows the points that its pixels come from, which the six numbers tell."""
    picture, points = ramps(height, width)
    moved, numbers = change(picture.expand(32, -1, -1, -1), generator(), share=1.0)
    sin, cos_less_1, scale, stretch, across, down = (numbers / torch.tensor(WEIGHTS)).T[:, :, None, None]
    cos, (x, y) = cos_less_1 + 1, points
    torch.testing.assert_close(sin**2 + cos**2, torch.ones_like(sin))
    x_from = (-scale - stretch).exp() * (cos * x - sin * y) + across
    y_from = (-scale + stretch).exp() * (sin * x + cos * y) + down
    inside = (x_from.abs() < width / height - 0.1) & (y_from.abs() < 0.9)
    assert inside.double().mean() > 0.5
    for made, come_from in ((moved[:, 0], x_from), (moved[:, 1], y_from)):
        assert (made - 0.2 * come_from)[inside].abs().max() < 2e-3


def test_pictures_that_are_not_changed_are_as_they_were_and_have_zeros():
    x = torch.rand(256, 3, 8, 8, generator=generator(1)) - 0.5
    made, numbers = change(x, generator())
    untouched = (numbers == 0).all(1)
    assert 0.35 < untouched.double().mean() < 0.55  # 0.85 ** 5
    assert torch.equal(made[untouched], x[untouched])
    assert ((made - x)[~untouched].abs().amax((1, 2, 3)) > 1e-4).all()
    same, none = change(x, generator(), share=0.0)
    assert torch.equal(same, x)
    assert not none.any()


def test_changed_pictures_stay_in_range_and_are_drawn_from_the_generator_alone():
    x = torch.rand(64, 1, 8, 8, generator=generator(1)).round() - 0.5
    state = torch.get_rng_state()
    made, numbers = change(x, generator(2), share=1.0)
    assert made.abs().max() <= 0.5
    again = change(x, generator(2), share=1.0)
    assert torch.equal(again[0], made)
    assert torch.equal(again[1], numbers)
    assert not torch.equal(change(x, generator(3), share=1.0)[1], numbers)
    assert torch.equal(torch.get_rng_state(), state)
