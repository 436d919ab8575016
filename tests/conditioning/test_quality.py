"""Broken pictures and near-copies are counted, and what is wrong with evidence is said."""

import pytest
import torch

from transflow import Gaussian, Model
from transflow.conditioning.notes import notes
from transflow.conditioning.quality import Quality, broken_ones, decode, near_copies
from transflow.gaussians.kept import Kept
from transflow.gaussians.kinds import two_kinds
from transflow.gaussians.levels import LevelSizes


class Plain:
    """Latents that are pictures."""

    prior = Gaussian.standard(64)
    shape = (1, 8, 8)

    def encode(self, pictures):
        return pictures.flatten(1) / 255

    def decode_unclamped(self, latents):
        return latents.view(-1, 1, 8, 8)

    def decode(self, latents):
        return self.decode_unclamped(latents).clamp(0, 1)


class Silent(Plain):
    """It does not show what is beyond the range."""

    decode_unclamped = None

    def decode(self, latents):
        return latents.view(-1, 1, 8, 8).clamp(0, 1)


def test_a_picture_is_broken_where_enough_of_it_is_far_beyond_the_range():
    values = torch.full((4, 1, 10, 10), 0.5)
    values[1, 0, 0, :3] = 1.2
    values[2, 0, 0, :2] = 1.2
    values[3] = 1.1
    assert broken_ones(values).tolist() == [False, True, False, False]
    values[3, 0, 0, :3] = -0.2
    assert broken_ones(values)[3]


def test_pictures_come_with_what_they_are_like():
    model, z = Model(Plain()), 5 + torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    kept = Kept.of(torch.randn(6, 64, generator=torch.Generator().manual_seed(1)))
    latents = torch.cat([z, kept.rows[:3]])
    pictures, quality = decode(model, latents, kept)
    assert torch.equal(pictures, model.decode(latents))
    assert quality == Quality(1.0, 3 / 8)
    assert str(quality) == "100% broken, 38% near-copies"
    assert decode(model, 0 * z)[1] == Quality(0.0, None)
    assert decode(Model(Silent()), z, kept)[1].broken is None


def test_near_copies_are_those_nearer_than_evidence_is_to_itself():
    evidence = torch.randn(20, 500, generator=torch.Generator().manual_seed(0))
    others = torch.randn(50, 500, generator=torch.Generator().manual_seed(1))
    assert not near_copies(others, evidence).any()
    assert near_copies(evidence + 0.3 * others[:20], evidence).all()
    assert not near_copies(evidence + 0.7 * others[:20], evidence).any()


def test_what_has_the_coarsest_level_of_a_picture_is_a_near_copy():
    evidence = torch.randn(20, 500, generator=torch.Generator().manual_seed(0))
    others, levels = torch.randn(20, 500, generator=torch.Generator().manual_seed(1)), LevelSizes((400, 100))
    varied = torch.cat([others[:, :400], evidence[:, 400:]], 1)
    assert near_copies(varied, evidence, levels).all()
    assert not near_copies(varied, evidence).any()
    assert not near_copies(others, evidence, levels).any()


def test_two_kinds_are_told_from_one():
    generator = torch.Generator().manual_seed(0)
    false = [two_kinds(torch.randn(m, 40, generator=generator) * torch.linspace(3, 1, 40)) for m in [12, 24, 60] * 30]
    assert sum(found is not None for found in false) <= 4
    z = torch.randn(24, 300, generator=generator)
    z[[1, 5, 7, 8, 9, 20, 22]] += 1.5
    found = two_kinds(z)
    assert found.first == (1, 5, 7, 8, 9, 20, 22)
    assert len(found.second) == 17
    gap = z[list(found.first)].mean(0) - z[list(found.second)].mean(0)
    share = 7 * 17 / 24**2 * gap.square().sum() / (z - z.mean(0)).square().mean(0).sum()
    assert found.between == pytest.approx(share.item(), rel=1e-4)
    assert two_kinds(z[:7]) is None
    assert two_kinds(torch.ones(10, 3)) is None


def test_notes_name_pictures(model, pixels):
    assert list(notes(model.condition(pixels, "0.5m"))) == []
    wild = torch.randint(0, 2, (1, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8) * 255
    found = list(notes(model.condition(torch.cat([pixels, wild])), [f"{i}.png" for i in range(13)]))
    assert any("far too long" in note and note.endswith("left out of the drawing: 12.png") for note in found)
    dark = torch.randint(0, 128, (24, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    dark[::2] += 100
    (found,) = notes(Model(Plain()).condition(dark))
    assert "two kinds of pictures seem mixed, 12 and 12" in found
    assert "(number 1, number 3, number 5, number 7, number 9 and 7 more)" in found or "(number 2, number 4" in found
    assert list(notes(model.condition(pixels).remove(pixels))) == []
