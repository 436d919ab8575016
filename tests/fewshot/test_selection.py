"""Candidates by noise, turns of leaving out, and noise that a classifier does not know."""

import pytest
import torch

from fewshot_data import few, latents
from transflow.fewshot.classifier import FewShot
from transflow.fewshot.examples import FeatureKind, LabelledFeatures
from transflow.fewshot.selection import candidate_likelihoods, make_folds


@pytest.mark.parametrize("noise", ["typical", "evidence", "nonsense", 0, -1.0, True, None])
def test_unknown_noise_is_refused(noise):
    with pytest.raises(ValueError, match="Expected as noise"):
        FewShot(noise)


def candidates(noise, kind=None, copies=1):
    rows, labels = latents(copies=copies)
    return list(candidate_likelihoods(noise, LabelledFeatures.of(rows, labels, 3, kind)))


def test_candidates_of_each_noise():
    ridges, paper = ["shared, ridge 0.3", "shared, ridge 3"], ["0.1m", "0.5m", "1m"]
    assert candidates("auto") == ["pooled", "student", *ridges, *paper]
    assert candidates("auto", FeatureKind((6, 2))) == ["pooled", "levels", "student", *ridges, *paper]
    assert candidates("auto", FeatureKind(hidden=True)) == ridges
    assert candidates("auto", FeatureKind(hidden=True), copies=3) == ridges[:1]
    assert candidates("shared") == ridges
    for noise in ("pooled", "levels", "student", "0.5m", 3.0):
        assert candidates(noise) == [str(noise)]
    assert candidates("pooled", FeatureKind(hidden=True)) == ["pooled"]


def test_every_example_is_classified_once_and_each_class_of_two_loses_one():
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    folds = make_folds(labels, [2, 3, 1])
    assert sorted(torch.cat([fold.rows for fold in folds]).tolist()) == [0, 1, 2, 3, 4]
    for fold in folds:
        assert fold.left_out[2] == -1
        assert set(fold.rows.tolist()) <= set(fold.left_out.tolist())
        assert labels[fold.left_out[:2]].tolist() == [0, 1]
    assert make_folds(torch.tensor([0, 1]), [1, 1]) == []


def test_at_most_a_hundred_examples_are_left_out():
    folds = make_folds(torch.arange(3).repeat(60), [60] * 3)
    assert sum(len(fold.rows) for fold in folds) == 100


def test_the_best_candidate_is_selected():
    rows, labels = latents(n=8, copies=1, dim=20)
    found = few(rows, labels)[0].ensemble
    scores = [candidate.log_prob for candidate in found.considered]
    assert scores == sorted(scores, reverse=True)
    assert found.selection.candidates == found.considered[:1]


def test_a_class_of_one_example_is_not_forgotten():
    """By leaving out, what never tells the lone class would be best; the other candidates tell its own kind."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    zeros, ones = (torch.from_numpy(digits.data[digits.target == c]).float() for c in (0, 1))
    rows = torch.cat([zeros[:100], ones[:1]])[:, None]
    labels = torch.tensor([0] * 100 + [1])
    few = FewShot("auto").add({"vectors": rows}, [0] * 100 + [1], [str(i) for i in range(101)])
    assert "1 of 2 classes have one example" in few.ensemble.selection.note
    for name, expected in ((1, ones[1:]), (0, zeros[100:])):
        found = few.ensemble.scores({"vectors": expected}).argmax(1)
        assert (found == name).float().mean() > 0.7, name
    again = few.ensemble.scores({"vectors": rows[:, 0]}).argmax(1)
    assert torch.equal(again[-1:], labels[-1:])


def test_a_choice_no_better_than_chance_says_so():
    torch.manual_seed(0)
    few = FewShot("auto").add({"vectors": torch.randn(4, 1, 50)}, [0, 0, 1, 1], list("abcd"))
    chosen = few.ensemble.selection
    assert (chosen.accuracy <= 0.5) == ("chance" in chosen.note)
    apart = torch.tensor([[0.0], [0.1], [9.0], [9.1]])[:, None] + torch.zeros(4, 1, 3)
    assert FewShot("auto").add({"vectors": apart}, [0, 0, 1, 1], list("abcd")).ensemble.selection.note == ""


def test_a_noise_without_finite_densities_is_refused():
    few = FewShot(1e-300).add({"vectors": torch.randn(4, 1, 50)}, [0, 0, 1, 1], list("abcd"))
    with pytest.raises(ValueError, match="finite densities; got 1e-300"):
        _ = few.ensemble
