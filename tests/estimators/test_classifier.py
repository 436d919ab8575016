"""The estimator: scikit-learn's own checks, pictures through a model, files, bad input."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from transflow import Evidence, FewShotClassifier, Model, load, metrics
from transflow.cli import main
from transflow.conditioning.typicality import compare
from transflow.estimators import folders as evaluation
from transflow.pictures import augment
from transflow.pictures import grids as figures


def test_scikit_learns_own_checks():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checks.check_estimator(FewShotClassifier())


def test_it_works_without_scikit_learn():
    code = """
import sys
sys.modules["sklearn"] = None
import numpy as np
from transflow import FewShotClassifier
x = np.array([[0.0, 0.0], [0.1, 0.2], [3.0, 3.0], [3.2, 2.9]])
c = FewShotClassifier(noise="pooled").fit(x, ["a", "a", "b", "b"])
assert c.predict(x).tolist() == ["a", "a", "b", "b"] and c.score(x, ["a", "a", "b", "b"]) == 1
assert c.get_params()["noise"] == "pooled" and "pooled" in repr(c)
try:
    c.predict(x[:, :1])
except ValueError as error:
    assert "Expected vectors of D = 2" in str(error)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def task(pixels):
    """Two classes of pictures, dark and light: uint8 (12, 3, 16, 16), and their names."""
    light = (pixels.float() * 0.4 + 150).to(torch.uint8)
    dark = (pixels.float() * 0.4).to(torch.uint8)
    return torch.cat([light[:6], dark[6:]]), ["light"] * 6 + ["dark"] * 6


def same(a, b, x):
    np.testing.assert_allclose(a.predict_proba(x), b.predict_proba(x), atol=1e-4)


def test_pictures_are_told(model, task):
    x, y = task
    classifier = FewShotClassifier(model, augment=3).fit(x[::2], y[::2])
    assert classifier.classes_.tolist() == ["dark", "light"]
    assert classifier.score(x[1::2], y[1::2]) == 1
    np.testing.assert_allclose(classifier.predict_proba(x).sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(np.log(classifier.predict_proba(x)), classifier.predict_log_proba(x), atol=1e-6)
    assert classifier.decision_function(x).shape == (12,)
    assert "told rightly" in str(classifier.choice_)
    again = FewShotClassifier(model, augment=3, query_copies=4).fit(x[::2], y[::2])
    assert again.score(x[1::2], y[1::2]) == 1


def test_one_by_one_is_all_at_once_with_new_classes(model, task):
    x, y = task
    parts = FewShotClassifier(model)
    for i in (0, 6, 1, 7, 2, 8):
        parts.partial_fit(x[i : i + 1], y[i : i + 1])
    whole = FewShotClassifier(model).fit(x[[0, 6, 1, 7, 2, 8]], [y[i] for i in (0, 6, 1, 7, 2, 8)])
    same(parts, whole, x)


def test_forgetting_is_never_having_seen(model, task):
    x, y = task
    classifier = FewShotClassifier(model, augment=2).fit(x, y).forget(x[3:6], y[3:6])
    rest = [0, 1, 2, *range(6, 12)]
    same(classifier, FewShotClassifier(model, augment=2).fit(x[rest], [y[i] for i in rest]), x)
    before = classifier.predict_proba(x)
    with pytest.raises(ValueError, match="never were"):
        classifier.forget(x[3:4], y[3:4])
    with pytest.raises(ValueError, match="never were"):
        classifier.forget(x[:1], ["dark"])
    np.testing.assert_array_equal(classifier.predict_proba(x), before)
    classifier.forget(x[:3], y[:3])
    assert classifier.classes_.tolist() == ["dark"]
    assert set(classifier.predict(x)) == {"dark"}
    with pytest.raises(ValueError, match="at least one example"):
        classifier.forget(x[6:], y[6:])


@pytest.mark.parametrize("names", [["light", "dark"], [3, 1], [2.0, 1.0], [True, False]])
def test_what_is_saved_comes_back(model, model_file, task, tmp_path, names):
    x, y = task
    y = [names[0] if name == "light" else names[1] for name in y]
    classifier = FewShotClassifier(model, augment=2).fit(x, y)
    classifier.save(tmp_path / "c.safetensors")
    for again in (
        FewShotClassifier.load(tmp_path / "c.safetensors"),
        FewShotClassifier.load(tmp_path / "c.safetensors", model),
    ):
        same(again, classifier, x)
        assert again.classes_.tolist() == classifier.classes_.tolist()
        assert again.choice_ == classifier.choice_
        same(again.forget(x[:1], y[:1]), FewShotClassifier(model, augment=2).fit(x[1:], y[1:]), x)


def test_vectors_are_saved_too(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3)) + np.repeat([[0], [4]], 10, 0)
    y = np.repeat(["a", "b"], 10)
    classifier = FewShotClassifier().fit(x, y)
    classifier.save(tmp_path / "c.safetensors")
    same(FewShotClassifier.load(tmp_path / "c.safetensors"), classifier, x)


