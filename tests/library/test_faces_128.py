"""The bundled pyramid: what it is, that it stops at 64, and that pictures come back."""

import pytest
import torch

from transflow import load


@pytest.fixture(scope="module")
def whole():
    return load("faces-128")


def test_it_is_a_pyramid_of_three_levels_with_an_exact_round_trip(whole):
    assert whole.shape == (3, 128, 128)
    assert whole.level_sizes == (36_864, 9_216, 3_072)
    assert whole.level_temperatures == (0.8, 0.6, 1.0)
    assert not whole.can("features")
    made = (255 * whole.pictures(whole.prior, 1, seed=0)).round().to(torch.uint8)
    assert whole.reconstruct(made).errors.max() < 2e-5


def test_faces_64_is_the_same_model_stopped_one_level_lower(whole):
    less = load("faces-64")
    assert less.shape == (3, 64, 64)
    assert (less.level_sizes, less.level_temperatures) == (whole.level_sizes[1:], (0.6, 1.0))
    assert (less.card["name"], whole.card["name"]) == ("faces-64", "faces-128")
    z = whole.prior.sample(1, seed=0)
    average = torch.nn.functional.avg_pool2d(whole.decode_unclamped(z), 2)
    torch.testing.assert_close(less.decode_unclamped(z[:, whole.level_sizes[0] :]), average, rtol=0, atol=1e-5)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match=r"^Expected a size of 64, 128; got 32"):
        load("faces-128", size=32)
