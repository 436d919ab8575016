"""A pyramid put together: each part computes what it computes alone, one file and one card hold all."""

import pytest
import torch

from helpers import shaken
from parts import BASE, base, level
from transflow import Glow, GlowConfig, load
from transflow.generative.families import FAMILIES
from transflow.generative.flow_matching import FlowMatchingConfig
from transflow.generative.flow_plus_plus import FlowPlusPlusConfig
from transflow.generative.model_file import save_model
from transflow.generative.nice import NICEConfig
from transflow.generative.picture_model import PictureModel
from transflow.generative.pyramid import BASES, haar_split
from transflow.generative.real_nvp import RealNVPConfig
from transflow.generative.stack import stack
from transflow.generative.tarflow import TarFlowConfig
from transflow.pictures.pixels import PixelFormat

SHAPE = (3, 8, 8)
FLOWS = {
    "glow": GlowConfig(size=8, steps=(2, 2), width=(8, 8)),
    "flow-matching": FlowMatchingConfig(SHAPE, **BASE),
    "real-nvp": RealNVPConfig(SHAPE, width=(8, 8), steps=1, depth=1),
    "tarflow": TarFlowConfig(SHAPE, patch=2, width=16, head=8, blocks=2, layers=1),
    "flow++": FlowPlusPlusConfig(SHAPE, steps=(1, 1, 1), width=8, depth=1, components=2, dequantiser=0),
    "nice": NICEConfig(SHAPE, width=16, depth=1),
}


def small(family):
    """A base whose weights are off where they start, and whose first pictures were smooth ones."""
    found = FAMILIES[family]
    flow = shaken(lambda: found.build(FLOWS[family]), by=0.02)
    if found.initialise is not None:
        found.initialise(flow, pictures(8, 32))
    return PictureModel(flow.requires_grad_(False).eval(), PixelFormat(8))


def pictures(size=32, count=2):
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5
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


@pytest.mark.parametrize("family", FLOWS)
def test_a_pyramid_stands_on_any_base_and_brings_pictures_back(family, tmp_path):
    """Smooth ones, noise, black, white, and a board of both, through the file too."""
    whole = stack(small(family), [level(16)])
    assert whole.flow.config.family == family
    assert (whole.shape, whole.dim, whole.bits) == ((3, 16, 16), 768, 8)
    board = torch.zeros(3, 16, 16, dtype=torch.uint8)
    board[:, ::2, ::2] = board[:, 1::2, 1::2] = 255
    drawn = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    smooth = ((pictures(16) + 0.5) * 255).round().to(torch.uint8)
    shown = torch.cat([smooth, drawn, board[None], torch.zeros_like(drawn[:1]), torch.full_like(drawn[:1], 255)])
    z = whole.encode(shown)
    assert z.shape == (len(shown), 768)
    assert z.std(0).min() > 1e-3
    torch.testing.assert_close(whole.decode(z), whole.pixels.unit(whole.pixels.centre(shown)), rtol=0, atol=1e-4)
    save_model(tmp_path / "whole.safetensors", whole, half=False)
    again = load(tmp_path / "whole.safetensors")
    assert again.fingerprint == whole.fingerprint
    torch.testing.assert_close(again.encode_pixels(shown), z, rtol=1e-3, atol=1e-3, check_dtype=False)


def test_every_family_of_bases_is_tried():
    assert FLOWS.keys() == BASES.keys()


def test_a_pyramid_has_the_bits_of_its_finest_level():
    glow = PictureModel(shaken(lambda: Glow(FLOWS["glow"])).requires_grad_(False), PixelFormat(5))
    assert stack(glow, [level(16)]).bits == 8


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