def test_a_strange_input_is_refused():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 10)) + np.repeat([[0], [5]], 30, 0)
    y = np.repeat(["a", "b"], 30)
    classifier = FewShotClassifier().fit(x, y)
    told = classifier.predict(np.concatenate([x, 40 + x[:3]]), reject=0.01)
    assert told[-3:].tolist() == [None] * 3
    assert sum(t is None for t in told[:60]) <= 3
    assert (classifier.p_values(x[:5]) > 0.01).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        classifier.predict(x, reject=2)
    with pytest.raises(ValueError, match="two or more of each class"):
        FewShotClassifier().fit(x[[0, 30]], ["a", "b"]).predict(x, reject=0.01)


def test_classes_of_different_sizes_down_to_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(31, 4)) + np.array([[0.0]] * 30 + [[6.0]])
    y = ["many"] * 30 + ["one"]
    classifier = FewShotClassifier().fit(x, y)
    assert classifier.predict([[6.0] * 4, [0.0] * 4]).tolist() == ["one", "many"]


def test_encodings_are_kept_on_disk(model, task, tmp_path, monkeypatch):
    x, y = task
    first = FewShotClassifier(model, cache=tmp_path / "kept").fit(x, y)
    expected = first.predict_proba(x)
    assert len(list((tmp_path / "kept").iterdir())) >= 2
    monkeypatch.setattr(type(model.source), "encode", None)
    monkeypatch.setattr(type(model.source), "features", None)
    second = FewShotClassifier(model, cache=tmp_path / "kept").fit(x, y)
    np.testing.assert_array_equal(second.predict_proba(x), expected)


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
def test_bad_labels_are_told(model, task, labels, words):
    with pytest.raises(ValueError, match=words):
        FewShotClassifier(model).fit(task[0], labels)


def test_bad_parameters_are_told(model, task):
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


def test_pictures_of_other_sizes_are_fitted(model, task):
    x, y = task
    classifier = FewShotClassifier(model).fit(x, y)
    large = [Image.fromarray(p.permute(1, 2, 0).numpy()).resize((50, 40)) for p in x]
    assert (classifier.predict(large) == np.array(y)).mean() > 0.8


def test_copies_are_small_affine_maps_the_same_for_every_picture():
    x = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    copies = augment.affine(x, 5)
    assert torch.equal(copies[:, 0], x)
    torch.testing.assert_close(augment.affine(x[1:2], 5)[0], copies[1])
    assert torch.equal(augment.affine(x, 5, strength=0.0), x[:, None].expand(-1, 5, -1, -1, -1))
    flat = torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)
    assert (augment.affine(flat, 6) == 77).all()
    determinants = torch.linalg.det(augment.maps(50)[:, :, :2])
    assert ((determinants > 0.6) & (determinants < 1.6)).all()


def test_calibration_error_and_p_values():
    p = torch.tensor([[0.9, 0.1]] * 10)
    assert metrics.calibration_error(p, torch.zeros(10, dtype=torch.long)) == pytest.approx(0.1)
    reference = torch.arange(99.0)
    assert metrics.p_values(torch.tensor([-1.0, 49.0, 1000.0]), reference).tolist() == pytest.approx([0.01, 0.51, 1.0])
    two = metrics.p_values(torch.tensor([-1.0, 49.0, 1000.0]), reference, two_sided=True)
    assert two.tolist() == pytest.approx([0.01, 1.0, 0.01])
    uniform = metrics.p_values(torch.randn(4000), torch.randn(4000))
    assert (uniform < 0.1).double().mean().item() == pytest.approx(0.1, abs=0.03)


