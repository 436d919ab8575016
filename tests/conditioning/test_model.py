"""The new model: what it is made of, and that evidence goes in and out exactly."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from transflow import Evidence, Gaussian, Model, load, load_posterior
from transflow.conditioning.posterior_file import POSTERIOR
from transflow.gaussians import interpolation
from transflow.generative.model_file import save_model
from transflow.store import container
from transflow.store.container import header


def same(a, b, atol=1e-5):
    assert a.evidence.count == b.evidence.count
    assert sorted(a.digests) == sorted(b.digests)
    torch.testing.assert_close(a.gaussian.mean, b.gaussian.mean, rtol=0, atol=atol)
    torch.testing.assert_close(a.gaussian.covariance.variances(), b.gaussian.covariance.variances())


def test_condition_is_the_five_lines(model, pixels):
    posterior = model.condition(pixels, noise="0.5m")
    written_out = model.prior.condition(Evidence.of(model.encode(pixels)), 0.5 * len(pixels))
    torch.testing.assert_close(posterior.gaussian.mean, written_out.mean)
    new = model.decode(posterior.sample(4, seed=0))
    assert torch.equal(new, posterior.pictures(4, seed=0))
    assert torch.equal(new, model.pictures(written_out, 4, seed=0))
    assert new.shape == (4, 3, 16, 16)
    assert new.min() >= 0
    assert new.max() <= 1


@pytest.mark.parametrize("noise", ["0.5m", 3.0, "typical", "evidence"])
def test_added_one_by_one_equals_all_at_once(model, pixels, noise):
    posterior = model.condition(pixels[:2], noise)
    for picture in pixels[2:]:
        posterior = posterior.add(picture[None])
    same(posterior, model.condition(pixels, noise))


@pytest.mark.parametrize("noise", ["0.5m", "typical"])
def test_removed_equals_never_seen(model, pixels, noise):
    posterior = model.condition(pixels, noise).remove(pixels[5:])
    same(posterior, model.condition(pixels[:5], noise))


def test_all_removed_gives_the_prior_back(model, pixels):
    assert model.condition(pixels).remove(pixels).gaussian.is_standard


def test_what_never_was_in_is_not_taken_out(model, pixels):
    posterior = model.condition(pixels[:5])
    with pytest.raises(ValueError, match=r"1 of 2 are not \(numbers 2\)"):
        posterior.remove(pixels[4:6])
    with pytest.raises(ValueError, match="are not"):
        posterior.remove(pixels[[0, 0]])


def test_saved_and_loaded_is_the_same(model, pixels, tmp_path):
    posterior = model.condition(pixels, "typical")
    posterior.save(tmp_path / "p.safetensors")
    loaded = load_posterior(tmp_path / "p.safetensors")
    assert torch.equal(loaded.pictures(2, seed=1), posterior.pictures(2, seed=1))
    same(loaded.remove(pixels[:3]), posterior.remove(pixels[:3]))


@pytest.mark.parametrize("name", ["total", "scatter", "variance"])
@pytest.mark.parametrize("bad", [torch.zeros(767), torch.full((768,), torch.nan)])
def test_a_damaged_posterior_is_refused(model, pixels, tmp_path, name, bad):
    path = tmp_path / "p.safetensors"
    model.condition(pixels, 2.0).save(path)
    tensors, found = container.read(path, POSTERIOR)
    container.write(path, POSTERIOR.kind, {**tensors, name: bad}, found)
    with pytest.raises(ValueError, match=r"Expected a (posterior of D|whole posterior file).*p\.safetensors"):
        load_posterior(path, model)


@pytest.mark.parametrize("count", [2, 13])
def test_a_posterior_has_a_digest_a_picture(model, pixels, tmp_path, count):
    path = tmp_path / "p.safetensors"
    model.condition(pixels, 2.0).save(path)
    tensors, found = container.read(path, POSTERIOR)
    container.write(path, POSTERIOR.kind, tensors, found | {"count": count})
    with pytest.raises(ValueError, match=f"Expected {count} digests of pictures; got 12"):
        load_posterior(path, model)


def test_a_posterior_of_another_model_is_refused(model, model_file, pixels, tmp_path):
    model.condition(pixels).save(tmp_path / "p.safetensors")
    source = copy.deepcopy(load(model_file).source)
    with torch.no_grad():
        next(source.flow.parameters()).add_(1e-3)
    save_model(tmp_path / "other.safetensors", source)
    other = load(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="Expected the model that"):
        load_posterior(tmp_path / "p.safetensors", other)
    with pytest.raises(ValueError, match="same model"):
        model.condition(pixels).interpolate(other.condition(pixels))


def test_pictures_come_in_any_form(model, pixels, folder):
    last = pixels.permute(0, 2, 3, 1).numpy()
    expected = model.encode(pixels)
    for form in (last, folder, str(folder), sorted(folder.iterdir())):
        torch.testing.assert_close(model.encode(form), expected, rtol=0, atol=1e-5)


def test_no_picture_is_told(model):
    with pytest.raises(ValueError, match="at least one picture"):
        model.condition([])


def test_one_picture_alone_works(model, pixels):
    posterior = model.condition(pixels[:1])
    assert torch.isfinite(posterior.pictures(2, seed=0)).all()


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(2, 5), torch.full((1, 768), float("nan")), [1.0]])
def test_bad_latents_are_told(model, bad):
    with pytest.raises(ValueError, match="Expected"):
        model.decode(bad)


def test_the_way_between_posteriors_begins_and_ends_at_them(model, pixels):
    a, b = model.condition(pixels[:6], "0.3m"), model.condition(pixels[6:], "0.8m")
    way = a.interpolate(b, 5)
    for end, g in ((a, way[0]), (b, way[-1])):
        torch.testing.assert_close(g.mean, end.gaussian.mean)
        torch.testing.assert_close(g.covariance.variances(), end.gaussian.covariance.variances())
    torch.testing.assert_close(way[2].mean, (a.gaussian.mean + b.gaussian.mean) / 2)
    strip = a.strip(b, 5, 2, seed=0)
    torch.testing.assert_close(strip[0], a.pictures(2, seed=0))
    torch.testing.assert_close(strip[-1], b.pictures(2, seed=0))
    straight = a.strip(b, 5, 2, seed=0, direct=True)
    first, last = a.sample(2, seed=0), b.sample(2, seed=1)
    torch.testing.assert_close(straight[0], model.decode(first))
    torch.testing.assert_close(straight[1], model.decode(0.75 * first + 0.25 * last), rtol=0, atol=1e-5)
    torch.testing.assert_close(straight[-1], model.decode(last))
    assert not torch.allclose(straight[2], strip[2], atol=1e-3)


def test_direct_ways_cut_the_corner_and_parameter_ways_do_not():
    g = Gaussian.standard(20_000)
    a, b = g.sample(1, seed=0), g.sample(1, seed=1)
    assert interpolation.straight_lines(a, b, 3)[1].square().mean().item() == pytest.approx(0.5, rel=0.05)
    assert interpolation.interpolate(g, g, 3)[1].sample(1, seed=0).square().mean().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("steps", [0, 1])
def test_a_way_needs_two_ends(steps):
    with pytest.raises(ValueError, match="2 or more"):
        interpolation.interpolate(Gaussian.standard(2), Gaussian.standard(2), steps)


def test_sweep_uses_the_same_draws_for_each_noise(model, pixels):
    rows = model.sweep(pixels, ["0.3m", "0.3m", "5m"], 2, seed=0)
    assert torch.equal(rows[0], rows[1])
    torch.testing.assert_close(rows[2], model.condition(pixels, "5m").pictures(2, seed=0))


def test_a_sweep_takes_noises_of_numpy(model, pixels):
    rows = model.sweep(pixels, np.array([0.5, 12.0]), 2, seed=0)
    torch.testing.assert_close(rows, model.sweep(pixels, [0.5, 12.0], 2, seed=0))


def test_a_sweep_without_a_seed_draws_anew(model, pixels):
    assert not torch.equal(model.sweep(pixels, ["1m"], 2), model.sweep(pixels, ["1m"], 2))


def test_scores_are_what_they_say(model, pixels):
    scores = model.score(pixels)
    z = model.encode(pixels).double()
    torch.testing.assert_close(scores.log_prob, model.log_prob(pixels))
    torch.testing.assert_close(scores.radius, z.square().mean(1).sqrt())
    bits = -scores.log_prob / 768 / torch.log(torch.tensor(2.0, dtype=torch.float64)) + 5
    torch.testing.assert_close(scores.bits_per_dim, bits)


def test_reconstruction_is_exact(model, pixels):
    result = model.reconstruct(pixels)
    assert result.errors.max() < 1e-4
    assert torch.equal(result.errors, (result.decoded - result.pictures).abs().flatten(1).amax(1))


def test_a_reconstruction_has_the_pictures_first(pixels):
    class Dark:
        prior = Gaussian.standard(768)
        encode = staticmethod(lambda x: x.flatten(1) / 255)
        decode = staticmethod(lambda z: z.view(-1, 3, 16, 16) / 2)

    result = Model(Dark()).reconstruct(pixels)
    torch.testing.assert_close(result.pictures, pixels / 255)
    torch.testing.assert_close(result.decoded, pixels / 510)


class Doubling:
    """Pictures of 2 x 2 numbers, twice as large: all that a model must have, and no more."""

    prior = Gaussian.standard(4)

    def encode(self, pictures):
        return pictures.flatten(1) * (2 / 255)

    def decode(self, latents):
        return latents.view(-1, 1, 2, 2) / 2


def test_anything_with_encode_decode_and_prior_can_be_repurposed(tmp_path):
    model = Model(Doubling())
    x = torch.randint(0, 256, (5, 1, 2, 2), dtype=torch.uint8)
    assert model.shape == (1, 2, 2)
    posterior = model.condition(x, "1m")
    torch.testing.assert_close(posterior.gaussian.mean, x.double().flatten(1).mean(0) / 255, rtol=0, atol=1e-6)
    same(posterior.remove(x[2:]), model.condition(x[:2], "1m"))
    for i, p in enumerate(x):
        Image.fromarray(p[0].numpy()).save(tmp_path / f"{i}.png")
    same(model.condition(tmp_path, "1m"), posterior)
    assert model.reconstruct(tmp_path).errors.max() < 1e-6
    with pytest.raises(TypeError, match="Expected a model with a density, to say how likely"):
        model.score(x)
    with pytest.raises(TypeError, match="without decode, prior"):
        Model(type("Half", (), {"encode": len})())
    with pytest.raises(TypeError, match=r"whose prior is a transflow.Gaussian.*got Normal"):
        Model(type("Other", (), {"encode": len, "decode": len, "prior": torch.distributions.Normal(0.0, 1.0)})())


def test_a_posterior_of_a_model_without_a_fingerprint_is_kept_and_marked(model, tmp_path):
    nameless = Model(Doubling(), "doubling")
    posterior = nameless.condition(torch.randint(0, 256, (5, 1, 2, 2), dtype=torch.uint8), "1m")
    posterior.save(tmp_path / "p.safetensors")
    assert header(tmp_path / "p.safetensors", POSTERIOR)["fingerprint"] == ""
    same(load_posterior(tmp_path / "p.safetensors", Model(Doubling())), posterior)
    with pytest.raises(ValueError, match=r"was made with .doubling, no fingerprint.; got .*weights"):
        load_posterior(tmp_path / "p.safetensors", model)


def test_posteriors_of_models_without_fingerprints_are_of_one_model_alone():
    x = torch.randint(0, 256, (5, 1, 2, 2), dtype=torch.uint8)
    one, other = Model(Doubling()), Model(Doubling())
    a = one.condition(x, "1m")
    assert len(a.interpolate(one.condition(x[:2], "1m"), 3)) == 3
    with pytest.raises(ValueError, match="same model"):
        a.interpolate(other.condition(x, "1m"))


def test_an_emptied_posterior_is_the_prior_and_predicts_it(model, pixels):
    empty = model.condition(pixels, "0.5m").remove(pixels)
    assert empty.gaussian.is_standard
    assert empty.predictive.is_standard
    known = model.condition(pixels, 3.0).remove(pixels).predictive
    torch.testing.assert_close(known.covariance.variances(), torch.full((768,), 4.0, dtype=torch.float64))


class Unsure(Doubling):
    """An encoder with a variance of its own, known in closed form."""

    def encode_variance(self, pictures):
        return pictures.flatten(1) / 255


def test_an_encoders_own_variance_is_added_to_the_noise(tmp_path):
    model = Model(Unsure())
    x = torch.randint(1, 256, (6, 1, 2, 2), dtype=torch.uint8)
    z = model.encode(x)
    posterior = model.condition(x, 2.0)
    expected = model.prior.condition(Evidence.of(z), 2.0 + z.double().mean(0) / 2)
    torch.testing.assert_close(posterior.gaussian.mean, expected.mean)
    torch.testing.assert_close(posterior.gaussian.covariance.variances(), expected.covariance.variances())
    predicted = expected.covariance.variances() + 2.0 + z.double().mean(0) / 2
    torch.testing.assert_close(posterior.predictive.covariance.variances(), predicted)
    torch.testing.assert_close(model.condition(x[:2], 2.0).add(x[2:]).variance, posterior.variance)
    torch.testing.assert_close(posterior.remove(x[2:]).variance, model.condition(x[:2], 2.0).variance)
    posterior.save(tmp_path / "p.safetensors")
    assert torch.equal(load_posterior(tmp_path / "p.safetensors", model).gaussian.mean, posterior.gaussian.mean)


def test_a_models_best_temperature_is_the_length_of_typical_samples(model, pixels):
    known = Model(replace(model.source, card={"temperature": 0.9}))
    assert known.condition(pixels).noise.value == model.condition(pixels, "typical:0.9").noise.value
    assert known.condition(pixels, "typical:0.7").noise.value == model.condition(pixels, "typical:0.7").noise.value
    longest = Model(replace(model.source, card={"temperature": 1.0}))
    assert longest.condition(pixels).noise.value == model.condition(pixels, "typical:0.95").noise.value
