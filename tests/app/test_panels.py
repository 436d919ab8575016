"""What the panels compute is what the library computes; nothing is encoded twice, and the same draws are seen."""

import threading

import numpy as np
import pytest
import torch

from transflow.app import bounds, completing, gathering
from transflow.app.changing import attribute, one_of, towards
from transflow.app.classifying import NONE, classified
from transflow.app.drawing import Settings, conditioned, draw, prior
from transflow.app.gathering import Seen, Work, encoded, posterior, seen
from transflow.app.scoring import scored
from transflow.app.sessions import PictureSet
from transflow.app.travelling import Journey, way
from transflow.app.uploads import take
from transflow.app.watched import Stopped, watched
from transflow.conditioning import edits
from transflow.conditioning.operators import Grey, Known
from transflow.conditioning.typicality import compare


@pytest.fixture
def some(session, shelf, tiny, uploaded):
    session.sets["evidence"] = PictureSet().with_more(take(session, uploaded()).pictures)
    return seen(shelf, session, "evidence", tiny)


def whole(found, settings):
    return list(draw(found, settings))[-1]


def test_a_set_is_seen_as_the_model_sees_it(some, pixels, tiny, shelf, session):
    assert torch.equal(some.pixels, pixels)
    session.sets["evidence"] = PictureSet(session.set_of("evidence").pictures, left_out=frozenset({"00.png", "03.png"}))
    fewer = seen(shelf, session, "evidence", tiny)
    assert torch.equal(fewer.pixels, pixels[[1, 2, 4, 5, 6, 7, 8, 9, 10, 11]])
    assert not len(seen(shelf, session, "other", tiny))


def test_no_picture_is_encoded_twice(some, tiny, session):
    counts = []
    model = watched(tiny, counts.append)
    first = encoded(session, model, some)
    again = encoded(session, model, Seen(some.names[2:], some.pixels[2:]))
    assert sum(counts) == len(some)
    assert torch.equal(first.latents[2:], again.latents)
    torch.testing.assert_close(first.latents, tiny.encode(some.pixels), atol=1e-4, rtol=1e-4)


def test_latents_of_one_session_are_not_another_s(some, tiny, session, sessions):
    encoded(session, tiny, some)
    counts = []
    encoded(sessions.of("another"), watched(tiny, counts.append), some)
    assert sum(counts) == len(some)


def test_sample_sets_are_encoded_once_for_all(tiny, shelf, session, sessions, monkeypatch):
    monkeypatch.setattr(gathering, "_samples", type(gathering._samples)())
    for user in (session, sessions.of("another")):
        user.sets["evidence"] = PictureSet(sample="drawn")
    counts = []
    model = watched(tiny, counts.append)
    for user in (session, sessions.of("another")):
        encoded(user, model, seen(shelf, user, "evidence", tiny))
    assert sum(counts) == 24


@pytest.mark.parametrize(
    ("settings", "ways"),
    [
        (Settings(n=4), {"learn": "parents"}),
        (Settings(novelty=0.5, n=4, seed=3), {"learn": "parents", "novelty": 0.5}),
        (Settings(way="covariance", covariance=0.4, n=4), {"learn": "covariance:0.4"}),
        (Settings(way="mixture", n=4), {"learn": "mixture"}),
        (Settings(way="mean", noise=0.5, n=4), {"noise": "0.5m"}),
        (Settings(way="mean", n=4, temperature=0.7), {"noise": "typical"}),
    ],
    ids=str,
)
def test_new_pictures_are_those_of_the_library(some, tiny, session, settings, ways):
    found = whole(conditioned(session, tiny, some, settings), settings)
    theirs = tiny.condition(some.pixels, **ways)
    expected = theirs.pictures(bounds.NUMBER, seed=settings.seed, temperature=settings.temperature)[:4]
    torch.testing.assert_close(found.pictures, expected, atol=2e-3, rtol=0)
    assert found.note.startswith("12 pictures of evidence")


def test_only_what_changed_changes(some, tiny, session):
    found = conditioned(session, tiny, some, Settings())
    few, more = whole(found, Settings(n=3)), whole(found, Settings(n=9))
    torch.testing.assert_close(few.pictures, more.pictures[:3], atol=1e-4, rtol=0)
    assert (whole(found, Settings(n=3, seed=1)).pictures - few.pictures).abs().max() > 0.05


def test_a_slow_model_shows_pictures_as_they_come(some, tiny, session, monkeypatch):
    monkeypatch.setattr(bounds, "LARGE", 1)
    parts = list(draw(conditioned(session, tiny, some, Settings()), Settings(n=20)))
    assert [len(part.pictures) for part in parts] == [8, 16, 20]
    assert [bool(part.note) for part in parts] == [False, False, True]


def test_the_prior_is_the_model_s_own(tiny, session):
    *_, last = prior(session, tiny, 5, 2)
    expected = tiny.pictures(tiny.prior, bounds.NUMBER, seed=2, temperature=tiny.temperature or 0.7)[:5]
    torch.testing.assert_close(last.pictures, expected, atol=1e-4, rtol=0)
    counts = []
    *_, again = prior(session, watched(tiny, counts.append), 3, 2)
    assert not counts
    assert torch.equal(again.pictures, last.pictures[:3])
    *_, more = prior(session, watched(tiny, counts.append), 7, 2)
    assert sum(counts) == 2
    assert torch.equal(more.pictures[:5], last.pictures)


