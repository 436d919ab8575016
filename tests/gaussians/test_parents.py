"""Parents against brute force over all sets of pictures, and the limits."""

import itertools
import math
import pickle

import pytest
import torch

from transflow.gaussians.kept import Kept
from transflow.gaussians.levels import LevelSizes, levels_of
from transflow.gaussians.novelty import Weights
from transflow.gaussians.parents import Parents

D = 5


def latents(m, dim=D, seed=0):
    return torch.randn(m, dim, generator=torch.Generator().manual_seed(seed)) + 0.5


def moments_of(z):
    """zeta_bar and C of latents."""
    mean = z.double().mean(0)
    centred = z.double() - mean
    return mean, centred.T @ centred / len(z)


def all_sets(z, n, correction=1.0):
    """Every combination of n different pictures with equal weights."""
    mean, _ = moments_of(z)
    sets = list(itertools.combinations(range(len(z)), n))
    return mean + correction * torch.stack([(z[list(s)].double() - mean).sum(0) for s in sets]) / math.sqrt(n)


@pytest.mark.parametrize("m", [4, 5, 7])
def test_mean_and_covariance_are_those_of_all_sets(m):
    z = latents(m)
    _, c = moments_of(z)
    for n in range(1, m // 2 + 1):
        brute_mean, brute = moments_of(all_sets(z, n))
        plain = Parents.of(z, Weights(n, 0.0), corrected=False)
        torch.testing.assert_close(brute_mean, plain.mean)
        torch.testing.assert_close(brute, c * (m - n) / (m - 1))
        torch.testing.assert_close(plain.covariance.dense().matrix, brute, rtol=1e-4, atol=1e-5)
        corrected = Parents.of(z, Weights(n, 0.0))
        torch.testing.assert_close(corrected.covariance.dense().matrix, c, rtol=1e-4, atol=1e-5)
        both = Parents.of(z, Weights(n, 0.0), isotropic=0.3)
        torch.testing.assert_close(both.covariance.dense().matrix, c + 0.3 * torch.eye(D, dtype=torch.float64))
        for parents in (plain, corrected, both):
            radius = parents.mean.square().sum() + parents.covariance.trace()
            assert parents.squared_radius() == pytest.approx(radius.item() / D, rel=1e-5)


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_samples_are_all_sets_with_equal_chances(n, corrected):
    z = latents(6)
    correction = math.sqrt(5 / (6 - n)) if corrected else 1.0
    parents = Parents.of(z, Weights(n, 0.0), corrected=corrected)
    sets = all_sets(parents.rows, n, correction)
    drawn = parents.sample(6000, seed=1).double()
    distance, which = torch.cdist(drawn, sets).min(1)
    assert distance.max() < 1e-5
    assert (which.bincount(minlength=len(sets)) * len(sets) / 6000 - 1).abs().max() < 0.35


@pytest.mark.parametrize("corrected", [True, False])
def test_of_random_weights_the_covariance_is_that_of_the_formula(corrected):
    z = latents(7)
    mean, c = moments_of(z)
    weights = Weights(3, 1.0)
    parents = Parents.of(z, weights, corrected=corrected)
    drawn = parents.draw(200_000, seed=0)
    total = drawn.weights.sum(1).square().mean().item()
    assert weights.squared_sum == pytest.approx(total, rel=0.005)
    found_mean, found = moments_of(drawn.latents)
    expected = c if corrected else c * (7 - total) / 6
    scale = c.diagonal().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=0.02)
    torch.testing.assert_close(found_mean, mean, rtol=0, atol=0.02)
    torch.testing.assert_close(parents.covariance.dense().matrix / scale, expected / scale, rtol=0, atol=0.01)


