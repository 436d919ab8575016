"""Every batch is computed at its full size but that of a set of one batch, however pictures come."""

import pytest
import torch
from PIL import Image

from transflow import Gaussian, Model
from transflow.latents import folder as folder_of
from transflow.latents.encoded import encode_batch, filled
from transflow.pictures.decode import PictureBatch

SIZE = 64


def batch_of(count):
    return PictureBatch((), torch.zeros(count, 1, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("counts", "alone", "rows"),
    [
        ([], True, []),
        ([3], True, [3]),
        ([64], True, [64]),
        ([3], False, [64]),
        ([64, 1], True, [64, 64]),
        ([5, 64, 7], True, [64, 64, 64]),
        ([64, 64, 3], False, [64, 64, 64]),
    ],
)
def test_only_the_batch_of_a_set_that_is_one_is_not_filled(counts, alone, rows):
    assert [n for _, n in filled(map(batch_of, counts), SIZE, alone=alone)] == rows


class Recording:
    """Pixels as latents and as their variance, with a note of how many came at a time."""

    prior = Gaussian.standard(4)
    shape = (1, 2, 2)
    fingerprint = "f" * 64

    def __init__(self):
        self.rows = []

    def encode(self, pictures):
        self.rows.append(len(pictures))
        return pictures.flatten(1) / 255

    def encode_variance(self, pictures):
        self.rows.append(len(pictures))
        return 1 + pictures.flatten(1) / 255

    def decode(self, latents):
        return latents.view(-1, 1, 2, 2).clamp(0, 1)


@pytest.fixture
def model():
    return Model(Recording())


@pytest.fixture
def paths(tmp_path):
    found = []
    for i in range(70):
        found.append(tmp_path / f"{i:02d}.png")
        Image.new("L", (2, 2), i).save(found[-1])
    return found


def test_a_filled_batch_gives_what_its_pictures_have(model):
    pixels = torch.arange(12, dtype=torch.uint8).view(3, 1, 2, 2)
    some = encode_batch(model, PictureBatch(("a", "b", "c"), pixels), SIZE)
    assert model.source.rows == [SIZE, SIZE]
    assert torch.equal(some.latents, pixels.flatten(1) / 255)
    assert torch.equal(some.variance, 1 + pixels.flatten(1) / 255)
    assert len(some.digests) == len(set(some.digests)) == 3


def test_pictures_beside_a_folder_of_latents_are_not_the_whole_set(model, paths, tmp_path):
    kept = model.latents(paths[3:], tmp_path / "kept")
    for parts in ([kept, *paths[:3]], [*paths[:2], kept, paths[2]]):
        model.source.rows.clear()
        assert len(model.encode(parts)) == 70
        assert set(model.source.rows) == {SIZE}
    model.source.rows.clear()
    model.encode(paths[:3])
    assert set(model.source.rows) == {3}


def test_shards_of_several_are_filled_and_keep_variances(model, paths, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_of, "SHARD_BYTES", 1)
    model.source.rows.clear()
    kept = model.latents(paths, tmp_path / "kept")
    assert set(model.source.rows[1:]) == {SIZE}  # the first is an example, for the dtype
    parts = list(kept.parts(model))
    assert [len(part) for part in parts] == [64, 6]
    assert torch.equal(torch.cat([part.variance for part in parts]), 1 + model.encode(paths))
    posterior, again = model.condition(paths, 1.0), model.condition(kept, 1.0)
    torch.testing.assert_close(again.variance, posterior.variance)
