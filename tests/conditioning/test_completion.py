"""Completion: a linear model's posterior in closed form, intervals, determinism, what does not fit."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch

from completion_models import DIM, SHAPE, Bent, linear, posterior
from transflow import Gaussian, Glow, GlowConfig, Model, PixelFormat
from transflow.conditioning.completion import Completion
from transflow.conditioning.operators import Grey, Known, Smaller
from transflow.generative.picture_model import PictureModel

MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])
KNOWN = [0, 1, 3]


@pytest.fixture
def picture():
    return torch.tensor([[[[150, 90, 0], [130, 0, 255]]]], dtype=torch.uint8)


def test_a_linear_models_samples_are_its_posteriors(picture):
    model = linear()
    found = model.complete(picture, MASK, 0.05, 4000, seed=0, temperature=0.8)
    mean, covariance = posterior(model, KNOWN, found.observed, 0.05, temperature=0.8)
    z = found.latents.double()
    assert (z.mean(0) - mean).abs().max() < 5 * 0.8 / math.sqrt(4000)
    assert (z.T.cov() - covariance).abs().max() < 0.05
    assert (z.T.cov() - 0.64 * torch.eye(DIM)).abs().max() > 0.2, "the prior's covariance would not pass"
    assert found.latents.shape == (4000, DIM)
    assert found.pictures.shape == (4000, *SHAPE)


def test_so_are_those_of_any_operator_and_of_evidence_as_the_prior(picture):
    model = linear()
    factor = torch.randn(DIM, 2, generator=torch.Generator().manual_seed(3))
    prior = Gaussian.of(torch.linspace(-1, 1, DIM), 0.2 + torch.arange(DIM) / 10, factor)
    sums = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0.5, 0, 1, 0]])
    found = model.complete(picture, lambda x: x.flatten(1) @ sums.T, 0.1, 4000, seed=0, prior=prior, temperature=1.0)
    mean, covariance = posterior(model, sums, found.observed, 0.1, prior)
    z = found.latents.double()
    assert ((z.mean(0) - mean) / covariance.diagonal().sqrt()).abs().max() < 5 / math.sqrt(4000)
    assert (z.T.cov() - covariance).abs().max() < 0.12
    assert (prior.covariance.dense().matrix - covariance).abs().max() > 0.5
    full = Gaussian.of(prior.mean, prior.covariance.dense().matrix)
    again = model.complete(picture, lambda x: x.flatten(1) @ sums.T, 0.1, 4000, seed=0, prior=full, temperature=1.0)
    assert (again.latents.double().T.cov() - covariance).abs().max() < 0.12


def test_refined_draws_of_a_bent_model_are_its_posterior(picture):
    """Against quadrature: one number known, each z_j by itself where M is diagonal."""
    source = Bent()
    source.matrix = 0.1 * torch.eye(DIM)
    model = Model(source, "bent")
    mask = torch.zeros(2, 3)
    mask[0, 0] = 1
    z = torch.linspace(-6, 6, 20001, dtype=torch.float64)
    y = 140 / 255
    log = -((0.5 + 0.1 * (z + 0.3 * z * z) - y) ** 2) / (2 * 0.05**2) - z * z / 2
    weight = (log - log.max()).exp()
    mean = ((weight * z).sum() / weight.sum()).item()
    spread = ((weight * (z - mean) ** 2).sum() / weight.sum()).sqrt().item()
    pixel = torch.full((1, *SHAPE), 140, dtype=torch.uint8)
    drawn, refined = (
        model.complete(pixel, mask, 0.05, 3000, seed=0, temperature=1.0, refine=n).latents[:, 0].double()
        for n in (0, 12)
    )
    error = spread / math.sqrt(3000)
    assert abs(refined.mean() - mean) < 5 * error
    assert abs(refined.std() - spread) < 0.08 * spread
    assert abs(drawn.mean() - mean) > 5 * error, "else nothing is tested"


def test_what_is_known_is_kept_and_the_rest_differs(model, pixels):
    found = model.complete(pixels[:1], Known.without_half("left", 16, 16), n=4, seed=0)
    assert (found.errors < 0.04).all()
    known, unknown = found.pictures[..., 8:], found.pictures[..., :8]
    assert (known - found.observed.view(1, 3, 16, 8)).square().mean().sqrt() < 0.04
    assert unknown.std(0).mean() > 3 * known.std(0).mean()
    assert (found.evaluations <= 120).all()
    other = pixels[:1].clone()
    other[..., :8] = 255 - other[..., :8]
    again = model.complete(other, Known.without_half("left", 16, 16), n=4, seed=0)
    assert torch.equal(found.latents, again.latents), "what is not known is not looked at"


def test_draws_are_those_of_the_seed(model, pixels):
    first, again, other = (model.complete(pixels[0:1], Smaller(4), n=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.latents, again.latents)
    assert not torch.allclose(first.latents, other.latents, atol=0.1)
    assert torch.equal(pickle.loads(pickle.dumps(first)).pictures, first.pictures)


def test_evidence_pulls_what_is_unknown(model, pixels):
    dark = (pixels // 4)[:8]
    evidence = model.condition(dark)
    half = Known.without_half("top", 16, 16)
    plain, pulled = (model.complete(pixels[8:9], half, n=8, seed=0, prior=p) for p in (None, evidence))
    towards = evidence.gaussian.mean.float()
    assert (pulled.latents - towards).norm(dim=1).mean() < (plain.latents - towards).norm(dim=1).mean()
    assert (pulled.errors < 0.06).all()


def pairs(n):
    """Two pictures side by side, uint8 (n, 1, 4, 8): stripes of some brightness, and as bright a square turned dark."""
    generator = torch.Generator().manual_seed(n)
    bright = torch.rand(n, 1, 1, 1, generator=generator) * 0.5 + 0.25
    left = bright + 0.1 * torch.tensor([-1.0, 1.0]).repeat(2)
    both = torch.cat([left.expand(-1, 1, 4, 4), (1 - bright).expand(-1, 1, 4, 4)], 3)
    noise = 0.02 * torch.randn(n, 1, 4, 8, generator=generator)
    return ((both + noise).clamp(0, 1) * 255).to(torch.uint8)


def test_one_of_two_modalities_from_the_other():
    """A flow of pairs, trained for a moment: the square is drawn from the stripes, and the stripes from the square."""
    pixels = PixelFormat(8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = Glow(GlowConfig(channels=1, size=4, picture_width=8, steps=(4,), width=(16,)))
        data = pixels.dequantise(pairs(512), torch.Generator().manual_seed(0))
        flow.initialise(data)
        optimiser = torch.optim.Adam(flow.parameters(), lr=5e-3)
        for part in data.split(128) * 40:
            z, log_det = flow(part)
            optimiser.zero_grad()
            (z.square().sum(1) / 2 - log_det).mean().backward()
            optimiser.step()
    model = Model(PictureModel(flow.requires_grad_(False), pixels), "pairs")
    for side, own in (("right", np.s_[..., 4:]), ("left", np.s_[..., :4])):
        for pair in pairs(3)[:, None]:
            found = model.complete(pair, Known.without_half(side, 4, 8), n=6, seed=0)
            assert (found.mean[own].mean() - pair[0, 0][own].float().mean() / 255).abs() < 0.06, side


def test_intervals_hold_another_sample_at_their_rate():
    generator = torch.Generator().manual_seed(0)
    for n, rate in ((19, 0.9), (19, 0.5), (8, 0.5), (12, 0.8)):
        made = torch.rand(n + 1, 1, 100, 100, generator=generator)
        found = completion(made[:n])
        low, high = found.interval(rate)
        assert ((made[n] >= low) & (made[n] <= high)).float().mean() == pytest.approx(rate, abs=0.02)
    with pytest.raises(ValueError, match=r"samples enough for it, 19; got 0\.9, of 8 samples"):
        completion(made[:8]).interval(0.9)
    with pytest.raises(ValueError, match="rate between 0 and 1"):
        found.interval(1.0)


def completion(pictures):
    none = torch.zeros(len(pictures))
    return Completion(none, pictures, none, none, none)


class Stopped:
    """A model whose decode has no gradient."""

    prior, shape = Gaussian.standard(DIM), SHAPE

    def encode(self, pictures):
        return pictures.flatten(1) / 255

    @torch.no_grad()
    def decode(self, latents):
        return latents.view(-1, *SHAPE)


BAD = {
    "a mask of another size": (
        (torch.ones(3, 2),),
        {},
        r"mask of the model's height and width, \(2, 3\); got \(3, 2\)",
    ),
    "nothing known": ((torch.zeros(2, 3),), {}, "known pixels; got one with none"),
    "all known": ((torch.ones(2, 3),), {}, "unknown pixels; got one where all are known"),
    "a mask of numbers": ((torch.rand(2, 3),), {}, "true and false"),
    "no operator": (("left",), {}, "a mask .* or a function of pictures; got str"),
    "an operator that fails": ((lambda x: x @ torch.ones(7, 7),), {}, "Expected an operator of pictures"),
    "an operator of other pictures": ((Grey(),), {}, "three channels to make grey; got 1"),
    "an operator that mixes": ((lambda x: x.sum(),), {}, r"to floats \(B, \.\.\.\); got \(\)"),
    "an operator of whole numbers": ((lambda x: x.long(),), {}, "to floats .* int64"),
    "an operator that gives NaN": ((lambda x: x / 0 * 0,), {}, "finite numbers from the operator"),
    "an operator without gradients": ((lambda x: x.detach().flatten(1)[:, :2],), {}, "an operator with gradients"),
    "a factor that does not divide": ((Smaller(2),), {}, "divides 2 and 3; got 2"),
    "no noise": ((MASK,), {"noise": 0.0}, "a noise and a temperature above 0; got 0.0"),
    "no temperature": ((MASK,), {"temperature": math.nan}, "above 0"),
    "no samples": ((MASK,), {"n": 0}, "1 sample or more"),
    "another prior": ((MASK,), {"prior": Gaussian.standard(5)}, "D = 6; got D = 5"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_one_line(name, picture):
    words, options, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message) as error:
        linear().complete(picture, *words, **options)
    assert "\n" not in str(error.value)


def test_several_pictures_and_models_without_gradients_are_said(picture):
    with pytest.raises(ValueError, match="one picture to complete; got 2"):
        linear().complete(picture.expand(2, -1, -1, -1), MASK)
    with pytest.raises(ValueError, match=r"a model whose decode has gradients, .*; got still \(Stopped\) without"):
        Model(Stopped(), "still").complete(picture, MASK)


def test_a_models_own_weights_keep_their_gradients(model, pixels):
    flow = model.source.flow.requires_grad_(True)
    dataclasses.replace(model).complete(pixels[:1], Smaller(4), n=1, seed=0)
    assert all(parameter.grad is None for parameter in flow.parameters())
