"""A flow as a model of pictures: bin centres in and out, one picture at a time or many, densities that sum up."""

import pytest
import torch

from helpers import shaken
from transflow import Glow, GlowConfig
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat


def tiny(bits=5, dtype=torch.float32):
    flow = shaken(lambda: Glow(GlowConfig(size=8, steps=(2, 2), width=(8, 8))), dtype)
    return PictureModel(flow.requires_grad_(False), PixelFormat(bits))


def pixels(n, seed=0):
    return torch.randint(0, 256, (n, 3, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("bits", [1, 5, 8])
def test_encode_is_the_bin_centre_and_decode_its_inverse(bits):
    model, x = tiny(bits, torch.float64), pixels(5)
    assert torch.equal(model.encode(x), model.encode(x))
    expected = (torch.floor(x.double() / 2 ** (8 - bits)) + 0.5) / 2**bits
    torch.testing.assert_close(model.decode(model.encode(x)), expected, rtol=0, atol=1e-9)


def test_the_result_does_not_depend_on_the_batch():
    model, x = tiny(), pixels(70)
    one_by_one = torch.cat([model.encode(p[None]) for p in x])
    torch.testing.assert_close(model.encode(x), one_by_one, rtol=0, atol=1e-5)
    decoded = torch.cat([model.decode(z[None]) for z in one_by_one])
    torch.testing.assert_close(model.decode(one_by_one), decoded, rtol=0, atol=1e-4)


def test_decode_has_gradients_for_latents_that_have_them():
    model = tiny(dtype=torch.float64)
    z = model.encode(pixels(2)).requires_grad_()
    assert torch.allclose(model.decode_unclamped(z), model.decode_unclamped(z.detach()), atol=1e-12)
    assert torch.autograd.gradcheck(lambda z: model.decode_unclamped(z)[:, :, ::3, ::3], z)
    with torch.no_grad():
        assert not model.decode_unclamped(z).requires_grad
    assert not model.decode(z.detach()).requires_grad


def test_no_picture_gives_no_latent():
    model = tiny()
    assert model.encode(pixels(0)).shape == (0, 192)
    assert model.decode(torch.zeros(0, 192)).shape == (0, 3, 8, 8)


def test_log_prob_is_that_of_latents_and_log_determinant():
    model = tiny(dtype=torch.float64)
    x = pixels(3)
    z, log_det = model.flow(model.pixels.centre(x).double())
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det
    torch.testing.assert_close(model.encode_and_log_prob(x)[1], expected)


def test_probabilities_of_all_pictures_sum_to_that_of_the_cube():
    """Of 2 x 2 pixels of 4 bits: density times volume of each bin, and the share of the flow's samples in the cube."""
    flow = shaken(lambda: Glow(GlowConfig(channels=1, size=2, steps=(2,), width=(4,))), torch.float64, 0.3)
    bins, format_ = 2**4, PixelFormat(4)
    with torch.no_grad():
        flow.initialise(format_.dequantise(torch.randint(0, 256, (256, 1, 2, 2), dtype=torch.uint8)).double())
        inside = flow.inverse(torch.randn(200_000, 4, dtype=torch.float64)).abs().amax((1, 2, 3)) < 0.5
    share = inside.double().mean().item()
    values = torch.arange(0, 256, 256 // bins, dtype=torch.uint8)
    every = torch.cartesian_prod(values, values, values, values).view(-1, 1, 2, 2)
    log_prob = PictureModel(flow.requires_grad_(False), format_).encode_and_log_prob(every)[1]
    assert 0.1 < share < 0.9
    assert (log_prob.exp().sum() / bins**4).item() == pytest.approx(share, abs=0.004)


def test_a_glow_without_couplings_has_no_activations_to_see():
    flow = shaken(lambda: Glow(GlowConfig(size=4, steps=(0,), width=(4,))))
    model = PictureModel(flow.requires_grad_(False), PixelFormat(5))
    x = pixels(2)[:, :, :4, :4]
    assert model.features is None
    assert model.encode_and_features is None
    assert model.decode(model.encode(x)).shape == (2, 3, 4, 4)
