"""Few-shot classification: leaving out is refitting, evidence adds and subtracts, wrong input is told."""

import math
from dataclasses import replace

import pytest
import torch

from transflow.fewshot import densities as likelihoods
from transflow.fewshot.calibration import calibrate, smoothed, upper_t, weigh
from transflow.fewshot.classifier import FewShot, View


def latents(seed=0, n=5, copies=3, dim=8, classes=3):
    g = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, dim, dtype=torch.float64, generator=g)
    labels = torch.arange(classes).repeat(n)
    base = centres[labels][:, None] + torch.randn(len(labels), 1, dim, dtype=torch.float64, generator=g)
    return base + 0.3 * torch.randn(len(labels), copies, dim, dtype=torch.float64, generator=g), labels


def examples(rows, labels, classes=3, levels=None):
    return View.of(rows, labels, classes, levels or (rows.shape[2],)).examples(labels)[0]


def brute_shared(rows, labels, query, classes, rho, size):
    """-N/2 of the squared distances by the covariance written out."""
    means = torch.stack([rows[labels == c].flatten(0, 1).mean(0) for c in range(classes)])
    x = (rows - means[labels][:, None]).flatten(0, 1)
    inverse = torch.linalg.inv(x.T @ x + rho * torch.eye(x.shape[1], dtype=x.dtype))
    gap = query - means
    return -0.5 * size * ((gap @ inverse) * gap).sum(1)


def folds(labels, classes=3):
    """What each class loses in turn: of balanced labels, the j-th of each class."""
    return [torch.stack([(labels == c).nonzero()[j, 0] for c in range(classes)]) for j in range(2)]


