"""What a model is known by: pinned where it has shipped, the same whatever is renamed or added, read from 0.1.0."""

import dataclasses
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from transflow import FewShotClassifier, Latents, load, load_posterior, models
from transflow.store import identity

OLD = Path(__file__).parent.parent / "fixtures" / "0.1.0"
SHIPPED = {  # by this version, and as 0.1.0 had it
    "faces-32": (
        "3a83fda223be7078209c9afb694c8b678160c86a1a02174ef5b5fa7d5fb9ba0e",
        "5040182de992be150f1a7f3e0d614e843efff68d8a04db10af98986f38341d7d",
    ),
    "faces-128": ("335a4c7565ab4f2b7e1a71518e7cb06a227cd7d372eb6bbc2d445179d64bd7c8",),
    "faces-64": ("f88a2afad4373099e6363a4859523901f414704253acc86acf1edd077fc882eb",),
}


@pytest.fixture
def tiny():
    return load(OLD / "tiny.safetensors")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_identity_of_a_bundled_model_never_changes(name):
    model = load(name)
    assert (model.fingerprint, *model.source.former_fingerprints) == SHIPPED[name]


def test_every_bundled_model_is_pinned():
    assert set(models()) == set(SHIPPED)


def test_files_of_0_1_open(tiny):
    posterior = load_posterior(OLD / "posterior.safetensors", tiny)
    assert posterior.evidence.count == 4
    again = tiny.condition(OLD / "pictures", "0.5m")
    torch.testing.assert_close(posterior.gaussian.mean, again.gaussian.mean, rtol=0, atol=1e-5)
    assert posterior.remove(OLD / "pictures").gaussian.is_standard
    classifier = FewShotClassifier.load(OLD / "classifier.safetensors", tiny)
    assert classifier.classes_.tolist() == ["a", "b"]
    pictures = tiny.preprocess(str(OLD / "pictures"))
    expected = FewShotClassifier(tiny).fit(pictures, ["a", "a", "b", "b"]).predict_proba(pictures)
    np.testing.assert_allclose(classifier.predict_proba(pictures), expected, atol=1e-5)


def test_latents_of_0_1_are_used_and_kept(tiny, tmp_path):
    shutil.copytree(OLD / "latents", tmp_path / "latents")
    assert tiny.condition(tmp_path / "latents").evidence.count == 4
    reports = []
    again = tiny.latents(
        sorted((OLD / "pictures").iterdir()), tmp_path / "other", report=lambda n, now: reports.append((n, now))
    )
    assert reports == [(4, True)]
    header = Latents.open(tmp_path / "latents").header
    assert header["fingerprint"] != again.header["fingerprint"] == tiny.fingerprint


def test_what_is_written_again_has_the_new_fingerprint(tiny, tmp_path):
    load_posterior(OLD / "posterior.safetensors", tiny).save(tmp_path / "p.safetensors")
    with safe_open(tmp_path / "p.safetensors", "pt") as file:
        assert json.loads(file.metadata()["transflow"])["fingerprint"] == tiny.fingerprint


@pytest.mark.parametrize("name", ["posterior", "classifier"])
def test_files_of_0_1_refuse_another_model(model, name):
    opens = {"posterior": load_posterior, "classifier": FewShotClassifier.load}[name]
    with pytest.raises(ValueError, match="Expected the model that"):
        opens(OLD / f"{name}.safetensors", model)


def changed(path, **header):
    with safe_open(OLD / "tiny.safetensors", "pt") as file:
        whole = json.loads(file.metadata()["transflow"]) | header
    save_file(load_file(OLD / "tiny.safetensors"), path, {"transflow": json.dumps(whole)})
    return path


@pytest.mark.parametrize(
    "header",
    [
        {"config": {"size": 8, "steps": [1, 1], "width": [4, 4], "attention": True}},
        {"pixels": {"bits": 5, "hdr": True}},
        {"family": "hyperflow"},
    ],
)
def test_what_only_a_newer_version_knows_is_said_so(tmp_path, header):
    with pytest.raises(ValueError, match="made by a newer transflow") as caught:
        load(changed(tmp_path / "new.safetensors", **header))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("header", [{"config": {"size": "8"}}, {"config": [1]}, {"pixel_range": [0.5, -0.5]}])
def test_values_that_do_not_fit_are_damage(tmp_path, header):
    with pytest.raises(ValueError, match=r"damaged|whole"):
        load(changed(tmp_path / "bad.safetensors", **header))


def test_the_pixel_range_of_0_1_is_read(tmp_path):
    other = load(changed(tmp_path / "wide.safetensors", pixel_range=[-1.0, 1.0]))
    assert (other.source.pixels.low, other.source.pixels.high) == (-1.0, 1.0)


@dataclass(frozen=True)
class Inner:
    depth: int = 2


@dataclass(frozen=True)
class Old:
    size: int = 8
    steps: tuple[int, ...] = (1, 2)
    inner: Inner = field(default_factory=Inner)


def grown(old):
    """The same configuration in a version whose class has another name and one more option."""
    new = dataclasses.make_dataclass(
        "Renamed", [("sharp", bool, False), *((f.name, f.type, f) for f in dataclasses.fields(old))], frozen=True
    )
    return new(**{f.name: getattr(old, f.name) for f in dataclasses.fields(old)})


@pytest.mark.parametrize("old", [Old(), Old(size=16), Old(inner=Inner(3), steps=(4,))])
def test_a_new_option_or_another_class_name_changes_nothing(old):
    weights = {"b": torch.ones(2, dtype=torch.float16), "a": torch.zeros(1)}
    known = identity.fingerprint("old", old, weights)
    assert identity.fingerprint("old", grown(old), dict(reversed(weights.items()))) == known
    assert identity.fingerprint("old", old, {k: v.double() for k, v in weights.items()}) == known


def test_whatever_changes_the_map_changes_the_fingerprint():
    weights = {"w": torch.arange(6.0)}
    variants = [
        identity.fingerprint("old", Old(), weights),
        identity.fingerprint("new", Old(), weights),
        identity.fingerprint("old", Old(size=9), weights),
        identity.fingerprint("old", Old(inner=Inner(5)), weights),
        identity.fingerprint("old", Old(), {"w": torch.arange(6.0) + 1e-3}),
        identity.fingerprint("old", Old(), {"v": torch.arange(6.0)}),
        identity.fingerprint("old", Old(), {"w": torch.arange(6.0).view(2, 3)}),
    ]
    assert len(set(variants)) == len(variants)


def test_plain_values_have_one_form():
    mixed = {"b": np.float64(0.5), "a": (np.int32(1), torch.tensor([1.0, 2.0])), "c": np.array([True])}
    assert identity.canonical(mixed) == '{"a":[1,[1.0,2.0]],"b":0.5,"c":[true]}'
    with pytest.raises(ValueError, match="finite"):
        identity.canonical({"a": float("nan")})
    with pytest.raises(TypeError, match="plain"):
        identity.canonical({"a": object()})


def test_options_read_back():
    for config in (Old(), Old(size=3, steps=(9,))):
        found = json.loads(identity.canonical(config))
        assert set(found) == {name for name in ("size", "steps") if config != Old()}
        again = identity.read_options(Old, found | ({"steps": tuple(found["steps"])} if "steps" in found else {}), "f")
        assert again == config
