"""Distributions over pictures: the density is that of the change of variables, and samples follow it."""

import math
import pickle

import pytest
import torch

from transflow import Gaussian, wrap
from transflow.conditioning.distribution import PictureDistribution

SCALE = 3.0


@pytest.fixture
def linear():
    """z = 3 (x - 1/2) for a picture of two pixels: everything is known."""

    def encode(x):
        return SCALE * (x.flatten(1).double() / 255 - 0.5)

    def log_prob(x):
        z = encode(x)
        return z, Gaussian.standard(2).log_prob(z) + 2 * math.log(SCALE)

    class Linear:
        shape = (1, 1, 2)
        prior = Gaussian.standard(2)

        def encode(self, x):
            return encode(x)

        def encode_and_log_prob(self, x):
            return log_prob(x)

        def decode(self, z):
            return (z / SCALE + 0.5).clamp(0, 1).unflatten(1, self.shape)

    return wrap(Linear())


def test_density_against_the_change_of_variables(linear):
    latents = Gaussian.of(torch.tensor([0.2, -0.1]), 0.3)
    pictures = PictureDistribution(linear, latents)
    x = torch.tensor([[[[0, 255]]], [[[100, 130]]]], dtype=torch.uint8)
    direct = torch.distributions.Normal((latents.mean / SCALE + 0.5), math.sqrt(0.3) / SCALE)
    expected = direct.log_prob((x.double() / 255).flatten(1)).sum(1)
    torch.testing.assert_close(pictures.log_prob(x), expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(pictures.log_prob(x.double() / 255), expected, atol=1e-9, rtol=0)
    assert pictures.log_prob(x.reshape(2, 1, 1, 1, 2)).shape == (2, 1)


def test_the_prior_gives_the_models_own_density(model, pixels):
    own = model.score_pixels(pixels)[1]
    torch.testing.assert_close(PictureDistribution(model, model.prior).log_prob(pixels), own)


def test_samples_follow_the_density(linear):
    pictures = PictureDistribution(linear, Gaussian.of(torch.tensor([0.3, -0.3]), 0.01))
    torch.manual_seed(0)
    drawn = pictures.sample((4000,))
    assert drawn.shape == (4000, 1, 1, 2)
    torch.testing.assert_close(drawn.flatten(1).mean(0), torch.tensor([0.6, 0.4]), atol=0.003, rtol=0)
    torch.testing.assert_close(drawn.flatten(1).std(0), torch.full((2,), 0.1 / SCALE), atol=0.002, rtol=0)
    torch.manual_seed(0)
    assert torch.equal(pictures.sample((4000,)), drawn)
    assert pictures.sample().shape == (1, 1, 2)
    assert not drawn.requires_grad


def test_gradients_reach_the_parameters(linear):
    mean = torch.tensor([0.3, -0.3], dtype=torch.double, requires_grad=True)
    PictureDistribution(linear, Gaussian.of(mean, 0.01)).rsample((5,)).sum().backward()
    torch.testing.assert_close(mean.grad, torch.full((2,), 5 / SCALE, dtype=torch.double))


def test_posterior_and_predictive(model, pixels):
    x = pixels
    posterior = model.condition(x, "0.5m")
    for predictive, gaussian in ((False, posterior.gaussian), (True, posterior.predictive)):
        found = posterior.as_distribution(predictive=predictive)
        z, own = model.score_pixels(model.preprocess(x))
        expected = gaussian.log_prob(z) - model.prior.log_prob(z) + own
        torch.testing.assert_close(found.log_prob(model.preprocess(x)), expected)
    assert model.condition(x).as_distribution().sample((2,)).shape == (2, *model.shape)
    again = pickle.loads(pickle.dumps(found)).expand((2,))
    assert again.batch_shape == (2,)
    torch.testing.assert_close(again.log_prob(x[:2]), found.log_prob(x[:2]))


def test_bad_input(linear):
    pictures = PictureDistribution(linear, linear.prior)
    with pytest.raises(ValueError, match="Expected pictures"):
        pictures.log_prob(torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        pictures.log_prob(torch.full((1, 1, 2), 2.0))
    with pytest.raises(ValueError, match=r"\(3,\) expands to; got \(2, 4\)"):
        pictures.expand((3,)).expand((2, 4))
    with pytest.raises(ValueError, match=r"\(\) expands to; got \(-1,\)"):
        pictures.expand((-1,))
    with pytest.raises(ValueError, match=r"for a batch \(3,\)"):
        pictures.expand((3,)).log_prob(torch.zeros(2, 1, 1, 2))


def test_a_batch_of_the_same(linear):
    """Its samples are all different, and its densities those of the one; other distributions stand on it."""
    one = PictureDistribution(linear, linear.prior)
    batch = one.expand((3,))
    x = batch.sample((2,))
    assert x.shape == (2, 3, 1, 1, 2)
    assert len(x.flatten(0, 1).unique(dim=0)) == 6
    torch.testing.assert_close(batch.log_prob(x), one.log_prob(x))
    assert batch.log_prob(x[0, 0]).shape == (3,)
    assert batch.expand((2, 3)).sample().shape == (2, 3, 1, 1, 2)
    joint = torch.distributions.Independent(batch, 1)
    torch.testing.assert_close(joint.log_prob(x), one.log_prob(x).sum(1))


def test_no_pictures(linear):
    pictures = PictureDistribution(linear, linear.prior)
    assert pictures.sample((0,)).shape == (0, 1, 1, 2)
    assert pictures.log_prob(pictures.sample((2, 0))).shape == (2, 0)


def test_a_model_without_a_density_has_samples_alone(pixels):
    model = wrap(encode=lambda x: 2 * x.flatten(1), decode=lambda z: z.view(-1, 3, 16, 16) / 2, shape=(3, 16, 16))
    found = model.condition(pixels).as_distribution()
    assert found.sample((2,)).shape == (2, 3, 16, 16)
    with pytest.raises(TypeError, match="a model with a density"):
        found.log_prob(pixels)