@pytest.mark.parametrize("wrong", [{"way": "magic"}, {"n": 0}, {"n": 10**9}, {"seed": -1}, {"way": "mean", "noise": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=r"^Expected"):
        Settings(**wrong)


def test_the_way_is_that_of_the_library(some, tiny, session):
    other = Seen(some.names[:6], 255 - some.pixels[:6])
    first, last = (posterior(session, tiny, part, "parents") for part in (some, other))
    reports = []
    frames = way(first, last, Journey(3, 2, seed=4), Work(lambda share, words: reports.append((share, words))))
    torch.testing.assert_close(frames, first.strip(last, 3, 2, seed=4), atol=1e-4, rtol=0)
    assert [words for _, words in reports] == ["step 1 of 3", "step 2 of 3", "step 3 of 3"]


def test_work_stops_between_two_steps(some, tiny, session):
    found = posterior(session, tiny, some, "parents")
    event = threading.Event()
    with pytest.raises(Stopped):
        way(found, found, Journey(5, 1), Work(lambda share, words: event.set(), event))
    with pytest.raises(Stopped):
        scored(tiny, some, None, Work(stop=event))


def test_edits_are_those_of_the_library(some, tiny, session):
    picture = one_of(some, "04.png")
    result = towards(session, tiny, picture, some, 0.5)
    expected = edits.towards(tiny.condition(some.pixels, learn="covariance")).strip(picture.pixels, [0, 0.5])
    torch.testing.assert_close(result.pictures, expected[:, 0], atol=2e-3, rtol=0)
    more, less = Seen(some.names[:5], some.pixels[:5]), Seen(some.names[5:], some.pixels[5:])
    result = attribute(session, tiny, picture, more, less, 1.5)
    expected = edits.attribute(tiny, more.pixels, less.pixels).pictures(picture.pixels, 1.5)
    torch.testing.assert_close(result.pictures[1:], expected, atol=2e-3, rtol=0)


def test_edits_of_nothing_are_one_line(some, tiny, session):
    nothing = Seen((), some.pixels[:0])
    with pytest.raises(ValueError, match="Expected a picture to change; got none"):
        one_of(nothing, None)
    with pytest.raises(ValueError, match="not"):
        one_of(some, "nowhere.png")
    with pytest.raises(ValueError, match="Expected at least one picture; got none"):
        towards(session, tiny, one_of(some, None), nothing, 0.5)
    with pytest.raises(ValueError, match="Give both sets"):
        attribute(session, tiny, one_of(some, None), some, nothing, 1)
    with pytest.raises(ValueError, match="strength from -2 to 2"):
        towards(session, tiny, one_of(some, None), some, 1e9)


def test_what_is_painted_is_not_known(tiny):
    layer = np.zeros((160, 160, 4), np.uint8)
    layer[40:80, 60:100] = 255  # rows 4 to 8 and columns 6 to 10 of 16
    known = completing.painted({"layers": [layer]}, tiny)
    expected = torch.ones(16, 16, dtype=torch.bool)
    expected[4:8, 6:10] = False
    assert torch.equal(known, expected)
    layer[80, 60:100] = 255  # a tenth of the next row: more than a twentieth
    assert not completing.painted({"layers": [layer]}, tiny)[8, 6:10].any()
    for nothing in (None, {"layers": []}, {"layers": [np.zeros((160, 160, 4), np.uint8)]}):
        with pytest.raises(ValueError, match="nothing painted"):
            completing.painted(nothing, tiny)


def test_what_is_hidden_by_the_list(tiny):
    assert isinstance(completing.what_is_known(completing.GREY, None, tiny), Grey)
    half = completing.what_is_known("the left half", None, tiny)
    assert isinstance(half, Known)
    assert not half.mask[:, :8].any()
    assert half.mask[:, 8:].all()
    with pytest.raises(ValueError, match=r"^Expected"):
        completing.what_is_known("everything", None, tiny)


def test_completions_are_those_of_the_library(some, tiny):
    half = completing.what_is_known("the top half", None, tiny)
    picture = one_of(some, None)
    shares = []
    result = completing.completed(tiny, picture, half, 2, 5, work=Work(lambda share, words: shares.append(share)))
    expected = tiny.complete(picture.pixels, half, n=2, seed=5)
    torch.testing.assert_close(result.sheet[1:3], expected.pictures)
    assert len(shares) > 10
    assert shares == sorted(shares)
    assert max(shares) <= 1


def test_classes_and_none_of_these(tiny):
    rng = np.random.default_rng(0)
    dark, light = (torch.from_numpy(rng.integers(low, low + 40, (8, 3, 16, 16)).astype(np.uint8)) for low in (20, 200))
    odd = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    odd[..., ::2] = 255
    names = tuple(map(str, range(6)))
    query = Seen(("a", "b", "odd"), torch.cat([dark[6:7], light[6:7], odd]))
    result = classified(tiny, {"dark": Seen(names, dark[:6]), "light ": Seen(names, light[:6])}, query)
    assert result.classes == ("dark", "light")
    assert [max(row) > 0.9 for row in result.probabilities[:2]] == [True, True]
    assert [result.verdict(i) for i in range(3)] == ["dark", "light", NONE]
    assert result.p_values is not None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a"], "at least two classes"),
        (["../a", "b"], "without slashes"),
        (["a", "a "], "two|twice"),
        (["", "b"], "name"),
    ],
)
def test_classes_are_checked(some, tiny, names, words):
    with pytest.raises(ValueError, match=words):
        classified(tiny, dict.fromkeys(names, some), some)


def test_scores_are_those_of_the_library(some, tiny):
    reference = Seen(some.names, 255 - some.pixels)
    found, expected = scored(tiny, some, reference), compare(tiny, some.pixels, reference.pixels)
    assert found.log_prob == pytest.approx(expected.scores.log_prob.tolist(), rel=1e-4)
    assert found.by_typicality == pytest.approx(expected.by_typicality.tolist())
    assert scored(tiny, some).by_likelihood is None
    with pytest.raises(ValueError, match="Expected a picture to score; got none"):
        scored(tiny, Seen((), some.pixels[:0]))
