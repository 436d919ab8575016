"""The Gaussian of codes: mean 0 and covariance I on what it was fitted to, and the way back exactly."""

import pytest
import torch

from helpers import shaken
from transflow.generative.autoencoder import Autoencoder, AutoencoderConfig
from transflow.generative.standardised import Standardised, fit


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_latents_of_what_it_was_fitted_to_have_mean_0_and_covariance_1():
    codes = normal(300, 6) @ normal(6, 6, seed=1) + 5 * normal(6, seed=2)
    gaussian = Standardised(6).double()
    gaussian.fit(codes)
    z = gaussian(codes)
    torch.testing.assert_close(z.mean(0), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.cov(z.T), torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(gaussian.inverse(z), codes)


def test_latents_of_n_0_1_become_codes_of_the_mean_and_covariance_measured():
    codes = normal(50, 3) @ normal(3, 3, seed=1)
    gaussian = Standardised(3).double()
    gaussian.fit(codes)
    root = gaussian.inverse(torch.eye(3, dtype=torch.float64)) - gaussian.mean
    torch.testing.assert_close(root.T @ root, torch.cov(codes.T))
    torch.testing.assert_close(gaussian.inverse(torch.zeros(1, 3, dtype=torch.float64))[0], codes.mean(0))


def test_a_direction_that_no_picture_uses_is_kept_apart_from_zero():
    codes = normal(50, 3)
    codes[:, 1] = 7
    gaussian = Standardised(3).double()
    gaussian.fit(codes)
    z = gaussian(codes)
    assert z.isfinite().all()
    torch.testing.assert_close(z[:, 1], torch.zeros(50, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(gaussian.inverse(z), codes)


@pytest.mark.parametrize("codes", [torch.ones(1, 2), torch.ones(5, 2)])
def test_of_codes_without_a_spread_the_mean_alone_is_taken(codes):
    gaussian = Standardised(2)
    gaussian.fit(codes)
    assert torch.equal(gaussian(codes), torch.zeros_like(codes))
    assert torch.equal(gaussian.root, torch.eye(2))


def test_codes_that_are_not_finite_change_nothing():
    gaussian = Standardised(2)
    gaussian.fit(torch.tensor([[0.0, 1.0], [torch.nan, 2.0], [3.0, 0.0]]))
    assert torch.equal(gaussian.mean, torch.zeros(2))
    assert torch.equal(gaussian.root, torch.eye(2))


def test_an_autoencoder_is_fitted_to_the_pictures_of_all_batches():
    flow = shaken(lambda: Autoencoder(AutoencoderConfig((1, 8, 8), latent=2, widths=(8, 8))), torch.float64)
    x = normal(40, 1, 8, 8)
    before = flow.inverse(flow.latents(x))
    fit(flow, x.split(16))
    z = flow.latents(x)
    torch.testing.assert_close(torch.cov(z.T), torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(z.mean(0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(flow.inverse(z), before)  # the way there and back goes through the same codes
