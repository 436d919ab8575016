"""Classifiers on disk: what is saved comes back, and damage is named in one line."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from transflow import FewShotClassifier, load
from transflow.estimators import classifier_file


def same(a, b, x):
    np.testing.assert_allclose(a.predict_proba(x), b.predict_proba(x), atol=1e-4)


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


def test_a_saved_classifier_keeps_its_precision(model_file, task, tmp_path):
    x, y = task
    half = load(model_file, dtype=torch.bfloat16)
    FewShotClassifier(half).fit(x, y).save(tmp_path / "c.safetensors")
    again = FewShotClassifier.load(tmp_path / "c.safetensors")
    assert again.model.precision == "bfloat16"
    same(again, FewShotClassifier(half).fit(x, y), x)


@pytest.fixture
def saved(model, task, tmp_path):
    FewShotClassifier(model).fit(*task).save(tmp_path / "c.safetensors")
    return tmp_path / "c.safetensors"


def changed(path, change, tensors=lambda found: found):
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["transflow"])
    header.pop("checksum", None)  # or the damage would be found before it is looked at
    change(header)
    save_file(tensors(load_file(path)), path, {"transflow": json.dumps(header)})
    return path


def refused(path, model, words="classifier"):
    with pytest.raises(ValueError, match=words) as caught:
        FewShotClassifier.load(path, model)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_new_files_have_the_names_of_features(saved):
    with safe_open(saved, "pt") as file:
        header = json.loads(file.metadata()["transflow"])
    assert sorted(header["views"]) == ["features", "normalised"]
    assert classifier_file.SCHEMA.keys.keys() < header.keys()


@pytest.mark.parametrize("key", classifier_file.SCHEMA.keys)
def test_a_missing_key_is_named(saved, model, key):
    refused(changed(saved, lambda header: header.pop(key)), model, key)


@pytest.mark.parametrize("name", ["labels", "features.rows", "normalised.total", "normalised.scatter"])
def test_a_missing_tensor_is_named(saved, model, name):
    def without(tensors):
        return {key: tensor for key, tensor in tensors.items() if key != name}

    refused(changed(saved, lambda header: None, without), model, name.split(".")[0])


def setting(*path, value):
    def change(header):
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        setting("parameters", "augment", value="much"),
        setting("parameters", "query_copies", value=None),
        setting("parameters", value={}),
        setting("parameters", "noise", value="loud"),
        setting("classes", value=["dark"]),
        setting("classes", value=["dark", "dark"]),
        setting("classes", value=[["dark"], ["light"]]),
        setting("dtype", value="<i8"),
        setting("dtype", value="nonsense"),
        setting("keys", value=["k"]),
        setting("keys", 0, value=3),
        setting("views", value={}),
        setting("views", "features", value=[]),
        setting("views", "features", "counts", value=[6]),
        setting("views", "features", "counts", value=[5, 7]),
        setting("views", "features", "counts", value=[6.5, 6]),
        setting("views", "features", "levels", value=[3]),
        setting("views", "normalised", "levels", value="all"),
        setting("views", "normalised", "standard", value=1),
    ],
)
def test_a_damaged_header_is_named(saved, model, change):
    refused(changed(saved, change), model)


@pytest.mark.parametrize("name", ["labels", "features.rows", "features.total", "normalised.scatter"])
@pytest.mark.parametrize(
    "damage", [lambda t: t[:-1], lambda t: t[None], lambda t: t.to(torch.int32), lambda t: t.double() * float("nan")]
)
def test_damaged_tensors_are_named(saved, model, name, damage):
    def change(tensors):
        return tensors | {name: damage(tensors[name]).contiguous()}

    refused(changed(saved, lambda header: None, change), model)


def test_labels_of_unknown_classes_are_damage(saved, model):
    refused(changed(saved, lambda header: None, lambda t: t | {"labels": t["labels"] + 1}), model, "unknown classes")


def test_what_only_a_newer_version_knows(saved, model):
    refused(changed(saved, setting("parameters", "depth", value=3)), model, "newer transflow")
    with safe_open(saved, "pt") as file:
        views = json.loads(file.metadata()["transflow"])["views"]
    changed(saved, lambda header: header["parameters"].pop("depth"))
    refused(changed(saved, setting("views", "gradients", value=views["features"])), model, "newer transflow")


def test_evidence_of_another_size_than_the_models_is_refused(saved, task, tmp_path):
    refused(saved, FewShotClassifier(load("faces-32"))._model(), "Expected the model that")


def test_a_function_cannot_be_saved(model, task, tmp_path):
    classifier = FewShotClassifier(model, augment=lambda p: torch.stack([p, p.flip(3)], 1)).fit(*task)
    with pytest.raises(ValueError, match="got a function"):
        classifier.save(tmp_path / "c.safetensors")
