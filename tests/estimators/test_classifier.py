"""The estimator: scikit-learn's own checks, pictures through a model, bad input."""

import math
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.utils.estimator_checks import check_estimator

from transflow import Evidence, FewShotClassifier, Gaussian, Model


def same(a, b, x):
    np.testing.assert_allclose(a.predict_proba(x), b.predict_proba(x), atol=1e-4)


def test_scikit_learns_own_checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(FewShotClassifier())


class Pixels:
    """A model whose latents are its pixels, of any shape."""

    def __init__(self, shape):
        self.shape = shape
        self.prior = Gaussian.standard(math.prod(shape))

    def encode(self, pictures):
        return pictures.flatten(1).float() / 64 - 2

    def decode(self, latents):
        return ((latents + 2) / 4).clamp(0, 1).unflatten(1, self.shape)


@pytest.mark.parametrize("shape", [(1, 8, 12), (3, 12, 8), (4, 6, 10), (2, 5, 5)])
def test_models_of_any_height_width_and_channels(shape):
    x = torch.randint(0, 100, (12, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x[::2] += 120
    y = ["light", "dark"] * 6
    for noise in ("auto", "0.5m", "shared"):
        classifier = FewShotClassifier(Pixels(shape), noise=noise, augment=3).fit(x[:8], y[:8])
        assert classifier.score(x[8:], y[8:]) == 1
        assert [c.features for c in classifier.choice_.candidates] == ["normalised" if noise == "auto" else "latents"]


def test_pictures_are_classified(model, task):
    x, y = task
    classifier = FewShotClassifier(model, augment=3).fit(x[::2], y[::2])
    assert classifier.classes_.tolist() == ["dark", "light"]
    assert classifier.score(x[1::2], y[1::2]) == 1
    np.testing.assert_allclose(classifier.predict_proba(x).sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(np.log(classifier.predict_proba(x)), classifier.predict_log_proba(x), atol=1e-6)
    assert classifier.decision_function(x).shape == (12,)
    assert "% correct" in str(classifier.choice_)
    again = FewShotClassifier(model, augment=3, query_copies=4).fit(x[::2], y[::2])
    assert again.score(x[1::2], y[1::2]) == 1


def test_one_by_one_is_all_at_once_with_new_classes(model, task):
    x, y = task
    parts = FewShotClassifier(model)
    for i in (0, 6, 1, 7, 2, 8):
        parts.partial_fit(x[i : i + 1], y[i : i + 1])
    whole = FewShotClassifier(model).fit(x[[0, 6, 1, 7, 2, 8]], [y[i] for i in (0, 6, 1, 7, 2, 8)])
    same(parts, whole, x)


def test_forgetting_is_never_having_added(model, task):
    x, y = task
    classifier = FewShotClassifier(model, augment=2).fit(x, y).forget(x[3:6], y[3:6])
    rest = [0, 1, 2, *range(6, 12)]
    same(classifier, FewShotClassifier(model, augment=2).fit(x[rest], [y[i] for i in rest]), x)
    before = classifier.predict_proba(x)
    with pytest.raises(ValueError, match="are not"):
        classifier.forget(x[3:4], y[3:4])
    with pytest.raises(ValueError, match="are not"):
        classifier.forget(x[:1], ["dark"])
    np.testing.assert_array_equal(classifier.predict_proba(x), before)
    classifier.forget(x[:3], y[:3])
    assert classifier.classes_.tolist() == ["dark"]
    assert set(classifier.predict(x)) == {"dark"}
    with pytest.raises(ValueError, match="at least one example"):
        classifier.forget(x[6:], y[6:])


def test_outliers_are_rejected():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 10)) + np.repeat([[0], [5]], 30, 0)
    y = np.repeat(["a", "b"], 30)
    classifier = FewShotClassifier().fit(x, y)
    labels = classifier.predict_or_reject(np.concatenate([x, 40 + x[:3]]), 0.01)
    assert labels.dtype == object
    assert labels[-3:].tolist() == [None] * 3
    assert sum(label is None for label in labels[:60]) <= 3
    kept = [i for i in range(60) if labels[i] is not None]
    assert labels[kept].tolist() == classifier.predict(x[kept]).tolist()
    assert (classifier.p_values(x[:5]) > 0.01).all()
    for rate in (0, 1, 2):
        with pytest.raises(ValueError, match="between 0 and 1"):
            classifier.predict_or_reject(x, rate)
    with pytest.raises(ValueError, match="two or more of each class"):
        FewShotClassifier().fit(x[[0, 30]], ["a", "b"]).predict_or_reject(x)


def test_the_share_to_reject_is_a_share_of_good_inputs():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 6)) + np.repeat([[0], [6]], 1000, 0)
    y = np.repeat(["a", "b"], 1000)
    classifier = FewShotClassifier(noise="pooled").fit(x[::10], y[::10])
    for rate in (0.02, 0.2):
        rejected = np.mean([label is None for label in classifier.predict_or_reject(x, rate)])
        assert rejected == pytest.approx(rate, rel=0.6)