@pytest.mark.parametrize("dim", [8, 200])
@pytest.mark.parametrize("copies", [1, 3])
def test_leaving_out_of_the_shared_covariance_is_refitting(dim, copies):
    rows, labels = latents(dim=dim, copies=copies)
    whole = examples(rows, labels)
    found = replace(likelihoods.shared(whole, 0.5), spread=0.0)
    x = (rows - whole.means[labels][:, None]).flatten(0, 1)
    rho = 0.5 * x.square().sum().item() / dim
    direct = [brute_shared(rows, labels, q, 3, rho, len(x)) for q in rows[:, 0]]
    torch.testing.assert_close(found.log_density(rows[:, 0]), torch.stack(direct))
    for out in folds(labels):
        stay = torch.ones(len(rows), dtype=torch.bool)
        stay[out] = False
        means = torch.stack([rows[stay & (labels == c)].flatten(0, 1).mean(0) for c in range(3)])
        parts = []
        for i in out.tolist():  # the class's own scatter is without the example, every mean without one
            rest = torch.arange(len(rows)) != i
            own = [rows[rest & (labels == c)].flatten(0, 1).mean(0) for c in range(3)]
            y = (rows - torch.stack(own)[labels][:, None])[rest].flatten(0, 1)
            inverse = torch.linalg.inv(y.T @ y + rho * torch.eye(dim, dtype=y.dtype))
            gap = rows[i, 0] - means
            parts.append(-0.5 * len(x) * ((gap @ inverse) * gap).sum(1))
        torch.testing.assert_close(found.left_out(whole, out, out), torch.stack(parts), rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("make", [likelihoods.scaled, likelihoods.per_level, likelihoods.student])
def test_leaving_out_is_refitting(make):
    rows, labels = latents(copies=1)
    whole = examples(rows, labels, levels=(6, 2))
    found = make(whole)
    for out in folds(labels):
        rest = torch.ones(len(rows), dtype=torch.bool)
        rest[out] = False
        less = examples(rows[rest], labels[rest], levels=(6, 2))
        fresh = make(less)
        if isinstance(fresh, likelihoods.Student):  # its pooled lambda is the prior of each class's and stays
            fresh = likelihoods.Student.of(less.counts, less.means, less.scatter, found.lam)
        torch.testing.assert_close(found.left_out(whole, out, out), fresh.log_density(rows[out, 0]))


def test_a_class_of_one_example_loses_none():
    rows, labels = latents(copies=2)
    keep = torch.tensor([0, 1, 2, 3, 4, 6, 7])  # class 2 has one
    whole = examples(rows[keep], labels[keep])
    counts, means, scatter = whole.without(torch.tensor([0, 1, -1]))
    assert counts.tolist() == [2, 2, 1]
    torch.testing.assert_close(means[2], whole.means[2])
    torch.testing.assert_close(scatter[2], whole.scatter[2])
    rest = examples(rows[keep][2:], labels[keep][2:])
    torch.testing.assert_close(means, rest.means)
    torch.testing.assert_close(scatter, rest.scatter)


def test_directions_have_the_length_of_typical_latents():
    z = 7 * torch.randn(5, 3, 50, dtype=torch.float64)
    found = likelihoods.directions(z)
    torch.testing.assert_close(found.norm(dim=-1), torch.full((5, 3), math.sqrt(50), dtype=torch.float64))
    torch.testing.assert_close(likelihoods.directions(3 * z), found)
    assert torch.isfinite(likelihoods.directions(torch.zeros(2, 4))).all()


def test_lambda_i_is_the_papers_predictive():
    from transflow import Evidence, Gaussian

    rows, labels = latents(copies=1)
    found = likelihoods.scaled(examples(rows, labels), per_count=0.5)
    query = torch.randn(4, 8, dtype=torch.float64)
    for c in range(3):
        evidence = Evidence.of(rows[labels == c, 0])
        lam = 0.5 * evidence.count
        direct = Gaussian.standard(8).condition(evidence, lam).predictive(lam).log_prob(query)
        torch.testing.assert_close(found.log_density(query)[:, c], direct - 4 * -math.log(2 * math.pi))
    weights, offset = found.linear()
    torch.testing.assert_close((query @ weights.T + offset).log_softmax(1), found.log_density(query).log_softmax(1))


def test_student_is_a_density_that_integrates_to_one():
    rows, labels = latents(copies=1, dim=1, classes=2)
    found = likelihoods.student(examples(rows, labels, 2))
    grid = torch.linspace(-400, 400, 400_001, dtype=torch.float64)[:, None]
    density = (found.log_density(grid) - 0.5 * math.log(math.pi)).exp()
    torch.testing.assert_close(
        torch.trapezoid(density, grid[:, 0], dim=0), torch.ones(2, dtype=torch.float64), atol=1e-3, rtol=0
    )


def test_the_tail_of_student_t():
    for freedom, t in ((5, 3.365), (10, 2.764), (50, 2.403)):
        assert upper_t(t, freedom) == pytest.approx(0.01, rel=0.03)
    assert upper_t(-1.0, 10) + upper_t(1.0, 10) == pytest.approx(1)


def test_calibration_finds_the_temperature():
    g = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 4, dtype=torch.float64, generator=g)
    truth = torch.distributions.Categorical(logits=logits)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = truth.sample()
    temperature, _ = calibrate(7 * logits, labels)
    assert temperature == pytest.approx(7, rel=0.1)


def test_weights_are_the_best_there_are():
    g = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 3, (40,), generator=g)
    good = 2 * torch.eye(3, dtype=torch.float64)[truth] + torch.randn(40, 3, dtype=torch.float64, generator=g)
    noise = torch.randn(40, 3, dtype=torch.float64, generator=g)
    parts = torch.stack([good, noise, -good])
    target = smoothed(good, truth)

    def value(beta):
        joint = (beta[:, None, None] * parts).sum(0).log_softmax(1)
        return ((target * joint).sum() - (beta - 1 / 3).square().sum()).item()

    found = weigh(list(parts), truth)
    assert found[0] > 0.5
    assert (found >= 0).all()
    for _ in range(200):
        other = (found + 0.05 * torch.randn(3, dtype=torch.float64, generator=g)).clamp(min=0)
        assert value(other) <= value(found)
    torch.testing.assert_close(weigh([good, good], truth).diff(), torch.zeros(1, dtype=torch.float64))


