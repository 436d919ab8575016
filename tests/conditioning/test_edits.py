"""Edits: exact where they begin, right in distribution where they end, and bad input in one line."""

import copy
import pickle

import pytest
import torch

from transflow import Gaussian, Model, load
from transflow.conditioning import edits
from transflow.generative.model_file import save_model


class Doubling:
    """Pictures of 8 x 8 numbers, twice as large."""

    prior = Gaussian.standard(64)

    def encode(self, pictures):
        return pictures.flatten(1) * (2 / 255)

    def decode(self, latents):
        return latents.view(-1, 1, 8, 8) / 2


@pytest.fixture
def doubling():
    return Model(Doubling())


def some(n, low=0, high=256, seed=0):
    return torch.randint(low, high, (n, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def every(model, pixels):
    """One edit of each kind."""
    return {
        "towards": edits.towards(model.condition(pixels[6:])),
        "from another": edits.towards(model.condition(pixels[6:]), model.condition(pixels[:6])),
        "attribute": edits.attribute(model, pixels[6:], pixels[:6]),
        "plain": edits.attribute(model, pixels[6:], pixels[:6], [pixels[4:8]], fisher=False),
    }


@pytest.mark.parametrize("kind", ["towards", "from another", "attribute", "plain"])
def test_at_strength_0_it_is_the_reconstruction_to_the_last_bit(every, model, pixels, kind):
    found = every[kind].strip(pixels, [1.0, 0.0, -0.0])
    expected = model.reconstruct(pixels).decoded
    assert torch.equal(found[1], expected)
    assert torch.equal(found[2], expected)
    assert not torch.allclose(found[0], expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["towards", "from another", "attribute", "plain"])
def test_a_strip_has_each_strength_and_no_picture_changes_another(every, pixels, kind):
    edit = every[kind]
    strip = edit.strip(pixels[:3], [0.5, 2.0])
    assert strip.shape == (2, 3, 3, 16, 16)
    torch.testing.assert_close(strip[1], edit.pictures(pixels[:3], 2.0))
    torch.testing.assert_close(strip[0, 1:2], edit.pictures(pixels[1:2], 0.5), rtol=0, atol=1e-4)


def test_broken_pictures_are_counted(model, pixels):
    edit = edits.attribute(model, pixels[6:], pixels[:6])
    strip, known = edit.strip_and_quality(pixels[:4], [0.0, 200.0])
    assert torch.equal(strip, edit.strip(pixels[:4], [0.0, 200.0]))
    assert [quality.broken for quality in known] == [0, 1]


def test_towards_is_what_the_paper_s_posterior_says(model, pixels):
    posterior = model.condition(pixels[6:], "0.5m")
    z, s = model.encode(pixels[:3]).double(), 1 / 1.5
    for strength in (0.4, 1.0):
        whole = s * posterior.evidence.mean + (1 - s) ** 0.5 * z
        expected = model.decode(torch.lerp(z, whole, strength).float())
        torch.testing.assert_close(edits.towards(posterior).pictures(pixels[:3], strength), expected, rtol=0, atol=1e-4)


def test_what_was_distributed_as_the_start_is_then_as_the_posterior(doubling):
    evidence, start = doubling.condition(some(20, 100), "0.5m"), doubling.condition(some(20, 0, 200), "1m")
    for edit, origin in ((edits.towards(evidence), doubling.prior), (edits.towards(evidence, start), start.gaussian)):
        moved = edit.change.move(origin.sample(20_000, seed=0), 1.0).double()
        torch.testing.assert_close(moved.mean(0), evidence.gaussian.mean, rtol=0, atol=0.03)
        expected = evidence.gaussian.covariance.variances()
        torch.testing.assert_close(moved.var(0), expected, rtol=0.08, atol=0)


def test_towards_a_learned_covariance_moves_moments_right(doubling):
    posterior = doubling.condition(some(6, 60), learn="covariance")
    edit = edits.towards(posterior)
    assert posterior.gaussian.covariance.rank
    moved = edit.change.move(doubling.prior.sample(50_000, seed=0), 1.0).double()
    torch.testing.assert_close(moved.mean(0), posterior.gaussian.mean, rtol=0, atol=0.02)
    expected = posterior.gaussian.covariance.dense().matrix
    assert (torch.cov(moved.T) - expected).norm() < 0.03 * expected.norm()
    x = some(3, seed=3)
    assert torch.equal(edit.pictures(x, 0.0), doubling.reconstruct(x).decoded)


def test_there_and_back_is_the_picture(doubling):
    a, b = doubling.condition(some(9, seed=1), "0.3m"), doubling.condition(some(5, seed=2), "2m")
    z = doubling.encode(some(3, seed=3)).double()
    back = edits.towards(a, b).change.move(edits.towards(b, a).change.move(z, 1.0), 1.0)
    torch.testing.assert_close(back, z)


def test_towards_its_own_evidence_changes_nothing(doubling):
    posterior = doubling.condition(some(9), "0.5m")
    x = some(3, seed=3)
    torch.testing.assert_close(edits.towards(posterior, posterior).pictures(x, 1.0), doubling.reconstruct(x).decoded)


@pytest.mark.parametrize("fisher", [True, False])
def test_an_attribute_is_found_and_what_stays_stays(doubling, fisher):
    """Brightness below, on the left, is wanted, that above stays, though most that have the one have the other."""
    generator = torch.Generator().manual_seed(0)

    def drawn(n, below=0.0, above=0.0):
        x = 100 + 20 * torch.randn(n, 1, 8, 8, generator=generator)
        x[..., 4:, :4] += below
        x[..., :4, :] += above
        return x.clamp(0, 255).to(torch.uint8)

    more = torch.cat([drawn(200, 60, 60), drawn(50, 60)])
    less = torch.cat([drawn(50, 0, 60), drawn(200)])
    x = drawn(5)

    def change(keep):
        edit = edits.attribute(doubling, more, less, keep, fisher=fisher)
        moved = edit.pictures(x, 1.0) - edit.pictures(x, 0.0)
        return moved[..., 4:, :4].mean().item(), moved[..., :4, :].mean().item()

    wanted, beside = change([])
    assert wanted == pytest.approx(60 / 255, rel=0.25)
    assert fisher or beside > 0.5 * wanted  # Fisher's direction does not read what varies within the sets
    for keep in ((drawn(200, 0, 60), drawn(200)), drawn(200, 0, 60)):
        kept, stays = change([keep])
        assert kept == pytest.approx(60 / 255, rel=0.25)
        assert abs(stays) < 0.2 * kept


def test_the_plain_difference_is_the_difference_of_means(doubling):
    more, less, x = some(3, 100, seed=1), some(4, 0, 100, seed=2), some(2, seed=3)
    edit = edits.attribute(doubling, more, less, fisher=False)
    gap = (more.double().mean(0) - less.double().mean(0)) / 255
    torch.testing.assert_close((edit.pictures(x, 0.5) - edit.pictures(x, 0)).double(), (gap / 2).expand(2, 1, 8, 8))


def test_one_picture_a_set_is_enough(doubling):
    edit = edits.attribute(doubling, some(1, seed=1), some(1, seed=2))
    found = edit.pictures(some(1, seed=2), 1.0)
    torch.testing.assert_close(found, some(1, seed=1) / 255)
    assert torch.isfinite(edits.towards(doubling.condition(some(1), 1.0)).pictures(some(1), 1.0)).all()


@pytest.mark.parametrize("path", edits.PATHS)
def test_between_begins_and_ends_at_the_pictures(model, pixels, path):
    way = edits.between(model, pixels[:2], pixels[2:4], 5, path)
    assert way.shape == (5, 2, 3, 16, 16)
    for stop, ends in ((way[0], pixels[:2]), (way[-1], pixels[2:4])):
        decoded = model.quantise(ends) if path == "pixels" else model.reconstruct(ends).decoded
        assert torch.equal(stop, decoded)
    assert not torch.allclose(way[2], way[0], atol=1e-3)


def test_a_cross_fade_is_of_pixels(model, pixels):
    way = edits.between(model, pixels[:1], pixels[1:2], 3, "pixels")
    torch.testing.assert_close(way[1], (way[0] + way[2]) / 2)


def test_arithmetic_is_of_means(doubling):
    a, b, c = some(3, 0, 90, seed=1), some(2, 0, 90, seed=2), some(4, 0, 90, seed=3)
    expected = (a.double().mean(0) - b.double().mean(0) + c.double().mean(0)) / 255
    torch.testing.assert_close(edits.arithmetic(doubling, a, b, c)[0].double(), expected, rtol=0, atol=1e-6)
    in_pixels = edits.arithmetic(doubling, a, b, c, pixels=True)
    torch.testing.assert_close(in_pixels[0].double(), expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_what_is_added_and_taken_away_cancels(model, pixels):
    a, b = pixels[:3], pixels[3:6]
    expected = model.decode(model.encode(a).double().mean(0, keepdim=True).float())
    torch.testing.assert_close(edits.arithmetic(model, a, b, b), expected, rtol=0, atol=1e-4)


def test_a_sum_is_no_longer_than_the_model_s_latents():
    class Seen(Doubling):
        def decode(self, latents):
            self.length = latents.norm(dim=1).item()
            return super().decode(latents).clamp(0, 1)

    model = Model(Seen())
    dark, bright = some(1, 0, 1), some(1, 255)
    edits.arithmetic(model, bright, dark, bright)  # 2 + 2 in every number
    assert model.source.length == pytest.approx(16.0)  # |a|, longer than sqrt(D) = 8


def test_empty_sets_are_told(model, pixels):
    none = pixels[:0]
    with pytest.raises(ValueError, match="at least one picture"):
        edits.attribute(model, none, pixels)
    with pytest.raises(ValueError, match="at least one picture"):
        edits.attribute(model, pixels, none)
    with pytest.raises(ValueError, match="at least one picture"):
        edits.attribute(model, pixels[6:], pixels[:6], [none])
    with pytest.raises(ValueError, match="at least one picture"):
        edits.towards(model.condition(pixels)).pictures(none)
    with pytest.raises(ValueError, match="at least one picture"):
        edits.between(model, none, none)
    with pytest.raises(ValueError, match="at least one picture"):
        edits.arithmetic(model, pixels, none, pixels)
    with pytest.raises(ValueError, match="leads nowhere"):
        edits.towards(model.condition(pixels).remove(pixels))


def test_sets_that_show_nothing_are_told(model, pixels):
    with pytest.raises(ValueError, match="show no attribute"):
        edits.attribute(model, pixels[:6], pixels[:6])
    with pytest.raises(ValueError, match="show no attribute"):
        edits.attribute(model, pixels[6:], pixels[:6], [(pixels[:3], pixels[:3])])
    with pytest.raises(ValueError, match="Keep fewer"):
        edits.attribute(model, pixels[6:], pixels[:6], [(pixels[6:], pixels[:6])])


def test_another_model_s_posterior_is_told(model, model_file, pixels, tmp_path):
    source = copy.deepcopy(load(model_file).source)
    with torch.no_grad():
        next(source.flow.parameters()).add_(1e-3)
    save_model(tmp_path / "other.safetensors", source)
    other = load(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="same model"):
        edits.towards(model.condition(pixels), other.condition(pixels))
    edits.towards(model.condition(pixels), load(model_file).condition(pixels[:3]))


BAD = {
    "one step": (lambda m, x: edits.between(m, x[:1], x[1:2], 1), "2 or more"),
    "no such way": (lambda m, x: edits.between(m, x[:1], x[1:2], 3, "winding"), "spherical"),
    "unequal ends": (lambda m, x: edits.between(m, x[:1], x[1:4]), "as many pictures"),
    "no strength": (lambda m, x: edits.towards(m.condition(x)).strip(x, []), "got none"),
    "a strength of NaN": (lambda m, x: edits.towards(m.condition(x)).strip(x, [float("nan")]), "finite strengths"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case, model, pixels):
    call, words = BAD[case]
    with pytest.raises(ValueError, match=words) as told:
        call(model, pixels)
    assert str(told.value).startswith("Expected ")
    assert "\n" not in str(told.value)


def test_an_encoder_s_own_variance_takes_part():
    class Unsure(Doubling):
        def encode_variance(self, pictures):
            return pictures.flatten(1) / 255

    posterior = Model(Unsure()).condition(some(6, 1), 2.0)
    z = torch.randn(3, 64)
    gaussian = posterior.gaussian
    expected = gaussian.mean + gaussian.covariance.variances().sqrt() * z
    torch.testing.assert_close(edits.towards(posterior).change.move(z, 1.0), expected.float())


def test_an_edit_is_copied_with_its_model(model, pixels):
    edit = edits.attribute(model, pixels[6:], pixels[:6])
    again = pickle.loads(pickle.dumps(edit))
    assert torch.equal(again.pictures(pixels[:2], 0.5), edit.pictures(pixels[:2], 0.5))
