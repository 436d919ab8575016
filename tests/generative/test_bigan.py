"""A bidirectional GAN: its two losses against each other, the penalty against differences, who is moved by which."""

import pytest
import torch
import torch.nn.functional as F

from helpers import shaken
from transflow.generative.bigan import Adversary, BiGan, BiGanConfig, adversary_loss, fit, loss, model_loss
from transflow.generative.codec import prepare

CONFIG = BiGanConfig((1, 8, 8), latent=2, widths=(8, 8), penalty=0.0)


def both(penalty=0.0):
    config = BiGanConfig((1, 8, 8), latent=2, widths=(8, 8), penalty=penalty)
    return shaken(lambda: Adversary(config), torch.float64), shaken(lambda: BiGan(config), torch.float64)


def drawn(count=6):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 1, 8, 8, generator=generator, dtype=torch.float64) - 0.5
    x, z = prepare(shaken(lambda: BiGan(CONFIG)), x, generator)
    return x, z.double()


def test_the_adversary_says_how_probable_it_is_that_a_pair_is_a_picture_s():
    """Of the probability p = 1 / (1 + exp(-D)), its loss is the cross entropy of both kinds of pair."""
    adversary, model = both()
    x, z = drawn()
    given = adversary(x, model.latents(x)).sigmoid()
    made = adversary(model.inverse(z), z).sigmoid()
    torch.testing.assert_close(adversary_loss(adversary, model, x, z), -given.log() - (1 - made).log())
    torch.testing.assert_close(model_loss(adversary, model, x, z), -(1 - given).log() - made.log())


def test_the_penalty_is_the_square_of_the_slope_at_pictures():
    x, z = drawn(1)  # alone, so that no other picture of the batch joins in
    adversary, model = both(3.0)
    model.eval()
    without, _ = both(0.0)
    found = adversary_loss(adversary, model, x, z) - adversary_loss(without, model, x, z)
    latent, step, total = model.latents(x).detach(), 1e-5, 0.0
    for place in torch.eye(64, dtype=torch.float64).view(64, 1, 1, 8, 8):
        slope = (adversary(x + step * place, latent) - adversary(x - step * place, latent)) / (2 * step)
        total += slope.square().sum().item()
    assert total > 0
    assert found.item() == pytest.approx(3.0 / 2 * total, rel=1e-3)


def test_each_is_moved_by_its_own_loss_alone():
    adversary, model = both(1.0)
    x, z = drawn()
    adversary_loss(adversary, model, x, z).mean().backward()
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in adversary.parameters())
    adversary.requires_grad_(False)
    model_loss(adversary, model, x, z).mean().backward()
    assert all(p.grad.any() for p in [model.encoder.head.weight, model.generator.head.weight])


def test_the_adversary_sees_how_much_a_batch_varies():
    adversary, _ = both()
    x, z = drawn()
    alone = torch.cat([adversary(a[None], b[None]) for a, b in zip(x, z, strict=True)])
    assert (adversary(x, z) - alone).abs().min() > 1e-6
    for other in ((x, z[:1].expand(6, -1)), (x[:1].expand(6, -1, -1, -1), z)):  # of either, the first pair stays
        assert abs(adversary(*other)[0] - adversary(x, z)[0]) > 1e-6
    same = adversary(x[:1].expand(6, -1, -1, -1), z[:1].expand(6, -1))
    torch.testing.assert_close(same, alone[:1].expand(6))


def test_latents_are_standardised_over_a_batch_and_in_use_by_the_training_pictures():
    _, model = both()
    x, _ = drawn(40)
    z = model.latents(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-6)
    assert (z.var(0, unbiased=False) - 1).abs().max() < 0.1  # batch norm adds 1e-5 to variances, which are small here
    fit(model.eval(), x.split(16))
    torch.testing.assert_close(model.latents(x), z)
    torch.testing.assert_close(torch.cat([model.latents(part) for part in x.split(1)]), z)


def test_held_out_pictures_are_judged_by_how_near_they_come():
    _, model = both()
    x, z = drawn()
    torch.testing.assert_close(
        loss(model, x, z), F.mse_loss(model.inverse(model.latents(x)), x, reduction="none").mean((1, 2, 3))
    )
    assert model.inverse(100 * z).abs().max() <= 0.5
    with pytest.raises(ValueError, match="penalty of 0 or more"):
        BiGanConfig(penalty=-1.0)
