"""A variational autoencoder: its divergence against draws, its bound a bound, its noise learned."""

import math

import pytest
import torch
from torch.distributions import Normal

from helpers import shaken
from transflow.generative.codec import prepare
from transflow.generative.vae import LEAST, Vae, VaeConfig, divergence, loss

CONFIG = VaeConfig((1, 8, 8), latent=2, widths=(8, 8))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def vae(by=0.1):
    return shaken(lambda: Vae(CONFIG), torch.float64, by)


def test_the_divergence_is_that_of_draws():
    mean, log_variance = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]]), torch.tensor([[-1.0, 0.5, 0.2], [0.0] * 3])
    q = Normal(mean, (0.5 * log_variance).exp())
    torch.manual_seed(0)
    z = q.sample((200_000,))
    drawn = (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(2).mean(0)
    torch.testing.assert_close(divergence(mean, log_variance), drawn, rtol=0.01, atol=1e-6)
    assert divergence(mean, log_variance)[1] == 0


def test_the_loss_is_a_bound_on_the_likelihood_of_a_two_dimensional_latent():
    """p(x) by a sum over a fine grid of z; the bound lies above -log p(x), and not far."""
    flow = vae()
    x = torch.rand(3, 1, 8, 8, generator=generator(), dtype=torch.float64) - 0.5
    line = torch.linspace(-6, 6, 121, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)
    noise = flow.noise
    with torch.no_grad():
        decoded = flow.inverse(z)
        given = torch.stack([Normal(decoded, noise).log_prob(part).sum((1, 2, 3)) for part in x], 1)
        exact = (given + Normal(0.0, 1.0).log_prob(z).sum(1)[:, None] + 2 * math.log(0.1)).logsumexp(0) / -64
        draws = [loss(flow, x, torch.randn(3, 2, generator=generator(i), dtype=torch.float64)) for i in range(400)]
    bound = torch.stack(draws).mean(0)
    assert (bound > exact).all()
    assert (bound < exact + 0.5).all()


def test_the_loss_is_the_error_s_likelihood_and_the_divergence_a_number_of_the_picture():
    flow = vae()
    x, eps = prepare(flow, torch.rand(3, 1, 8, 8, generator=generator()).double() - 0.5, generator(1))
    mean, log_variance = flow.moments(x)
    decoded = flow.inverse(mean + (0.5 * log_variance).exp() * eps)
    error = -Normal(decoded, flow.noise).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(loss(flow, x, eps), (error + divergence(mean, log_variance)) / 64)


def test_where_the_encoder_is_the_true_posterior_the_bound_is_tight():
    """A decoder that does not look at z, and an encoder that gives N(0, I), leave nothing between."""
    flow = vae()
    with torch.no_grad():
        for head in (flow.encoder.head, flow.decoder.head):
            head.weight.zero_()
            head.bias.zero_()
    x = torch.rand(3, 1, 8, 8, generator=generator(), dtype=torch.float64) - 0.5
    found = loss(flow, *prepare(flow, x, generator()))
    seen = flow.inverse(torch.zeros(1, 2, dtype=torch.float64))
    torch.testing.assert_close(found, -Normal(seen, flow.noise).log_prob(x).mean((1, 2, 3)))


def test_the_learned_noise_is_the_error_of_the_decoder():
    flow = vae()
    x, eps = prepare(flow, torch.rand(64, 1, 8, 8, generator=generator()).double() - 0.5, generator(1))
    mean, log_variance = flow.moments(x)
    error = (flow.decoder(mean + (0.5 * log_variance).exp() * eps) - x).square().mean().sqrt()
    with torch.no_grad():
        flow.log_noise.copy_((error - LEAST).log())
    loss(flow, x, eps).mean().backward()
    torch.testing.assert_close(flow.noise, error)
    assert flow.log_noise.grad.item() == pytest.approx(0, abs=1e-6)


def test_the_draw_has_the_mean_and_the_variance_that_are_said():
    flow = vae()
    flow.decoder = torch.nn.Identity()
    seen = []
    flow.decoder.forward = lambda z: seen.append(z) or z.sum() * torch.zeros(1, 1, 8, 8)
    x = (torch.rand(1, 1, 8, 8, generator=generator()).double() - 0.5).expand(20_000, -1, -1, -1)
    loss(flow, *prepare(flow, x, generator()))
    torch.testing.assert_close(seen[0].mean(0), flow.latents(x[:1])[0], rtol=0, atol=0.03)
    torch.testing.assert_close(seen[0].var(0), flow.variance(x[:1])[0], rtol=0.05, atol=0)


def test_the_noise_has_a_way_back_from_its_least():
    model = vae()
    x, eps = torch.rand(2, 1, 8, 8, dtype=torch.float64) - 0.5, torch.zeros(2, 2, dtype=torch.float64)
    with torch.no_grad():
        model.log_noise.fill_(-20.0)
    loss(model, x, eps).sum().backward()
    assert model.log_noise.grad < 0  # down the gradient the noise grows


def test_the_noise_is_a_grey_level_at_least():
    model = vae()
    x, eps = torch.zeros(1, 1, 8, 8, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    with torch.no_grad():
        model.log_noise.fill_(-1000.0)
    mean, log_variance = model.moments(x)
    error = (model.decoder(mean) - x).square().mean() / (2 / 255**2) - math.log(255) + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(loss(model, x, eps), (error + divergence(mean, log_variance) / 64).detach())
