"""Glow: its start, its latent, its features, its configuration, its density."""

import pytest
import torch

from helpers import shaken
from transflow import Glow, GlowConfig
from transflow.generative.bijections import ChannelAffine, Coupling, squeeze


def test_data_dependent_start_standardises_every_step():
    torch.manual_seed(0)
    flow = Glow(GlowConfig(size=8, steps=(2, 2), width=(8, 8)))
    x = torch.rand(64, 3, 8, 8) * 0.1 + 0.2
    flow.initialise(x)
    seen = []
    for module in flow.modules():
        if isinstance(module, ChannelAffine):
            assert module.initialised
            module.register_forward_hook(
                lambda m, i, o: seen.append((i[0] + m.shift[:, None, None]) * m.log_scale.exp()[:, None, None])
            )
    flow(x)
    assert len(seen) == 4
    for h in seen:
        torch.testing.assert_close(h.mean((0, 2, 3)), torch.zeros(h.shape[1]), rtol=0, atol=1e-3)
        torch.testing.assert_close(h.std((0, 2, 3)), torch.ones(h.shape[1]), rtol=0, atol=1e-2)


def test_the_latent_keeps_every_number():
    flow = Glow(GlowConfig(size=16, steps=(1, 1, 1), width=(4, 4, 4)))
    assert flow.level_sizes == (384, 192, 192)
    assert sum(flow.level_sizes) == 3 * 16 * 16


@pytest.mark.parametrize(
    "config",
    [
        {"size": 12, "steps": (1, 1, 1), "width": (4, 4, 4)},
        {"steps": (), "width": ()},
        {"steps": (2,), "width": (4, 4)},
        {"size": 8, "picture_width": 6, "steps": (1, 1), "width": (4, 4)},
        {"channels": 0},
    ],
)
def test_impossible_architectures_are_refused(config):
    with pytest.raises(ValueError, match="Expected"):
        GlowConfig(**config)


def test_a_shape_is_channels_height_and_width():
    config = GlowConfig(channels=5, size=8, picture_width=16, steps=(1, 1), width=(4, 4))
    assert Glow(config).shape == config.shape == (5, 8, 16)
    assert sum(Glow(config).level_sizes) == 5 * 8 * 16
    assert GlowConfig().shape == (3, 32, 32)


def test_features_are_pooled_activations_of_the_last_couplings_and_come_with_the_latents():
    flow = shaken(lambda: Glow(GlowConfig(size=8, steps=(3, 1), width=(8, 4))))
    x = torch.rand(2, 3, 8, 8) - 0.5
    expected, at = [], squeeze(x)
    couplings = [layer for layer in flow.levels[0] if isinstance(layer, Coupling)]
    for layer in flow.levels[0]:
        if layer in couplings[-2:]:
            expected.append(torch.nn.functional.adaptive_avg_pool2d(layer.hidden(at), 4).flatten(1).sqrt())
        at = layer(at)[0]
    assert torch.equal(flow.features(x), torch.cat(expected, 1))
    *latents, found = flow.forward_and_features(x)
    assert torch.equal(found, flow.features(x))
    assert all(map(torch.equal, latents, flow(x)))


def test_density_of_a_small_flow_integrates_to_one():
    """By importance sampling from a normal, wider than the flow's own samples."""
    flow = shaken(lambda: Glow(GlowConfig(channels=1, size=2, steps=(2,), width=(4,))), torch.float64)
    with torch.no_grad():
        own = flow.inverse(torch.randn(5000, 4, dtype=torch.float64)).flatten(1)
        wide = torch.distributions.MultivariateNormal(own.mean(0), 2 * torch.cov(own.T))
        x = wide.sample((100_000,))
        z, log_det = flow(x.view(-1, 1, 2, 2))
    log_density = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det
    weights = (log_density - wide.log_prob(x)).exp()
    error = weights.std().item() / len(x) ** 0.5
    assert error < 0.02
    assert weights.mean().item() == pytest.approx(1, abs=5 * error)
