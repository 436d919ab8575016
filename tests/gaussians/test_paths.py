"""Ways between latents: their ends exactly, their lengths, and where no arc is."""

import math

import pytest
import torch

from transflow.gaussians.paths import WAYS, corrected, spherical, straight


def ends(dim=4000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, dim, generator=generator), 0.7 * torch.randn(3, dim, generator=generator)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_way_begins_and_ends_exactly_and_goes_both_ways(way):
    a, b = ends()
    assert torch.equal(way(a, b, 0), a)
    assert torch.equal(way(a, b, 1.0), b)
    torch.testing.assert_close(way(a, b, 0.3), way(b, a, 0.7))
    assert way(a, b, 0.5).dtype == torch.float32


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_latent_goes_its_own_way(way):
    a, b = ends()
    torch.testing.assert_close(way(a, b, 0.4)[1:2], way(a[1:2], b[1:2], 0.4))


def test_straight_lines_cut_the_corner_and_the_others_do_not():
    a, b = ends()
    wanted = (a.norm(dim=1) + b.norm(dim=1)) / 2
    assert (straight(a, b, 0.5).norm(dim=1) < 0.8 * wanted).all()
    torch.testing.assert_close(corrected(a, b, 0.5).norm(dim=1), wanted)
    torch.testing.assert_close(spherical(a, b, 0.5).norm(dim=1), wanted, rtol=0.05, atol=0)


def test_on_the_sphere_the_arc_turns_evenly_and_stays():
    a = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    b = torch.tensor([[math.cos(2.0), math.sin(2.0), 0.0]], dtype=torch.float64)
    for share in (0.1, 0.25, 0.9):
        expected = torch.tensor([[math.cos(2 * share), math.sin(2 * share), 0.0]], dtype=torch.float64)
        torch.testing.assert_close(spherical(a, b, share), expected)


def test_the_same_direction_needs_no_arc_and_the_opposite_has_none():
    a = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(spherical(a, a, 0.5), a)
    torch.testing.assert_close(spherical(a, 2 * a, 0.5), 1.5 * a)
    assert torch.isfinite(spherical(a, 0 * a, 0.5)).all()
    assert torch.isfinite(corrected(a, -a, 0.5)).all()
    with pytest.raises(ValueError, match="opposite"):
        spherical(a, -a, 0.5)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_ends_are_of_one_shape(way):
    with pytest.raises(ValueError, match="one shape"):
        way(torch.zeros(2, 3), torch.zeros(1, 3), 0.5)
    with pytest.raises(ValueError, match="one shape"):
        way(torch.zeros(3), torch.zeros(3), 0.5)
