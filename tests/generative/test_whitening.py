"""Laws of whitening: a bijection, the identity until fitted; then all frequencies and colours have one mean square."""

import pytest
import torch

from transflow.generative.whitening import LEAST, Whitening, cosines

SHAPES = [(3, 8, 6), (1, 5, 1), (2, 1, 4)]
EVERY = pytest.mark.parametrize("shape", SHAPES)


def pictures(shape, count=200):
    """Smooth ones of colours that go together, about a mean picture."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    mixed = torch.einsum("dc,bchw->bdhw", torch.ones(shape[0], shape[0]).double() + torch.eye(shape[0]), noise)
    smooth = mixed.cumsum(2).cumsum(3) / 20
    return smooth + torch.rand(shape, generator=generator, dtype=torch.float64)


def fitted(shape):
    whitening = Whitening(shape).double()
    whitening.fit(pictures(shape))
    return whitening


@pytest.mark.parametrize("size", [1, 2, 7, 32])
def test_the_transform_is_orthogonal_and_its_first_row_the_mean(size):
    matrix = cosines(size)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-13)
    torch.testing.assert_close(matrix[0] * size**0.5, torch.ones(size, dtype=torch.float64))


@EVERY
def test_it_is_the_identity_until_it_is_fitted_and_a_bijection_then(shape):
    x = pictures(shape, 3)
    y, volume = Whitening(shape).double()(x)
    torch.testing.assert_close(y, x)
    assert not volume.any()
    whitening = fitted(shape)
    y, volume = whitening(x)
    torch.testing.assert_close(whitening.inverse(y), x, rtol=0, atol=1e-10)
    size = x[0].numel()
    jacobian = torch.autograd.functional.jacobian(lambda x: whitening(x[None])[0][0], x[0]).reshape(size, size)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], volume[0])
    torch.testing.assert_close(jacobian, jacobian.T)  # so each number lies where its pixel does


@EVERY
def test_what_it_was_fitted_on_is_white(shape):
    whitening, x = fitted(shape), pictures(shape)
    y = whitening(x)[0]
    torch.testing.assert_close(y.mean(0), torch.zeros(shape, dtype=torch.float64), rtol=0, atol=1e-6)
    own = whitening.frequencies(y).square().mean(0)
    torch.testing.assert_close(own, torch.ones_like(own))
    before = torch.einsum("dc,bchw->bdhw", whitening.colours, x - whitening.mean).transpose(0, 1).flatten(1)
    expected = torch.linalg.eigvalsh(before @ before.T).sort().values
    torch.testing.assert_close((before @ before.T).diagonal().sort().values, expected)


def test_what_does_not_vary_is_not_blown_up_beyond_a_bound():
    whitening = Whitening((1, 4, 4))
    whitening.fit(torch.zeros(8, 1, 4, 4))
    assert torch.equal(whitening.deviation, torch.full((1, 4, 4), LEAST))
    x = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(whitening.inverse(whitening(x)[0]), x, rtol=0, atol=1e-4)


def test_half_precision_around_it_does_not_reach_it():
    whitening = fitted((3, 8, 6)).float()
    x = pictures((3, 8, 6), 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = whitening(x)[0]
    assert found.dtype == torch.float32
    assert torch.equal(found, whitening(x)[0])
