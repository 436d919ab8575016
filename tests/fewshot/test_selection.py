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
