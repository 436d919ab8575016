"""What is measured is the error that was put in."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from transflow.adapters import measure
from transflow.pictures.pixels import PixelFormat

SHAPE = (2, 3, 4)
D = 24
PIXELS = PixelFormat(bits=8, low=-1.0, high=1.0)


@dataclass(frozen=True)
class Affine:
    """Latents 2 x + 1 of the pixels in [-1, 1], with errors to be found."""

    off: float = 0.0  # of decoded pixels, in units of their range
    clip: float = 9.0  # of the inverse
    mixing: float = 0.0  # of a batch
    log_det_off: float = 0.0
    shape: tuple = SHAPE
    pixels: PixelFormat = PIXELS
    exactness: float | None = None

    def forward(self, x):
        log_det = torch.full((len(x),), D * torch.tensor(2.0).log().item() + self.log_det_off)
        return 2 * x.flatten(1) + 1, log_det

    def inverse(self, z):
        return ((z.clamp(-self.clip, self.clip) - 1) / 2).view(-1, *self.shape)

    def encode(self, x):
        z = self.forward(self.pixels.centre(x))[0]
        return z + self.mixing * (z - z.mean(0)) if self.mixing else z

    def decode(self, z):
        return self.decode_unclamped(z).clamp(0, 1)

    def decode_unclamped(self, z):
        return self.pixels.unit_unclamped(self.inverse(z)) + self.off

    def encode_and_log_prob(self, x):
        raise NotImplementedError


def test_pictures_are_the_same_each_time():
    x = measure.pictures(SHAPE)
    assert x.shape == (3, *SHAPE)
    assert x.dtype == torch.uint8
    assert torch.equal(x, measure.pictures(SHAPE))
    assert not x[1].any()
    assert x[0].float().std() > 20
    assert measure.pictures((1, 1, 1)).shape == (3, 1, 1, 1)


def test_exactness_is_the_error_in_units_of_the_pixel_range():
    for off in (0.0, 3e-3, -0.2):
        model = Affine(off)
        found = measure.exactness(model.encode, model.decode_unclamped, SHAPE, model.pixels)
        assert found == pytest.approx(abs(off), abs=1e-6)


def test_a_model_within_the_bounds_is_given_its_exactness_and_one_beyond_is_refused_with_the_error():
    assert measure.checked(Affine(3e-3)).exactness == pytest.approx(3e-3, abs=1e-6)
    with pytest.raises(ValueError, match=r"to 0.01 of the pixel range; got an error of 0.02 on the \w+ test picture"):
        measure.checked(Affine(0.02))
    assert measure.checked(Affine(0.02), inexact=True).exactness == pytest.approx(0.02, abs=1e-6)


def test_black_pixels_decoded_below_black_are_no_less_wrong_for_being_cut_off():
    @dataclass(frozen=True)
    class Blacker(Affine):
        def decode_unclamped(self, z):
            right = super().decode_unclamped(z)
            return torch.where(right < 0.003, right - 0.05, right)

    with pytest.raises(ValueError, match=r"error of 0\.05 on the \w+ test picture"):
        measure.checked(Blacker())


def test_an_inverse_that_clips_latents_is_found_though_pictures_come_back():
    model = Affine(clip=1.5, pixels=PixelFormat(bits=8, low=-1.0, high=0.2))
    assert measure.exactness(model.encode, model.decode_unclamped, SHAPE, model.pixels) < 1e-6
    with pytest.raises(ValueError, match="standard normal latent"):
        measure.checked(model)
    assert measure.checked(model, inexact=True).exactness < 1e-6


def test_a_model_that_mixes_its_batch_is_refused():
    with pytest.raises(ValueError, match=r"whatever its neighbours.*eval\(\)"):
        measure.checked(Affine(mixing=0.3))


def test_a_decoder_that_is_too_slow_is_not_tried():
    model = Affine(0.5)
    assert measure.checked(model, decodes=False) is model


def test_nan_is_named_and_never_accepted():
    @dataclass(frozen=True)
    class Nan(Affine):
        def forward(self, x):
            z, log_det = super().forward(x)
            return torch.where(x.flatten(1) < -0.99, torch.nan, z), log_det

    with pytest.raises(ValueError, match=r"finite latents; got NaN.* for the black test picture"):
        measure.checked(Nan(), inexact=True)


def test_density_error_is_the_error_of_the_log_determinant():
    assert measure.density_error(Affine()) == pytest.approx(0, abs=1e-4)
    assert measure.density_error(Affine(log_det_off=0.5)) == pytest.approx(0.5, abs=1e-4)
    assert measure.density_error(Affine(shape=(3, 5, 5))) is None
    assert measure.density_error(SimpleNamespace(encode_and_log_prob=lambda x: x)) is None  # without a shape
    no_density = Affine()
    object.__setattr__(no_density, "encode_and_log_prob", None)
    assert measure.density_error(no_density) is None