@pytest.mark.parametrize(("m", "n"), [(6, 2), (7, 3), (5, 1)])
def test_n_and_m_minus_n_parents_are_mirror_images(m, n):
    z = latents(m)
    mean, _ = moments_of(z)
    few = all_sets(z, n, math.sqrt((m - 1) / (m - n))) - mean
    many = all_sets(z, m - n, math.sqrt((m - 1) / n)) - mean
    torch.testing.assert_close(few, -many.flip(0))  # complements come in the opposite order
    with pytest.raises(ValueError, match=f"at most half as many parents.*got {m - n}"):
        Parents.of(z, m - n if m - n > m // 2 else m)


def test_one_parent_gives_the_evidence_back():
    z = latents(5)
    drawn = Parents.of(z, 1, levels=LevelSizes((3, 2))).draw(50, seed=0)
    assert torch.cdist(drawn.latents.double(), z.double()).min(1).values.max() < 1e-5
    assert set(drawn.parents.flatten().tolist()) == set(range(5))
    torch.testing.assert_close(Parents.of(z[:1], 1).sample(3, seed=0), z[:1].expand(3, -1))


def test_many_parents_with_replacement_are_the_gaussian():
    z = latents(6)
    mean, c = moments_of(z)
    for n in (2, 40):
        parents = Parents.of(z, Weights(n, 0.0), replacement=True)
        torch.testing.assert_close(parents.covariance.dense().matrix, c, rtol=1e-4, atol=1e-5)
        found_mean, found = moments_of(parents.sample(60_000, seed=n))
        torch.testing.assert_close(found_mean, mean, rtol=0, atol=0.03)
        torch.testing.assert_close(found, c, rtol=0, atol=0.05)
    standard = (parents.sample(60_000, seed=n).double() - mean) / c.diagonal().sqrt()
    assert standard.pow(4).mean().item() == pytest.approx(3, abs=0.12)  # of two parents it is about 2


def test_parents_and_weights_of_a_sample_make_it_again():
    z = latents(9)
    parents = Parents.of(z, 3)
    drawn = parents.draw(20, seed=4)
    assert all(len(set(row)) == 3 for row in drawn.parents.tolist())
    assert (drawn.weights > 0).all()
    torch.testing.assert_close(drawn.weights.square().sum(1), torch.ones(20, dtype=torch.float64))
    total = drawn.weights.sum(1, keepdim=True)
    deviations = parents.kept.rows.double()[drawn.parents] - parents.mean
    again = (drawn.weights[..., None] * deviations).sum(1) * (8 / (9 - total.square())).sqrt()
    torch.testing.assert_close((parents.mean + again).float(), drawn.latents)


def different(rows):
    """How many rows differ by more than rounding."""
    return len({tuple(row) for row in rows.mul(1e4).round().tolist()})


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_thousand_samples_of_ten_pictures_all_differ(n):
    drawn = Parents.of(latents(10, 64), n).sample(1000, seed=0)
    assert different(drawn) == 1000
    assert different(Parents.of(latents(10, 64), Weights(2, 0.0)).sample(1000, seed=0)) == 45


def test_the_same_seed_draws_the_same_pictures_for_every_number_of_parents():
    z = latents(20)
    two, five = (Parents.of(z, n).draw(8, seed=3) for n in (2, 5))
    assert torch.equal(two.parents, five.parents[:, :2])
    assert torch.equal(Parents.of(z, 2).sample(8, torch.Generator().manual_seed(3)), two.latents)


def test_temperature_scales_the_deviation():
    parents = Parents.of(latents(8), 2)
    whole, half, none = (parents.sample(4, seed=0, temperature=t).double() for t in (1, 0.5, 0))
    torch.testing.assert_close(half - parents.mean, 0.5 * (whole - parents.mean), rtol=0, atol=1e-6)
    torch.testing.assert_close(none, parents.mean.expand(4, -1), rtol=0, atol=1e-6)


def test_the_density_is_that_of_the_finite_mixture():
    z = latents(6)
    parents = Parents.of(z, Weights(2, 0.0), isotropic=0.4)
    x = latents(7, seed=9)
    centres = all_sets(parents.rows, 2, math.sqrt(5 / 4))
    each = torch.distributions.MultivariateNormal(centres, 0.4 * torch.eye(D, dtype=torch.float64))
    brute = each.log_prob(x.double()[:, None]).logsumexp(1) - math.log(15)
    torch.testing.assert_close(parents.log_prob(x), brute)


@pytest.mark.parametrize(
    ("weights", "more", "why"),
    [
        (Weights(2), {"isotropic": 0.1}, "random weights"),
        (Weights(2, 0.0), {}, "no isotropic noise"),
        (Weights(2, 0.0), {"isotropic": 0.1, "levels": LevelSizes((3, 2))}, "cut by level"),
        (Weights(2, 0.0), {"isotropic": 0.1, "replacement": True}, "independent parents"),
        (Weights(10, 0.0), {"isotropic": 0.1}, "sets of parents"),
    ],
)
def test_without_a_density_it_says_why(weights, more, why):
    parents = Parents.of(latents(24), weights, **more)
    with pytest.raises(ValueError, match=f"Expected parents with a density.*{why}"):
        parents.log_prob(latents(2))


LEVELS = [LevelSizes((60, 30, 6)), levels_of((192,), (3, 8, 8))]


@pytest.mark.parametrize("levels", LEVELS)
def test_the_cut_keeps_each_level_within_the_evidence_s_median(levels):
    z = latents(12, 96 if isinstance(levels, LevelSizes) else 192)
    parents = Parents.of(z, 3, levels=levels)
    medians = levels.norms(parents.rows.double() - parents.mean).median(0).values
    norms = levels.norms(parents.sample(200, seed=0).double() - parents.mean)
    assert (norms <= medians * (1 + 1e-4)).all()
    uncut = Parents.of(z, 3, levels=levels, cut=False)
    assert (levels.norms(uncut.sample(200, seed=0).double() - parents.mean) > medians * 1.01).any()
    bend = parents.bend()
    drawn = [p.sample(512, seed=0).double() - p.mean for p in (parents, uncut)]
    squares = [levels.norms(d).square().mean(0) for d in drawn]
    assert bend.variance == pytest.approx((squares[0] / squares[1]).tolist(), abs=0.05)
    assert 0 < bend.mean < 0.2
    assert 0.3 < bend.cut <= 1
    assert uncut.bend().variance == (1.0,) * levels.count
    assert Parents.of(z, 1, levels=levels).bend().cut == 0


@pytest.mark.parametrize("levels", LEVELS)
def test_a_variation_has_the_coarsest_level_of_its_picture(levels):
    z = latents(12, 96 if isinstance(levels, LevelSizes) else 192)
    parents = Parents.of(z, 3, levels=levels)
    drawn = parents.vary(7, 30, seed=0)
    own = parents.kept.rows[7].double() - parents.mean
    found = drawn.latents.double() - parents.mean
    apart = levels.norms(found - own)
    assert apart[:, -1].max() < 1e-4
    assert apart[:, 0].min() > 0.1
    assert (drawn.parents[:, 0] == 7).all()
    assert all(len(set(row)) == 3 for row in drawn.parents.tolist())
    with pytest.raises(ValueError, match="0 to 11; got 12"):
        parents.vary(12, 1)
    with pytest.raises(ValueError, match="several levels"):
        Parents.of(z, 3).vary(0, 1)


def test_pictures_far_too_long_are_left_out_unless_asked_for():
    z = latents(9, 200)
    z[5] *= 4
    kept = Kept.of(z, [f"{i:032x}" for i in range(9)])
    parents = Parents.of(kept, 2)
    assert parents.m == 8
    assert 5 not in parents.draw(300, seed=0).parents
    assert 8 in parents.draw(300, seed=0).parents
    torch.testing.assert_close(parents.mean, z[[0, 1, 2, 3, 4, 6, 7, 8]].double().mean(0))
    assert 5 in Parents.of(kept, 2, long=True).draw(300, seed=0).parents


def test_added_and_taken_out_equals_never_seen():
    z = latents(9)
    whole = Parents.of(z, 2)
    parts = Parents.of(z[:6], 2).add(Kept.of(z[6:]))
    assert torch.equal(parts.sample(5, seed=0), whole.sample(5, seed=0))
    without = whole.remove(Kept.of(z[6:]).keys)
    assert torch.equal(without.sample(5, seed=0), Parents.of(z[:6], 2).sample(5, seed=0))
    with pytest.raises(ValueError, match="half as many"):
        Parents.of(z[:6], 3).remove(Kept.of(z[:2]).keys)
    again = pickle.loads(pickle.dumps(whole))
    assert torch.equal(again.sample(5, seed=0), whole.sample(5, seed=0))


@pytest.mark.parametrize("n", [0, -2, 6, 2.5])
def test_a_bad_number_of_parents_is_refused(n):
    with pytest.raises(ValueError, match="parent"):
        Parents.of(latents(10), n)
