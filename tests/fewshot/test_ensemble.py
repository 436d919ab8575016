"""Sets of features are multiplied, and p-values of outliers."""

import pytest
import torch

from fewshot_data import few, latents
from transflow.fewshot.classifier import FewShot
from transflow.fewshot.ensemble import Candidate, Selection


def test_feature_sets_are_multiplied_and_the_informative_one_weighs_more():
    rows, labels = latents(n=8, copies=1, dim=20)
    blind = torch.randn(len(rows), 1, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = FewShot().add({"a": rows, "b": blind}, labels.tolist(), [str(i) for i in range(len(rows))], {})
    choice = both.ensemble.selection
    assert [c.features for c in choice.candidates] == ["a", "b"]
    assert choice.log_prob > max(c.log_prob for c in choice.candidates) - 0.05
    assert "weight" in str(choice)
    query = {"a": rows[:4, 0], "b": blind[:4, 0]}
    parts = [
        e.scores(query[e.candidate.features]) * w for e, w in zip(both.ensemble.members, choice.weights, strict=True)
    ]
    torch.testing.assert_close(both.ensemble.scores(query), parts[0] + parts[1])
    assert parts[0].std() > 5 * parts[1].std()


def test_outliers_are_rejected_at_the_stated_rate():
    rows, labels = latents(n=100, copies=1, dim=40)
    g = torch.Generator().manual_seed(2)
    found = few(rows[:150], labels[:150])[0].ensemble
    good = found.p_values({"latents": rows[150:, 0]})
    assert (good < 0.05).double().mean() <= 0.1
    assert (found.p_values({"latents": 6 * torch.randn(50, 40, dtype=torch.float64, generator=g)}) < 0.01).all()
    with pytest.raises(ValueError, match="three or more examples"):
        few(rows[:3], labels[:3])[0].ensemble.p_values({"latents": rows[:, 0]})


def test_selections_in_words():
    one = Candidate("latents", "pooled", 1.0, -0.1, 0.97)
    assert str(one) == "pooled on latents: leave-one-out: 97.0% correct, mean log probability -0.100"
    assert str(Selection((one,), (1.0,), -0.1, 0.97)) == str(one)
    both = str(Selection((one, Candidate("features", "shared, ridge 0.3")), (0.25, 0.75), -0.1, 0.97))
    assert both.startswith("pooled on latents (weight 0.25) with shared, ridge 0.3 on features (weight 0.75): ")
    assert "could not be compared" in str(Candidate("latents", "pooled"))


def test_scores_and_densities_have_one_order_and_different_meanings():
    rows, labels = latents(n=8, copies=1, dim=20)
    found = few(rows, labels)[0].ensemble
    member, z = found.members[0], rows[:, 0]
    density, scores = member.log_density(z), member.scores(z)
    assert (scores.argmax(1) == labels).double().mean() > 0.9
    torch.testing.assert_close((density / member.candidate.temperature).log_softmax(1), scores.log_softmax(1))
    far = 3 * z  # the class is as sure, and yet each is an outlier
    assert (found.p_values({"latents": far}) < found.p_values({"latents": z})).all()
