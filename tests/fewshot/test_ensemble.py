"""Sets of features are multiplied, and p-values of outliers."""

import pytest
import torch

from fewshot_data import few, latents
from transflow.fewshot.classifier import FewShot
from transflow.fewshot.ensemble import Candidate, Selection
from transflow.fewshot.selection import make_folds


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
    with pytest.warns(DeprecationWarning, match=r"Candidate\.features"):
        assert one.view == "latents"


@pytest.mark.parametrize("noise", ["pooled", "student", "shared", "0.5m"])
def test_scores_are_densities_over_the_temperature(noise):
    rows, labels = latents(n=8, copies=1, dim=20)
    rows = 5 + 3 * rows  # a prior that is not standard
    (member,) = few(rows, labels, noise=noise)[0].ensemble.members
    density, scores = member.log_density(rows[:, 0]), member.scores(rows[:, 0])
    assert (scores.argmax(1) == labels).double().mean() > 0.9
    assert member.candidate.temperature != 1
    torch.testing.assert_close((density / member.candidate.temperature).log_softmax(1), scores.log_softmax(1))


def test_outliers_have_smaller_p_values():
    rows, labels = latents(n=8, copies=1, dim=20)
    found, z = few(rows, labels)[0].ensemble, rows[:, 0]
    assert (found.p_values({"latents": 3 * z}) < found.p_values({"latents": z})).all()


def test_the_selections_scores_are_those_of_left_out_examples():
    rows, labels = latents(n=8, copies=1, dim=3)
    rows = rows + 1.5 * torch.randn(rows.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = few(rows, labels, noise="pooled")[0].ensemble
    (member,) = found.members
    truth = torch.cat([fold.rows for fold in make_folds(labels, [8] * 3)]) % 3
    likely = (member.left_out / member.candidate.temperature).log_softmax(1)
    for scores in (found.selection, found.considered[0]):
        assert scores.accuracy == pytest.approx((member.left_out.argmax(1) == truth).double().mean().item())
        assert 0.5 < scores.accuracy < 1
        assert scores.log_prob == pytest.approx(likely.gather(1, truth[:, None]).mean().item())


def test_where_nothing_can_be_left_out_classes_are_eight_nats_apart():
    rows, labels = latents(n=1, copies=1, dim=20)
    found = few(rows, labels, noise="shared")[0].ensemble
    own = found.scores({"latents": rows[:, 0]})
    assert ((own.diagonal()[:, None] - own).sum() / 6).item() == pytest.approx(8)
    assert not found.has_p_values
