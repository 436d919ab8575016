"""A posterior that draws from latents of pictures: adding and taking out, its file, and what samples are made of."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from transflow import load, load_posterior
from transflow.conditioning import gathered as gathering
from transflow.conditioning.gathered import Gathered
from transflow.conditioning.posterior_file import POSTERIOR
from transflow.gaussians.learn import MEAN
from transflow.gaussians.learned import Learned
from transflow.gaussians.mixture import Mixture
from transflow.gaussians.parents import Parents
from transflow.store import container

OLD = Path(__file__).parent.parent / "fixtures" / "0.1.0"
WAYS = [{}, {"learn": "parents:2"}, {"learn": "covariance"}, {"learn": "mixture", "novelty": 0.4}, {"novelty": 0.3}]


def same(a, b, atol=1e-5):
    """The same posterior: its statistics and, for the same seed, its samples."""
    assert sorted(a.digests) == sorted(b.digests)
    assert a.kept.keys == b.kept.keys
    assert a.kept.counts == b.kept.counts
    torch.testing.assert_close(a.gaussian.mean, b.gaussian.mean, rtol=0, atol=atol)
    torch.testing.assert_close(a.sample(3, seed=0), b.sample(3, seed=0), rtol=0, atol=1e-3)


def test_a_posterior_draws_by_parents_unless_a_noise_is_given(model, pixels):
    posterior = model.condition(pixels)
    assert isinstance(posterior.drawn, Parents)
    z = model.encode(pixels)
    expected = Parents.of(replace(posterior.kept, rows=z[[posterior.digests.index(k) for k in posterior.kept.keys]]), 4)
    assert posterior.kept.keys == expected.kept.keys
    assert torch.equal(posterior.kept.rows, expected.kept.rows)
    paper = model.condition(pixels, "typical")
    assert paper.learn == MEAN
    assert paper.kept is None
    assert paper.drawn is paper.gaussian
    mean = model.condition(pixels, learn="mean")
    assert torch.equal(mean.sample(2, seed=0), paper.sample(2, seed=0))
    assert isinstance(model.condition(pixels, learn="covariance").drawn, Learned)
    assert isinstance(model.condition(pixels, learn="mixture").drawn, Mixture)
    with pytest.raises(ValueError, match="Expected a noise for the mean alone"):
        model.condition(pixels, 0.5, learn="parents")


@pytest.mark.parametrize("way", WAYS)
def test_added_one_by_one_equals_all_at_once(model, pixels, way):
    posterior = model.condition(pixels[:5], **way)
    for picture in pixels[5:]:
        posterior = posterior.add(picture[None])
    same(posterior, model.condition(pixels, **way))


@pytest.mark.parametrize("way", WAYS)
def test_removed_equals_never_seen(model, pixels, way):
    same(model.condition(pixels, **way).remove(pixels[6:]), model.condition(pixels[:6], **way))
    twice = model.condition(torch.cat([pixels, pixels[:2]]), **way)
    same(twice.remove(pixels[:2]), model.condition(pixels, **way))
    assert model.condition(pixels, **way).remove(pixels).drawn.is_standard


def test_a_number_of_parents_that_no_longer_fits_is_refused(model, pixels):
    posterior = model.condition(pixels, learn="parents:5")
    with pytest.raises(ValueError, match="at most half as many parents"):
        posterior.remove(pixels[6:])
    with pytest.raises(ValueError, match="at most half as many parents"):
        model.condition(pixels[:8], learn="parents:5")


@pytest.mark.parametrize("way", WAYS)
def test_saved_and_loaded_is_the_same(model, pixels, tmp_path, way):
    path = tmp_path / "p.safetensors"
    posterior = model.condition(torch.cat([pixels, pixels[:1]]), **way)
    posterior.save(path)
    loaded = load_posterior(path)
    assert loaded.learn == posterior.learn
    assert torch.equal(loaded.sample(4, seed=1), posterior.sample(4, seed=1))
    same(loaded.remove(pixels[:3]), posterior.remove(pixels[:3]))
    assert "13" in container.header(path)["holds"] or "12" in container.header(path)["holds"]
    assert "not anonymous" in container.header(path)["holds"]


def test_a_posterior_of_the_mean_holds_no_picture(model, pixels, tmp_path):
    model.condition(pixels, "0.5m").save(tmp_path / "p.safetensors")
    tensors, found = container.read(tmp_path / "p.safetensors", POSTERIOR)
    assert set(tensors) == {"total", "scatter", "digests"}
    assert "anonymous" not in found["holds"]
    loaded = load_posterior(tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match=r"holds latents of pictures, for .parents, novelty 0.5.*anew, without noise"):
        loaded.with_learn("parents", 0.5)


def test_a_posterior_of_an_earlier_version_opens_and_says_why_it_has_no_parents():
    old = load_posterior(OLD / "posterior.safetensors", load(OLD / "tiny.safetensors"))
    assert old.learn == MEAN
    assert torch.isfinite(old.sample(2, seed=0)).all()
    with pytest.raises(ValueError, match=r"as those of earlier versions .* do. Condition on the pictures anew"):
        old.with_learn("parents")


@pytest.mark.parametrize(
    ("tensors", "found", "words"),
    [
        ({"latents": torch.zeros(12, 767)}, {}, "damaged latents"),
        ({"latents": torch.full((12, 768), torch.nan)}, {}, "NaN or infinity in latents"),
        ({"latents": torch.zeros(11, 768)}, {}, "damaged latents"),
        ({"kept": torch.zeros(12 * 16, dtype=torch.uint8)}, {}, "damaged latents"),
        ({}, {"learn": "dreams"}, "damaged or newer"),
        ({}, {"novelty": 7}, "damaged or newer"),
    ],
)
def test_a_damaged_file_is_refused(model, pixels, tmp_path, tensors, found, words):
    path = tmp_path / "p.safetensors"
    model.condition(pixels).save(path)
    before, header = container.read(path, POSTERIOR)
    container.write(path, POSTERIOR.kind, {**before, **tensors}, header | found)
    with pytest.raises(ValueError, match=rf"{words}.*p\.safetensors"):
        load_posterior(path, model)


def test_samples_name_the_pictures_that_they_are_made_of(model, pixels):
    posterior = model.condition(pixels)
    z, drawn = model.encode(pixels).double(), posterior.draw(6, seed=3)
    assert torch.equal(drawn.latents, posterior.sample(6, seed=3))
    uncut = posterior.chosen.drawn
    uncut = replace(uncut, cut=False).draw(6, seed=3)
    total = drawn.weights.sum(1, keepdim=True)
    again = (drawn.weights[..., None] * (z - z.mean(0))[drawn.parents]).sum(1) * (11 / (12 - total.square())).sqrt()
    torch.testing.assert_close((z.mean(0) + again).float(), uncut.latents, rtol=0, atol=1e-4)
    copies = posterior.with_learn(novelty=0).draw(6, seed=3)
    torch.testing.assert_close(copies.latents, z[copies.parents[:, 0]].float(), rtol=0, atol=1e-5)
    for learn in ("covariance", "mean"):
        with pytest.raises(ValueError, match="made of single pictures"):
            posterior.with_learn(learn).draw(2)


def test_a_variation_keeps_the_coarsest_level_of_its_picture(model, pixels):
    posterior = model.condition(pixels, learn="covariance")
    size = model.level_sizes[-1]
    drawn, own = posterior.vary(7, 4, seed=0), model.encode(pixels)[7]
    torch.testing.assert_close(drawn.latents[:, -size:], own[-size:].expand(4, -1), rtol=0, atol=1e-4)
    assert (drawn.latents[:, :-size] - own[:-size]).abs().amax(1).min() > 0.1
    assert (drawn.parents[:, 0] == 7).all()
    with pytest.raises(ValueError, match="0 to 11; got 12"):
        posterior.vary(12)
    with pytest.raises(ValueError, match="Expected 4 different pictures or more"):
        model.condition(pixels[:3]).vary(0)
    with pytest.raises(ValueError, match="got their sums alone"):
        model.condition(pixels, 1.0).vary(0)


def test_the_learned_gaussian_is_kept_beside_the_parents(model, pixels):
    posterior = model.condition(pixels)
    covariance = posterior.with_learn("covariance")
    assert torch.equal(posterior.gaussian.mean, covariance.drawn.mean)
    assert torch.equal(posterior.gaussian.sample(2, seed=0), covariance.sample(2, seed=0))
    assert posterior.predictive is posterior.gaussian
    z = model.encode(pixels).double()
    torch.testing.assert_close(posterior.gaussian.mean, z.mean(0))


def test_the_way_between_parents_has_the_moments_of_both_ends(model, pixels):
    a, b = model.condition(pixels[:6], learn="parents:2"), model.condition(pixels[6:], learn="parents:2")
    strip = a.strip(b, 3, 2, seed=0)
    torch.testing.assert_close(strip[0], a.pictures(2, seed=0), rtol=0, atol=1e-5)
    torch.testing.assert_close(strip[2], b.pictures(2, seed=1), rtol=0, atol=1e-5)
    first, last = a.sample(2, seed=0).double(), b.sample(2, seed=1).double()
    half = (a.drawn.mean + b.drawn.mean) / 2
    half = half + math.sqrt(0.5) * (first - a.drawn.mean) + math.sqrt(0.5) * (last - b.drawn.mean)
    torch.testing.assert_close(strip[1], model.decode(half.float()), rtol=0, atol=1e-5)
    straight = a.strip(b, 3, 2, seed=0, direct=True)
    torch.testing.assert_close(straight[1], model.decode(((first + last) / 2).float()), rtol=0, atol=1e-5)
    assert len(a.interpolate(b, 3)) == 3


def test_of_more_pictures_than_are_kept_a_choice_is_drawn_from(model, pixels, tmp_path):
    few = model.condition(pixels)
    small = replace(few, **vars(Gathered.all_of(model, pixels, keep=True, limit=6)))
    assert len(small.kept) == 6
    assert small.kept.keys == few.kept.keys[:6]
    assert small.drawn.m == 6
    assert "6 of 12 pictures are drawn from" in small.chosen.note
    torch.testing.assert_close(small.evidence.total, few.evidence.total)
    small.save(tmp_path / "p.safetensors")
    loaded = load_posterior(tmp_path / "p.safetensors", model)
    assert loaded.kept.beyond == small.kept.beyond
    held = [i for i, key in enumerate(small.digests) if key in small.kept.keys]
    dropped = [i for i in range(12) if i not in held]
    assert len(loaded.remove(pixels[held[:1]]).kept) == 5
    assert loaded.remove(pixels[dropped[:2]]).kept.keys == small.kept.keys
    with pytest.raises(ValueError, match="6 others came whose latents are not kept"):
        loaded.remove(pixels[held])
    with pytest.raises(ValueError, match=f"got number {dropped[0]}, which is not: 6 of 12 are"):
        loaded.vary(dropped[0])


def test_streamed_evidence_keeps_what_all_at_once_keeps(model, pixels, monkeypatch):
    parts = [next(model.stream(part)) for part in pixels.split(5)]
    streamed = model.condition(iter(parts))
    same(streamed, model.condition(pixels))
    whole = Gathered.all_of(model, pixels, keep=True, limit=4)
    total = Gathered.none(model.dim, keep=True, limit=4)
    for part in reversed(parts):
        total += gathering.Gathered.of(part, keep=True, limit=4)
    assert total.kept.keys == whole.kept.keys
    assert total.kept.left_out == 8


def test_a_sweep_of_novelties_uses_the_same_draws(model, pixels):
    rows = model.sweep(pixels, n=2, novelty=[0, 0.5, 1], seed=0)
    for row, novelty in zip(rows, (0, 0.5, 1), strict=True):
        torch.testing.assert_close(row, model.condition(pixels, novelty=novelty).pictures(2, seed=0))
    mixed = model.sweep(pixels, n=2, novelty=[0.5], learn="mixture", seed=0)
    torch.testing.assert_close(mixed[0], model.condition(pixels, learn="mixture", novelty=0.5).pictures(2, seed=0))
    for bad in ({}, {"noise": ["1m"], "novelty": [0.5]}):
        with pytest.raises(ValueError, match="one noise or one novelty"):
            model.sweep(pixels, **bad)
