"""A pyramid put together: each part computes what it computes alone, one file and one card hold all."""

import pytest
import torch

from parts import base, level
from transflow import Glow, GlowConfig, load
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.generative.pyramid import haar_split
from transflow.generative.stack import stack
from transflow.pictures.pixels import PixelFormat


def pictures(size=32):
    coarse = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5
    return 0.6 * torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


def test_each_part_computes_what_it_computes_alone():
    parts = base(), level(16), level(32, seed=1)
    whole, x = stack(parts[0], parts[1:]), pictures()
    assert whole.family == "pyramid"
    assert whole.shape == (3, 32, 32)
    assert whole.bits == 8
    middle, details = haar_split(x)
    small, _ = haar_split(middle)
    with torch.no_grad():
        finest, next_finest, lowest = whole.flow.latents(x).split(whole.level_sizes, 1)
        torch.testing.assert_close(finest, parts[2].flow(x)[0][:, : finest.shape[1]])
        torch.testing.assert_close(next_finest, parts[1].flow(middle)[0][:, : next_finest.shape[1]])
        torch.testing.assert_close(lowest, parts[0].flow.latents(small))
        back = whole.flow.inverse(torch.cat([finest, next_finest, lowest], 1))
    torch.testing.assert_close(back, x, rtol=0, atol=1e-4)
    assert details.shape[1] == 9


def test_the_parts_are_left_alone():
    parts = base(), level(16)
    whole = stack(parts[0], parts[1:])
    with torch.no_grad():
        for parameter in whole.flow.parameters():
            parameter += 1
    for part, again in zip(parts, (base(), level(16)), strict=True):
        assert part.fingerprint == again.fingerprint


def test_a_file_holds_the_whole_and_the_pyramid_below(tmp_path):
    cards = {"data": "blobs", "licence": "CC0", "temperature": 0.9, "held_out_loss": 0.2, "minutes": 3.0}
    cards |= {"held_out_share": 0.1, "seed": 1}
    low = level(16, data="blobs", licence="CC0", bits_per_dim=1.6, minutes=1.0, held_out_share=0.1)
    high = level(32, seed=1, data="large blobs", bits_per_dim=1.2, round_trip=1e-6, held_out_share=0.1)
    whole = stack(base(**cards), [low, high])
    card = whole.card
    assert (card["data"], card["licence"], card["temperature"]) == ("blobs; large blobs", "CC0", 0.9)
    assert card["bits_per_detail"] == 1.2
    assert card["held_out_share"] == 0.1
    assert "seed" not in card  # the levels do not say
    assert card["parameters"] == sum(p.numel() for p in whole.flow.parameters())
    assert card["parts"]["level of 16"] == {"minutes": 1.0, "bits_per_detail": 1.6}
    assert card["parts"]["base of 8"] == {"minutes": 3.0, "held_out_loss": 0.2, "seed": 1}
    path = tmp_path / "whole.safetensors"
    save_model(path, whole, half=False)
    assert load(path).fingerprint == whole.fingerprint
    smaller = load(path, size=16)
    assert smaller.fingerprint == stack(base(), [low]).fingerprint
    assert smaller.card["bits_per_detail"] == 1.6
    assert smaller.card["parameters"] == sum(p.numel() for p in smaller.source.flow.parameters())


def test_any_base_will_do():
    glow = PictureModel(Glow(GlowConfig(size=8, steps=(1,), width=(4,))).requires_grad_(False), PixelFormat(5))
    whole = stack(glow, [level(16)])
    assert whole.flow.config.family == "glow"
    assert whole.bits == 8


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ([base], "Expected a base and at least one level of details; got a base alone"),
        ([level, level], "Expected a base of a family of glow, flow-matching, .*; got details"),
        ([base, base], "Expected levels of the family details above the base; got one of flow-matching"),
        (
            [base, lambda: level(32)],
            "Expected a level of 16 x 16 pixels and 3 channels above the base, whose pictures are "
            "8 x 8 pixels and 3 channels; got one of 32 x 32 pixels and 3 channels.",
        ),
        ([base, level, level], "Expected a level of 32 x 32 pixels and 3 channels above the level below"),
        ([base, lambda: level(channels=1)], "got one of 16 x 16 pixels and 1 channel"),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_one_line(parts, match):
    first, *others = (make() for make in parts)
    with pytest.raises(ValueError, match=match) as caught:
        stack(first, others)
    assert "\n" not in str(caught.value)
