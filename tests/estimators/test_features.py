"""Features of pictures, and encodings that are kept on disk."""

import numpy as np
import pytest
import torch

from transflow import FewShotClassifier
from transflow.estimators.features import encode_features
from transflow.fewshot.examples import normalise
from transflow.pictures.augment import affine


def test_encodings_are_kept_on_disk(model, task, tmp_path, monkeypatch):
    x, y = task
    first = FewShotClassifier(model, cache=tmp_path / "kept").fit(x, y)
    expected = first.predict_proba(x)
    assert len(list((tmp_path / "kept").iterdir())) >= 2
    for name in ("encode", "features", "encode_and_features"):
        monkeypatch.setattr(type(model.source), name, lambda self, pictures: pytest.fail("encoded again"))
    second = FewShotClassifier(model, cache=tmp_path / "kept").fit(x, y)
    np.testing.assert_array_equal(second.predict_proba(x), expected)


def test_sets_of_features_are_what_the_model_gives(model, pixels):
    found = encode_features(model, {"normalised": False, "features": 3}, pixels)
    assert list(found) == ["normalised", "features"]
    torch.testing.assert_close(found["normalised"][:, 0], normalise(model.encode(pixels)))
    copies = affine(pixels, 3)
    for k in range(3):
        torch.testing.assert_close(found["features"][:, k], model.source.features(copies[:, k]))
    both = encode_features(model, {"latents": 1, "features": False}, pixels)
    torch.testing.assert_close(both["latents"][:, 0], model.encode(pixels))
    torch.testing.assert_close(both["features"], found["features"][:, :1])


def test_another_picture_number_of_copies_or_strength_has_another_entry(model, pixels, tmp_path):
    for count, (x, copies, strength) in enumerate(
        [(pixels, 1, 1.0), (pixels[:3], 1, 1.0), (pixels, 2, 1.0), (pixels, 2, 0.5)], 1
    ):
        kept = [encode_features(model, {"latents": copies}, x, strength, tmp_path)["latents"] for _ in range(2)]
        assert torch.equal(*kept)
        assert len(list(tmp_path.iterdir())) == count


def test_a_damaged_entry_is_named(model, pixels, tmp_path):
    encode_features(model, {"latents": 1}, pixels, cache=tmp_path)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=entry.name):
        encode_features(model, {"latents": 1}, pixels, cache=tmp_path)
