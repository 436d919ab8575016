"""Copies of pictures under small affine maps: the ranges of the maps, and what they do to pixels."""

import math

import pytest
import torch

from transflow.pictures import augment
from transflow.pictures.augment import affine, maps


def test_copies_are_small_affine_maps_the_same_for_every_picture():
    x = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    copies = affine(x, 5)
    assert torch.equal(copies[:, 0], x)
    torch.testing.assert_close(affine(x[1:2], 5)[0], copies[1])
    assert torch.equal(affine(x, 5, strength=0.0), x[:, None].expand(-1, 5, -1, -1, -1))
    flat = torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)
    assert (affine(flat, 6) == 77).all()


def parameters(count):
    """Angle, shear, scale and aspect of maps, from their linear parts R(angle) [[1, shear], [0, 1]] diag(a, b)."""
    linear = maps(count)[1:, :, :2]
    angle = torch.atan2(linear[:, 1, 0], linear[:, 0, 0])
    cos, sin = angle.cos(), angle.sin()
    turned = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1) @ linear
    wide, high = turned[:, 0, 0].log(), turned[:, 1, 1].log()
    return {
        "ANGLE": angle,
        "SHEAR": turned[:, 0, 1] / turned[:, 1, 1],
        "SCALE": (wide + high) / 2,
        "ASPECT": wide - high,
    }


def test_maps_never_change():
    """Evidence of copies can be removed again only if they are the same in every version."""
    expected = [[0.8882034541642486, -0.06990117625288053, -0.07713451622772895],
                [0.045433874895064924, 0.9713002280295314, -0.03573416934673624]]  # fmt: skip
    torch.testing.assert_close(maps(3)[1], torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(maps(5)[:3], maps(3))


def test_each_number_fills_its_own_range():
    found = parameters(2000) | {"SHIFT": maps(2000)[1:, :, 2]}
    assert math.degrees(augment.ANGLE) == pytest.approx(18)
    for name, numbers in found.items():
        most = getattr(augment, name)
        assert 0.98 * most < numbers.max() <= most + 1e-9, name
        assert -0.98 * most > numbers.min() >= -most - 1e-9, name
        assert numbers.mean().abs() < 0.05 * most, name
    half = maps(50, strength=0.5)
    torch.testing.assert_close(half[:, :, 2], maps(50)[:, :, 2] / 2)


def test_a_shift_moves_by_pixels_in_its_own_direction(monkeypatch):
    for name in ("ANGLE", "SCALE", "SHEAR", "ASPECT"):
        monkeypatch.setattr(augment, name, 0.0)
    theta = maps(2)[1, :, 2]
    ramp = torch.arange(0, 250, 10, dtype=torch.uint8).expand(1, 1, 20, 25)
    moved = affine(ramp, 2)[0, 1, 0, 10].float()
    torch.testing.assert_close(moved[5:-5] - ramp[0, 0, 10, 5:-5], torch.full((15,), 125 * theta[0].item()).round())


def test_a_rotation_of_a_wide_picture_is_a_rotation(monkeypatch):
    for name in ("SHIFT", "SCALE", "SHEAR", "ASPECT"):
        monkeypatch.setattr(augment, name, 0.0)
    rows, columns = torch.meshgrid(torch.arange(40.0) - 19.5, torch.arange(80.0) - 39.5, indexing="ij")
    disc = (255 * (rows.square() + columns.square() < 225)).to(torch.uint8)[None, None]
    turned = affine(disc, 8)
    assert parameters(8)["ANGLE"].abs().max() > 0.1
    assert (turned.float() - disc[:, None].float()).abs().mean() < 2  # a disc is the same however it is turned


@pytest.mark.parametrize("shape", [(1, 8, 12), (4, 12, 8)])
def test_copies_have_the_pictures_shape(shape):
    x = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    copies = affine(x, 4)
    assert copies.shape == (2, 4, *shape)
    assert torch.equal(copies[:, 0], x)
    with pytest.raises(ValueError, match="at least one copy"):
        affine(x, 0)
    with pytest.raises(ValueError, match="uint8 pictures"):
        affine(x.float(), 2)