def test_predict_has_one_type_and_its_old_argument_warns(model, task):
    x, y = task
    classifier = FewShotClassifier(model).fit(x, y)
    assert classifier.predict(x).dtype == classifier.classes_.dtype
    with pytest.warns(DeprecationWarning, match="predict_or_reject"):
        old = classifier.predict(x, reject=0.2)
    assert old.tolist() == classifier.predict_or_reject(x, 0.2).tolist()


def test_probabilities_and_p_values_of_one_pass(model, task):
    x, y = task
    classifier = FewShotClassifier(model).fit(x, y)
    probabilities, p = classifier.predict_proba_and_p_values(x)
    np.testing.assert_array_equal(probabilities, classifier.predict_proba(x))
    np.testing.assert_array_equal(p, classifier.p_values(x))
    with pytest.warns(DeprecationWarning, match="predict_proba_and_p_values"):
        old = classifier.probabilities_and_p_values(x)
    assert isinstance(old[0], torch.Tensor)
    np.testing.assert_array_equal(old[0].numpy(), probabilities)
    np.testing.assert_array_equal(old[1].numpy(), p)
    assert FewShotClassifier(model).fit(x[[0, 6]], ["light", "dark"]).predict_proba_and_p_values(x)[1] is None


def test_classes_of_different_sizes_down_to_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(31, 4)) + np.array([[0.0]] * 30 + [[6.0]])
    y = ["many"] * 30 + ["one"]
    classifier = FewShotClassifier().fit(x, y)
    assert classifier.predict([[6.0] * 4, [0.0] * 4]).tolist() == ["one", "many"]


def test_a_users_own_augmentation(model, task):
    x, y = task
    flipped = FewShotClassifier(model, augment=lambda p: torch.stack([p, p.flip(3)], 1)).fit(x, y)
    assert flipped.score(x, y) == 1
    with pytest.raises(ValueError, match="got a function"):
        flipped.save("c.safetensors")
    with pytest.raises(ValueError, match="Expected augment to return"):
        FewShotClassifier(model, augment=lambda p: p).fit(x, y)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["a"] * 3, "one label for each"),
        ([1.0, np.nan] * 6, "NaN"),
        (["a", None] * 6, "NaN or None"),
        (None, "Expected labels"),
    ],
)
def test_bad_labels_are_refused(model, task, labels, words):
    with pytest.raises(ValueError, match=words):
        FewShotClassifier(model).fit(task[0], labels)


def test_bad_parameters_are_refused(model, task):
    x, y = task
    with pytest.raises(ValueError, match="Expected as noise"):
        FewShotClassifier(model, noise="typical").fit(x, y)
    with pytest.raises(ValueError, match="query_copies"):
        FewShotClassifier(model, query_copies=0).fit(x, y)
    with pytest.raises(FileNotFoundError):
        FewShotClassifier("no-such-model").fit(x, y)
    with pytest.raises(TypeError, match="encode, decode and prior"):
        FewShotClassifier(3).fit(x, y)
    with pytest.raises(TypeError, match="uint8"):
        FewShotClassifier(model).fit(x.float(), y)
    with pytest.raises(ValueError, match="call fit first"):
        FewShotClassifier(model).predict(x)


