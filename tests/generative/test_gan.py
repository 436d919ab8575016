"""A GAN: grown without a jump, its two losses and their penalty against differences, latents found by search."""

import pickle

import pytest
import torch
import torch.nn.functional as F

from helpers import shaken
from transflow import load
from transflow.generative import gan as family
from transflow.generative.gan import Critic, Gan, GanConfig, adversary_loss, grow, loss, model_loss, prepare
from transflow.generative.growing import GRAIN, GROWING, enlarged, halved
from transflow.generative.latent_search import Search
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat

SIZES = [(2, 3), (4, 5), (8, 9)]  # coarsest first


def both(penalty=0.0, grown=2 * GRAIN, dtype=torch.float64):
    config = GanConfig((1, 8, 9), latent=3, widths=(8, 16), penalty=penalty)
    model = shaken(lambda: Gan(config), dtype)
    model.grown.fill_(grown)
    return shaken(lambda: Critic(config), dtype), model


def drawn(count=6):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 1, 8, 9, generator=generator, dtype=torch.float64) - 0.5
    x, z, again = prepare(both()[1], x, generator)
    return x, z.double(), again.double()


@pytest.mark.parametrize("size", [0, 1, 2])
def test_pictures_in_between_are_coarse_ones_enlarged(size):
    _, model = both(grown=size * GRAIN)
    z = drawn()[1]
    coarse = model.coarse(z)
    assert coarse.shape == (6, 1, *SIZES[size])
    assert coarse.abs().max() < 0.5
    assert coarse.var(0).mean() > 0
    back = model.inverse(z)
    assert back.shape == (6, 1, 8, 9)
    assert set(back.unique().tolist()) == set(coarse.unique().tolist())
    for _ in range(2 - size):
        back = halved(back)
    torch.testing.assert_close(back, coarse)


