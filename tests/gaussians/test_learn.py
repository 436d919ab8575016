"""What is learned: the written forms, what each draws from, and few, equal or too long pictures."""

import pytest
import torch

from transflow.gaussians.kept import Kept
from transflow.gaussians.learn import MEAN, PARENTS, choose, learned, parse_learn
from transflow.gaussians.learned import Learned
from transflow.gaussians.levels import FrequencyBands, LevelSizes
from transflow.gaussians.mixture import Mixture
from transflow.gaussians.parents import Parents
from transflow.gaussians.sketch import Sketch

D = 192


def kept(m, dim=D, limit=256):
    rows = torch.randn(m, dim, generator=torch.Generator().manual_seed(0))
    return Kept.of(rows, [f"{i:032x}" for i in range(m)], limit=limit)


def chosen(m, learn=None, novelty=None, sizes=(D,), **more):
    return choose(parse_learn(learn, novelty, **more), kept(m), sizes, (3, 8, 8))


@pytest.mark.parametrize("bad", ["", "parent", "mean:1", "mixture:0.5", "covariance:x", "covariance:2", "a:b", 3, True])
def test_other_forms_are_refused(bad):
    with pytest.raises(ValueError, match=r'Expected as what to learn "parents", "parents:N".*got'):
        parse_learn(bad)


@pytest.mark.parametrize("bad", ["parents:0", "parents:-1", "parents:", "parents:2.5", "parents:x"])
def test_a_bad_number_of_parents_is_refused(bad):
    with pytest.raises(ValueError, match="Expected 1 parent or more, at most half as many as pictures"):
        parse_learn(bad)


@pytest.mark.parametrize("learn", ["mean", "covariance", "parents:3"])
def test_a_novelty_goes_with_parents_and_mixtures_alone(learn):
    with pytest.raises(ValueError, match="Expected no novelty"):
        parse_learn(learn, 0.5)


@pytest.mark.parametrize("bad", [-1, 1.01, float("nan"), "0.5"])
def test_a_bad_novelty_is_refused(bad):
    with pytest.raises(ValueError, match="Expected a novelty from 0"):
        parse_learn("mixture", bad)


def test_each_form_has_its_distribution():
    assert isinstance(chosen(24, "covariance").drawn, Learned)
    assert chosen(24, "covariance:0.5").drawn.variety == (0.5,)
    parents = chosen(24).drawn
    assert isinstance(parents, Parents)
    assert parents.weights.count == PARENTS
    assert parents.levels == FrequencyBands((3, 8, 8))
    assert chosen(24, "parents:4", sizes=(128, 64)).drawn.weights.count == 4
    assert chosen(24, sizes=(128, 64)).drawn.levels == LevelSizes((128, 64))
    mixture = chosen(24, "mixture", 0.4).drawn
    assert isinstance(mixture, Mixture)
    assert mixture.novelty == pytest.approx(0.4)
    assert chosen(24, novelty=0.4).drawn.novelty == pytest.approx(0.4, abs=0.003)
    assert chosen(24, "mean").drawn is None
    assert not MEAN.keeps_latents


def test_at_novelty_1_the_learned_gaussian_is_drawn():
    novel = chosen(24, novelty=1)
    expected = learned(parse_learn(), kept(24), (D,))
    assert isinstance(novel.drawn, Learned)
    assert novel.note == ""
    assert torch.equal(novel.drawn.sample(3, seed=0), expected.sample(3, seed=0))
    mixture = chosen(24, "mixture", 1.0).drawn
    torch.testing.assert_close(mixture.gaussian.mean, expected.mean)
    torch.testing.assert_close(mixture.covariance.variances(), expected.covariance.variances())


@pytest.mark.parametrize(
    ("m", "learn", "novelty", "words"),
    [
        (1, None, None, "one picture shows no variety to learn, so samples are drawn in the paper's way"),
        (2, None, None, "2 pictures have 2 different samples of one parent, and too few for two, so their Gaussian"),
        (3, None, 0.4, "3 pictures have 3 different samples of one parent"),
        (3, None, 0, "one parent gives the evidence back: there are 3 different samples"),
        (10, None, 0.9, "parents than half of 10 pictures, which reach 0.67, so their Gaussian is drawn"),
    ],
)
def test_few_pictures_have_words_of_their_own(m, learn, novelty, words):
    assert words in chosen(m, learn, novelty).note


def test_four_pictures_have_two_parents_and_more_than_half_are_refused():
    assert chosen(4).drawn.weights.count == chosen(5).drawn.weights.count == 2
    with pytest.raises(ValueError, match="at most half as many parents as there are different pictures, 2 of 5; got 3"):
        chosen(5, "parents:3")


def test_equal_pictures_count_once_and_copies_alone_show_nothing():
    rows = kept(6).rows
    twice = Kept.of(torch.cat([rows, rows[:2]]))
    found = choose(parse_learn(), twice, (D,), (3, 8, 8))
    assert "2 of the pictures are there already and count once" in found.note
    torch.testing.assert_close(found.drawn.mean, rows.double().mean(0))
    copies = Kept.of(rows[[0, 0, 0]])
    assert "no variety" in choose(parse_learn(), copies, (D,), (3, 8, 8)).note
    alike = Kept.of(rows[[0, 0, 0]], ["a", "b", "c"])
    assert "3 pictures all alike show no variety" in choose(parse_learn(), alike, (D,), (3, 8, 8)).note


def test_of_more_than_are_held_those_held_are_drawn_from():
    found = choose(parse_learn(), kept(50, limit=20), (D,), (3, 8, 8))
    assert "20 of 50 pictures are drawn from" in found.note
    assert found.drawn.m == 20


def test_of_more_than_are_held_the_covariance_is_that_of_all_by_their_sketch():
    rows = kept(50).rows
    sketch = Sketch.of(rows, 60)
    found = choose(parse_learn("covariance"), kept(50, limit=20), (D,), (3, 8, 8), sketch)
    whole = chosen(50, "covariance").drawn
    torch.testing.assert_close(found.drawn.mean, whole.mean)
    torch.testing.assert_close(found.drawn.covariance.dense().matrix, whole.covariance.dense().matrix)
    assert "50 pictures' variety is known by 5" in found.note
    assert "which miss 0.0%" in found.note


def test_latents_far_too_long_are_left_out_unless_asked_for():
    rows = kept(8).rows.clone()
    rows[3] *= 5
    one = Kept.of(rows)
    assert choose(parse_learn(), one, (D,), (3, 8, 8)).drawn.m == 7
    assert choose(parse_learn(long=True), one, (D,), (3, 8, 8)).drawn.m == 8