def test_pictures_of_other_sizes_are_preprocessed(model, task):
    x, y = task
    classifier = FewShotClassifier(model).fit(x, y)
    large = [Image.fromarray(p.permute(1, 2, 0).numpy()).resize((50, 40)) for p in x]
    assert (classifier.predict(large) == np.array(y)).mean() > 0.8


def test_one_class_is_all_there_is(model, task):
    x, y = task
    one = FewShotClassifier(model).fit(x[:6], y[:6])
    assert one.predict(x).tolist() == ["light"] * 12
    np.testing.assert_array_equal(one.predict_proba(x), 1)
    assert one.predict_or_reject(x[6:], 0.01).tolist() == [None] * 6


def test_each_noise_has_its_features(model, task):
    x, y = task
    for noise, names in (
        ("0.5m", ["latents"]),
        ("shared", ["features"]),
        ("auto", ["normalised", "features"]),
        ("pooled", ["latents"]),
    ):
        chosen = FewShotClassifier(model, noise=noise).fit(x, y).choice_
        assert [c.features for c in chosen.candidates] == names
    paper = FewShotClassifier(model, noise="0.5m").fit(x, y)
    z = model.encode(x)
    expected = []
    for name in ("dark", "light"):
        evidence = Evidence.of(z[[label == name for label in y]])
        lam = 0.5 * evidence.count
        expected.append(model.prior.condition(evidence, lam).predictive(lam).log_prob(z))
    predicted = np.array(["dark", "light"])[torch.stack(expected, 1).argmax(1).numpy()]
    assert paper.predict(x).tolist() == predicted.tolist()


def test_one_pass_for_both_sets_equals_two(model, task):
    class TwoPasses:
        def __getattr__(self, name):
            if name == "encode_and_features":
                raise AttributeError(name)
            return getattr(model.source, name)

    x, y = task
    for copies in (False, 3):
        once, twice = (FewShotClassifier(m, augment=copies).fit(x, y) for m in (model, Model(TwoPasses())))
        same(once, twice, x)


def test_p_values_are_those_of_the_query_without_its_copies(model, task):
    x, y = task
    one, several = (FewShotClassifier(model, query_copies=k).fit(x, y) for k in (1, 3))
    np.testing.assert_allclose(several.p_values(x), one.p_values(x), atol=1e-6)
    assert not np.allclose(several.predict_proba(x), one.predict_proba(x), atol=1e-6)


def test_features_alone_are_augmented_where_the_model_has_them(model, task):
    x, y = task
    for noise, copies in (
        ("auto", {"normalised": 1, "features": 3}),
        ("shared", {"features": 3}),
        (3.0, {"latents": 3}),
    ):
        sets = FewShotClassifier(model, noise=noise, augment=3).fit(x, y).evidence_.feature_sets
        assert {name: found.copies for name, found in sets.items()} == copies


def test_the_decision_of_two_classes_is_positive_for_the_second(model, task):
    x, y = task
    classifier = FewShotClassifier(model).fit(x, y)
    assert ((classifier.decision_function(x) > 0) == (classifier.predict(x) == classifier.classes_[1])).all()