@pytest.mark.parametrize("size", [0, 1])
def test_a_size_comes_in_without_a_jump(size):
    """What is faded are the pictures before the tanh: at one part of GRAIN next to the coarser, half way their mean."""
    critic, model = both()
    x, z, _ = drawn()

    def at(parts):
        model.grown.fill_(size * GRAIN + parts)
        return model.inverse(z), critic(model.shown(x), model.stage)

    coarser, first, half, last, finer = map(at, (0, 1, GRAIN // 2, GRAIN - 1, GRAIN))
    assert (coarser[0] - finer[0]).abs().max() > 1e-2
    for one, other in ((coarser, first), (last, finer)):
        for a, b in zip(one, other, strict=True):
            assert (a - b).abs().max() < 5e-3
    before, mean, after = ((2 * part[0]).atanh() for part in (coarser, half, finer))
    torch.testing.assert_close(mean, (before + after) / 2)


def test_given_pictures_are_as_coarse_as_those_that_it_makes():
    _, model = both()
    x, z, _ = drawn()
    for grown in (0, GRAIN // 2, GRAIN, GRAIN + GRAIN // 4, 2 * GRAIN):
        model.grown.fill_(grown)
        assert model.shown(x).shape == model.coarse(z).shape
    assert torch.equal(model.shown(x), x)
    model.grown.fill_(0)
    torch.testing.assert_close(model.shown(x), halved(halved(x)))
    model.grown.fill_(GRAIN + GRAIN // 4)
    torch.testing.assert_close(model.shown(x), 0.25 * x + 0.75 * enlarged(halved(x), (8, 9)))


def test_it_grows_and_never_shrinks():
    _, model = both(grown=0)
    grow(model, 0.75 * GROWING)
    assert 0 < model.grown < 2 * GRAIN
    grow(model, GROWING)
    grow(model, 0.0)
    assert model.grown == 2 * GRAIN
    assert model.grown.dtype == torch.int64  # a whole number: the average copies it


@pytest.mark.parametrize("grown", [0, GRAIN + GRAIN // 2, 2 * GRAIN])
def test_the_adversary_says_how_probable_it_is_that_a_picture_is_given(grown):
    critic, model = both(grown=grown)
    x, z, again = drawn()
    given, made, other = (
        critic(part, model.stage).sigmoid() for part in (model.shown(x), model.coarse(z), model.coarse(again))
    )
    torch.testing.assert_close(adversary_loss(critic, model, x, z, again), -given.log() - (1 - made).log())
    torch.testing.assert_close(model_loss(critic, model, x, z, again), -other.log())


@pytest.mark.parametrize("grown", [GRAIN // 2, 2 * GRAIN])
def test_the_penalty_is_the_square_of_the_slope_at_pictures_as_if_enlarged(grown):
    x, z, again = drawn(1)  # alone, so that no other picture of the batch joins in
    critic, model = both(3.0, grown)
    without, _ = both(0.0)
    found = adversary_loss(critic, model, x, z, again) - adversary_loss(without, model, x, z, again)
    shown, step, total = model.shown(x), 1e-5, 0.0
    longer = x.numel() / shown.numel()  # a pixel is repeated so often, and its step's square so much longer
    for place in torch.eye(shown.numel(), dtype=torch.float64).view(-1, *shown.shape):
        ahead, behind = (critic(shown + sign * step * place, model.stage) for sign in (1, -1))
        total += ((ahead - behind) / (2 * step)).square().sum().item() / longer
    assert total > 0
    assert found.item() == pytest.approx(3.0 / 2 * total, rel=1e-3)


def test_each_is_moved_by_its_own_loss_alone_and_only_what_is_in():
    critic, model = both(1.0, GRAIN)
    given = drawn()
    adversary_loss(critic, model, *given).mean().backward()
    assert all(p.grad is None for p in model.parameters())
    assert critic.pictures[1][0].weight.grad.any()
    assert critic.pictures[2][0].weight.grad is None
    critic.requires_grad_(False)
    model_loss(critic, model, *given).mean().backward()
    assert model.head[0].weight.grad.any()
    assert model.pictures[1].weight.grad.any()
    assert model.pictures[0].weight.grad is None
    assert model.pictures[2].weight.grad is None


def test_the_adversary_sees_how_much_a_batch_varies():
    critic, model = both()
    x, _, _ = drawn()
    alone = torch.cat([critic(part, model.stage) for part in x.split(1)])
    assert (critic(x, model.stage) - alone).abs().min() > 1e-6
    torch.testing.assert_close(critic(x[:1].expand(6, -1, -1, -1), model.stage), alone[:1].expand(6))


def test_the_length_of_a_latent_says_something():
    _, model = both()
    z = drawn()[1]
    short, long = (model.inverse(scale * z) - model.inverse(0 * z) for scale in (0.5, 1.0))
    assert short.norm() < 0.8 * long.norm()


def test_held_out_pictures_are_judged_by_the_energy_score():
    """By hand for one; and on average least for the distribution that the pictures have."""
    _, model = both()
    x, z, again = drawn(2)
    one, other = model.inverse(z), model.inverse(again)
    rms = [F.mse_loss(a[0], b[0]).sqrt() for a, b in ((x, one), (x, other), (one, other))]
    torch.testing.assert_close(loss(model, x, z, again)[0], (rms[0] + rms[1] - rms[2]) / 2)
    generator = torch.Generator().manual_seed(3)
    draws = torch.randn(3, 4000, 3, generator=generator, dtype=torch.float64)
    pictures = model.inverse(draws[0])
    scores = [loss(model, pictures, scale * draws[1], scale * draws[2]).mean() for scale in (0.0, 0.5, 1.0, 2.0)]
    assert min(scores) == scores[2]


@pytest.fixture
def source(monkeypatch):
    monkeypatch.setattr(family, "SEARCH", Search(starts=64, restarts=3, scout=10, steps=30, free=80))
    _, model = both(dtype=torch.float32)
    return PictureModel(model.eval().requires_grad_(False), PixelFormat(8))


def test_its_own_samples_are_found_again(source):
    x = source.decode(source.prior.sample(4, seed=0))  # of seed 1, one of four ends in a local minimum
    found = source.invert(x)
    assert found.errors.max() < 1e-4
    torch.testing.assert_close(source.decode(found.latents), x, rtol=0, atol=1e-3)
    pictures = (x * 255.999).to(torch.uint8)
    found = source.invert(pictures)
    assert found.errors.max() < 1.5 / 256 / 12**0.5  # the rounding to 8 bits
    assert torch.equal(source.encode(pictures), found.latents)
    calls = []
    assert source.invert(pictures[:2], lambda *done: calls.append(done)).latents.shape == (2, 3)
    assert calls == [(1, 2), (2, 2)]


def test_a_latent_does_not_depend_on_neighbours_or_randomness(source):
    pictures = torch.randint(0, 256, (3, 1, 8, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    together = source.encode(pictures)
    before = torch.get_rng_state()
    assert torch.equal(source.encode(pictures[2:]), together[2:])
    assert torch.equal(torch.get_rng_state(), before)
    with torch.inference_mode():
        assert torch.equal(source.encode(pictures[:1]), together[:1])
    assert torch.equal(pickle.loads(pickle.dumps(source)).encode(pictures[1:2]), together[1:2])
    assert source.encode(pictures[:0]).shape == (0, 3)
    assert source.invert(pictures).errors.min() > 0.05  # noise is nothing that it can make, and the error says so


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        (torch.zeros(2, 1, 8, 8), r"pictures of shape \(B, 1, 8, 9\), uint8 or floats; got torch.float32 \(2, 1, 8, 8"),
        (torch.zeros(2, 1, 8, 9, dtype=torch.int64), r"uint8 or floats; got torch.int64"),
        (torch.full((1, 1, 8, 9), torch.nan), "NaN or infinity in picture 0"),
    ],
)
def test_pictures_that_have_no_latent_are_refused(source, pictures, words):
    with pytest.raises(ValueError, match=words):
        source.invert(pictures)


def test_what_it_can_and_cannot(source, tmp_path):
    assert source.encode_and_log_prob is None
    assert "3 numbers stand for a picture of 72" in source.lacks["score"]
    source.flow.grown.fill_(GRAIN + 10)
    save_model(tmp_path / "m.safetensors", source, half=False)
    again = load(tmp_path / "m.safetensors")
    assert again.fingerprint == source.fingerprint
    z = source.prior.sample(3, seed=0)
    torch.testing.assert_close(again.decode(z), source.decode(z))
    source.flow.grown.fill_(2 * GRAIN)
    del source.__dict__["fingerprint"]
    assert again.fingerprint != source.fingerprint  # of how far it has grown, too
    with pytest.raises(ValueError, match="penalty of 0 or more"):
        GanConfig(penalty=-1.0)
    with pytest.raises(ValueError, match="to halve 3 times"):
        GanConfig((3, 4, 32))
