"""The map of a latent of two numbers: quantiles in their order, corners in theirs, and pixels that fade."""

import io

import pytest
import torch
from PIL import Image

from transflow import Gaussian, Model
from transflow.showcase.latent_map import between, corners, corners_beside_pixels, latent_map, plane, sheet


class Square:
    """Two numbers as the brightness of two pixels: squares, so that half way in latents is not half way in pixels."""

    prior = Gaussian.standard(2)
    shape = (1, 1, 2)

    def encode(self, pictures):
        return (pictures.flatten(1) / 255).sqrt()

    def decode(self, latents):
        return (latents.square() / 9).view(-1, 1, 1, 2).clamp(0, 1)


def test_places_are_equally_probable_and_grow_to_the_right_and_upwards():
    z = plane(5).unflatten(0, (5, 5))
    right, up = z[..., 0], z[..., 1]
    assert (right.diff(dim=1) > 0).all()
    assert (up.diff(dim=0) < 0).all()
    shares = torch.special.ndtr(right[0])
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64))
    torch.testing.assert_close(up[:, 0].flip(0), right[0])
    assert torch.equal(up, up[:, :1].expand(5, 5))


def test_between_four_corners_lie_they_themselves_and_their_means():
    four = torch.tensor([[1.0, 0.0], [3.0, 8.0], [5.0, 2.0], [-1.0, 2.0]])
    found = between(four, 3).unflatten(0, (3, 3))
    for place, corner in zip(((0, 0), (0, 2), (2, 0), (2, 2)), four, strict=True):
        torch.testing.assert_close(found[place], corner)
    torch.testing.assert_close(found[0, 1], (four[0] + four[1]) / 2)
    torch.testing.assert_close(found[1, 0], (four[0] + four[2]) / 2)
    torch.testing.assert_close(found[1, 1], four.mean(0))
    pictures = torch.rand(4, 3, 2, 2)
    assert between(pictures, 4).shape == (16, 3, 2, 2)


def test_both_ways_share_their_corners_alone():
    model = Model(Square(), "square")
    latents, pixels = (found.squeeze().unflatten(0, (3, 3)) for found in corners_beside_pixels(model, 3))
    assert torch.equal(latents[::2, ::2], pixels[::2, ::2])
    assert not latents[1, 1].any()  # between -a and a lies 0
    bright = corners()[1].square().float() / 9
    torch.testing.assert_close(pixels[1, 1], bright)


def test_the_map_is_of_models_of_two_numbers(model):
    found = latent_map(Model(Square(), "square"), 4)
    assert found.shape == (16, 1, 1, 2)
    assert Image.open(io.BytesIO(sheet(found))).size[0] > 8
    with pytest.raises(ValueError, match=r"latent has 2 numbers, with the prior N\(0, I\); got 768"):
        latent_map(model)