WRONG = {
    "text beside numbers": lambda c, x: c.partial_fit(x[:1], ["a"]),
    "another length": lambda c, x: c.partial_fit(x[:1, :2], [1]),
    "fractions": lambda c, x: c.partial_fit(x[:1], [0.5]),
    "fit with fewer labels": lambda c, x: c.fit(x[:, :2], [1]),
    "fit with NaN": lambda c, x: c.fit(x[:, :2] * np.nan, [0] * 8),
    "fit with another noise": lambda c, x: c.set_params(noise="loud").fit(x, [0] * 8),
    "forget all": lambda c, x: c.forget(x, [0, 1] * 4),
    "forget what was never there": lambda c, x: c.forget(x + 1, [0, 1] * 4),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_method_that_fails_leaves_the_estimator_as_it_was(case):
    x = np.random.default_rng(0).normal(size=(8, 3))
    classifier = FewShotClassifier().fit(x, [0, 1] * 4)
    before = classifier.predict_proba(x)
    with pytest.raises(ValueError, match=r"Expected|expecting|NaN|[Uu]nknown"):
        WRONG[case](classifier, x)
    classifier.set_params(noise="auto")
    assert (classifier.predict_proba(x) == before).all()
    assert classifier.n_features_in_ == 3
    assert classifier.partial_fit(x[:1], [2]).classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["2026-01-01", "2026-01-02"], dtype="M8[D]"),
        np.array([1, 2], dtype="m8[s]"),
        np.array([b"a", b"b"]),
        np.array([1, "a"], dtype=object),
        np.array([1.0, np.nan]),
        np.array([None, "a"], dtype=object),
        np.array([(1,), (2,)], dtype="i4,")[:, None][:, 0],
    ],
)
def test_labels_of_a_kind_that_cannot_be_kept_are_refused_in_fit(labels):
    with pytest.raises(ValueError, match="Expected"):
        FewShotClassifier().fit(np.eye(2), labels)


@pytest.mark.parametrize("noise", ["auto", "pooled", "shared", "student", "0.5m"])
def test_numbers_of_another_precision_than_the_evidences_are_taken(noise):
    x, y = np.random.default_rng(0).normal(size=(12, 3)), [0, 1] * 6
    classifier = FewShotClassifier(noise=noise).fit(x.astype(np.float32), y)
    expected = classifier.predict_proba(x.astype(np.float32))
    for other in (x, x.tolist(), x.astype(np.float32).astype(np.float64)):
        assert classifier.predict_proba(other) == pytest.approx(expected, abs=1e-4)
    classifier.predict(np.ones((2, 3), dtype=np.int64))
    assert classifier.partial_fit(x[:1], [0]).predict(x).shape == (12,)


@pytest.mark.parametrize("method", ["predict", "predict_proba_and_p_values", "partial_fit", "forget", "save"])
@pytest.mark.parametrize("fitted", ["on vectors", "with a model"])
def test_another_model_after_the_fit_is_refused(fitted, method, model, pixels, tmp_path):
    """Latents are not vectors, nor another model's latents, though they may be as many numbers."""
    vectors, labels = model.encode(pixels).numpy(), np.arange(12) % 2
    ours, other, x = (None, model, vectors) if fitted == "on vectors" else (model, None, pixels)
    few = FewShotClassifier(ours, noise="0.5m").fit(x, labels)
    few.set_params(model=other)
    given = {
        "save": (tmp_path / "c.safetensors",),
        "partial_fit": (pixels if other is not None else vectors, labels),
        "forget": (pixels if other is not None else vectors, labels),
    }.get(method, (pixels if other is not None else vectors,))
    with pytest.raises(ValueError, match=r"Expected the model that it was fitted with.*Fit it again"):
        getattr(few, method)(*given)
    few.set_params(model=ours)
    assert few.predict(x).shape == (12,)
    few.set_params(model=other).fit(*((pixels if other is not None else vectors), labels))
    few.set_params(model=Model(model.source, "renamed") if other is not None else None)  # the same weights
    assert few.predict(pixels if other is not None else vectors).shape == (12,)


@pytest.mark.parametrize("method", ["partial_fit", "forget", "save"])
def test_evidence_gathered_by_other_parameters_is_neither_joined_nor_parted_nor_written(method, tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 3))
    few = FewShotClassifier().fit(x, [0, 1] * 4)
    before = few.predict_proba(x)
    arguments = {"partial_fit": (x, [0, 1] * 4), "forget": (x[:1], [0]), "save": (tmp_path / "few.safetensors",)}
    few.set_params(noise="pooled")
    with pytest.raises(ValueError, match=r"the parameters it was fitted with, noise='auto', .*; got noise='pooled'"):
        getattr(few, method)(*arguments[method])
    few.set_params(noise="auto")
    assert (few.predict_proba(x) == before).all()
    getattr(few, method)(*arguments[method])