def test_views_are_multiplied_and_the_telling_one_weighs_more():
    rows, labels = latents(n=8, copies=1, dim=20)
    blind = torch.randn(len(rows), 1, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = FewShot().add({"a": rows, "b": blind}, labels.tolist(), [str(i) for i in range(len(rows))], {})
    choice = both.fitted.choice
    assert [c.view for c in choice.candidates] == ["a", "b"]
    assert choice.log_prob > max(c.log_prob for c in choice.candidates) - 0.05
    assert "weight" in str(choice)
    query = {"a": rows[:4, 0], "b": blind[:4, 0]}
    parts = [e.scores(query[e.candidate.view]) * w for e, w in zip(both.fitted.experts, choice.weights, strict=True)]
    torch.testing.assert_close(both.fitted.scores(query), parts[0] + parts[1])
    assert parts[0].std() > 5 * parts[1].std()


def few(rows, labels, start=None, **more):
    keys = [str(row.sum().item()) for row in rows]
    return (start or FewShot(**more)).add({"latents": rows}, labels.tolist(), keys, {}), keys


def test_one_by_one_is_all_at_once():
    rows, labels = latents()
    whole, _ = few(rows, labels)
    parts = FewShot()
    for i in range(len(rows)):
        parts, _ = few(rows[i : i + 1], labels[i : i + 1], parts)
    query = {"latents": torch.randn(6, 8, dtype=torch.float64)}
    torch.testing.assert_close(parts.fitted.scores(query), whole.fitted.scores(query))


def test_forgetting_is_never_having_seen(monkeypatch):
    rows, labels = latents()
    whole, keys = few(rows, labels)
    never, _ = few(rows[:12], labels[:12])
    less = whole.remove(labels[12:].tolist(), keys[12:], dict)
    query = {"latents": torch.randn(6, 8, dtype=torch.float64)}
    torch.testing.assert_close(less.fitted.scores(query), never.fitted.scores(query))
    gone = whole.remove([2] * 5, [k for k, c in zip(keys, labels.tolist(), strict=True) if c == 2], dict)
    assert gone.classes == (0, 1)
    assert set(gone.labels.tolist()) == {0, 1}
    with pytest.raises(ValueError, match="never were"):
        whole.remove([0], keys[1:2], dict)


def test_sums_go_on_past_the_rows_that_are_kept(monkeypatch):
    rows, labels = latents(n=20, copies=1)
    whole, _ = few(rows, labels, noise="pooled")
    monkeypatch.setattr("transflow.fewshot.classifier.KEPT", 15)
    some, keys = few(rows[:30], labels[:30], noise="pooled")
    some, keys_2 = few(rows[30:], labels[30:], some)
    assert len(some.labels) == 15
    assert some.counts == [20, 20, 20]
    query = {"latents": torch.randn(6, 8, dtype=torch.float64)}
    torch.testing.assert_close(
        some.fitted.experts[0].log_density(query["latents"]), whole.fitted.experts[0].log_density(query["latents"])
    )
    both = [*keys, *keys_2]
    less = some.remove(labels[10:20].tolist(), both[10:20], lambda: {"latents": rows[10:20]})
    rest = torch.cat([torch.arange(10), torch.arange(20, 60)])
    fresh, _ = few(rows[rest], labels[rest], noise="pooled")
    torch.testing.assert_close(
        less.fitted.experts[0].log_density(query["latents"]), fresh.fitted.experts[0].log_density(query["latents"])
    )


def test_what_belongs_to_no_class_is_told_at_the_stated_rate():
    rows, labels = latents(n=100, copies=1, dim=40)
    found = few(rows[:150], labels[:150])[0].fitted
    good = found.p_values({"latents": rows[150:, 0]})
    assert (good < 0.05).double().mean() <= 0.1
    assert (found.p_values({"latents": 6 * torch.randn(50, 40, dtype=torch.float64)}) < 0.01).all()
    with pytest.raises(ValueError, match="at least three examples"):
        few(rows[:3], labels[:3])[0].fitted.p_values({"latents": rows[:, 0]})


def test_classes_of_few_examples_are_not_passed_over():
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(42, 1, 60, dtype=torch.float64, generator=g)
    labels = torch.tensor([0] * 40 + [1] * 2)
    rows[labels == 1] += 1.0
    query = torch.randn(400, 60, dtype=torch.float64, generator=g)
    query[200:] += 1.0
    told = few(rows, labels, noise="shared")[0].fitted.scores({"latents": query}).argmax(1)
    assert (told[:200] == 0).double().mean() > 0.75
    assert (told[200:] == 1).double().mean() > 0.75


@pytest.mark.parametrize("noise", ["typical", "evidence", "nonsense", 0, -1.0, True, None])
def test_unknown_noise_is_told(noise):
    with pytest.raises(ValueError, match="Expected as noise"):
        FewShot(noise)
