"""Pixel formats: every way to floats comes back, and the density's change of units is the derivative."""

import pytest
import torch

from transflow.pictures.pixels import PixelFormat

FORMATS = {
    "house": PixelFormat(5),
    "8 bits": PixelFormat(8),
    "symmetric": PixelFormat(8, -1.0, 1.0),
    "ends": PixelFormat(8, -1.0, 1.0, ends=True),
    "ends, unit": PixelFormat(8, 0.0, 1.0, ends=True),
    "logit": PixelFormat(8, logit=0.05),
    "narrow logit": PixelFormat(8, logit=5e-6),
}
ALL = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)


@pytest.mark.parametrize("pixels", FORMATS.values(), ids=FORMATS)
def test_every_value_comes_back(pixels):
    values = ALL >> (8 - pixels.bits)
    unit = pixels.unit(pixels.centre(ALL))
    expected = values / (2**pixels.bits - 1) if pixels.ends else (values + 0.5) / 2**pixels.bits
    torch.testing.assert_close(unit, expected.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pixels", FORMATS.values(), ids=FORMATS)
def test_drawn_floats_lie_in_their_bins(pixels):
    many = ALL.expand(200, -1, -1, -1)
    drawn = pixels.unit_unclamped(pixels.dequantise(many, torch.Generator().manual_seed(0))) * 2**pixels.bits
    inside = drawn - (many >> (8 - pixels.bits))
    assert inside.min() > -1e-2
    assert inside.max() < 1 + 1e-2
    assert inside.mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("pixels", FORMATS.values(), ids=FORMATS)
def test_the_log_determinant_is_the_derivative(pixels):
    u = torch.linspace(0.02, 0.98, 12, dtype=torch.float64).view(3, 1, 2, 2).requires_grad_()
    x = pixels.floats(u)
    (slope,) = torch.autograd.grad(x.sum(), u)
    torch.testing.assert_close(pixels.log_det(x.detach()), slope.log().flatten(1).sum(1))


def test_what_lies_beyond_the_range_shows_unclamped():
    pixels = PixelFormat(8, -1.0, 1.0)
    x = torch.tensor([[-2.0, 0.0, 3.0]])
    assert pixels.unit_unclamped(x).tolist() == [[-0.5, 0.5, 2.0]]
    assert pixels.unit(x).tolist() == [[0.0, 0.5, 1.0]]


@pytest.mark.parametrize(
    "options", [{"bits": 0}, {"bits": 9}, {"low": 1.0, "high": 1.0}, {"logit": 0.5}, {"logit": 0.1, "ends": True}]
)
def test_bad_formats_are_refused(options):
    with pytest.raises(ValueError, match="Expected"):
        PixelFormat(**options)