@pytest.fixture
def folders(task, tmp_path):
    x, y = task
    for i, (p, name) in enumerate(zip(x, y, strict=True)):
        path = tmp_path / ("support" if i % 2 else "query") / name
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(p.permute(1, 2, 0).numpy()).save(path / f"{i:02d}.png")
    return tmp_path


def test_folders_on_the_command_line(folders, model_file, capsys, monkeypatch):
    monkeypatch.chdir(folders)
    words = ["classify", "support", "query", "-m", str(model_file), "-o", "p.csv", "--confusion", "c.png"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "transflow " in told
    assert "nearest neighbour in pixels" in told
    lines = (folders / "p.csv").read_text().splitlines()
    assert lines[0] == "picture,class,rejected,p_value,truth,p(dark),p(light)"
    assert len(lines) == 7
    counts = torch.zeros(2, 2, dtype=torch.long)
    for line in lines[1:]:
        _, told_class, _, _, true, *_ = line.split(",")
        counts[int(true == "light"), int(told_class == "light")] += 1
    assert counts.sum() == 6
    assert np.array_equal(np.asarray(Image.open("c.png")), np.asarray(figures.confusion(counts, ("dark", "light"))))
    (folders / "query" / "dark").rename(folders / "query" / "other")
    assert main([*words[:-2], "--no-augment"]) == 0
    assert "nearest" not in capsys.readouterr().out
    assert main(["classify", "query/light", "query", "-m", str(model_file), "-o", "p.csv"]) == 2
    assert "sub-folders, one a class" in capsys.readouterr().err


def test_a_folder_is_evidence_by_itself(folders, model):
    classifier = FewShotClassifier(model).fit(folders / "support")
    assert classifier.classes_.tolist() == ["dark", "light"]
    found = evaluation.classify(model, str(folders / "support"), str(folders / "query"), augment=False)
    assert found.accuracies["transflow"] == 1
    assert found.confusion().tolist() == [[3, 0], [0, 3]]


def test_a_score_is_compared_with_reference_pictures(folders, model_file, model, capsys):
    assert main(["score", str(folders / "query"), "-m", str(model_file), "--reference", str(folders / "support")]) == 0
    assert "p typical" in capsys.readouterr().out
    found = compare(model, folders / "support", folders / "support")
    assert (found.by_likelihood > 0).all()
    assert (found.by_typicality <= 1).all()


def test_one_class_is_all_there_is(model, task):
    x, y = task
    one = FewShotClassifier(model).fit(x[:6], y[:6])
    assert one.predict(x).tolist() == ["light"] * 12
    np.testing.assert_array_equal(one.predict_proba(x), 1)
    told = one.predict(x[6:], reject=0.01)
    assert told.tolist() == [None] * 6


def test_only_what_was_asked_for_is_used(model, task):
    x, y = task
    for noise, views in (("0.5m", ["latents"]), ("shared", ["activations"]), ("auto", ["directions", "activations"])):
        chosen = FewShotClassifier(model, noise=noise).fit(x, y).choice_
        assert [c.view for c in chosen.candidates] == views
    paper = FewShotClassifier(model, noise="0.5m").fit(x, y)
    z = model.encode(x)
    expected = []
    for name in ("dark", "light"):
        evidence = Evidence.of(z[[label == name for label in y]])
        lam = 0.5 * evidence.count
        expected.append(model.prior.condition(evidence, lam).predictive(lam).log_prob(z))
    told = np.array(["dark", "light"])[torch.stack(expected, 1).argmax(1).numpy()]
    assert paper.predict(x).tolist() == told.tolist()


def test_a_saved_classifier_keeps_its_precision(model_file, task, tmp_path):
    x, y = task
    half = load(model_file, dtype=torch.bfloat16)
    FewShotClassifier(half).fit(x, y).save(tmp_path / "c.safetensors")
    again = FewShotClassifier.load(tmp_path / "c.safetensors")
    assert again.model.precision == "bfloat16"
    same(again, FewShotClassifier(half).fit(x, y), x)


def test_one_pass_for_both_views_tells_what_two_do(model, task):
    class TwoPasses:
        def __getattr__(self, name):
            if name == "encode_and_features":
                raise AttributeError(name)
            return getattr(model.source, name)

    x, y = task
    for copies in (False, 3):
        once, twice = (FewShotClassifier(m, augment=copies).fit(x, y) for m in (model, Model(TwoPasses())))
        same(once, twice, x)
