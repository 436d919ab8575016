"""What is known of a picture: halves, grey, small copies; and what is observed of files of any size."""

import numpy as np
import pytest
import torch
from PIL import Image

from completion_models import SHAPE, linear
from transflow.conditioning.operators import Grey, Known, Smaller, apply, as_operator, least_factor, observe, shown
from transflow.pictures.preprocess import greyscale


def test_a_half_is_hidden_and_the_rest_known():
    for side, hidden in {"left": np.s_[:, :2], "right": np.s_[:, 3:], "top": np.s_[:3], "bottom": np.s_[4:]}.items():
        mask = Known.without_half(side, 7, 5).mask
        expected = torch.ones(7, 5, dtype=torch.bool)
        expected[hidden] = False
        assert torch.equal(mask, expected), side
    with pytest.raises(ValueError, match="left, right, top, bottom; got middle"):
        Known.without_half("middle", 4, 4)


def test_grey_is_luma_as_pictures_are_made_grey(model, pixels):
    seen = observe(pixels[:1], Grey(), model)
    of_grey = observe(greyscale(pixels[:1]), Grey(), model)
    assert (seen - of_grey).abs().max() < 1 / 256
    assert seen.shape == (1, 1, 16, 16)


def test_a_small_picture_is_observed_as_it_is_and_a_large_one_made_small(model, pixels):
    operator = Smaller(4)
    large = observe(pixels[:1], operator, model)
    assert large.shape == (1, 3, 4, 4)
    assert (large - operator((pixels[:1].float() + 0.5) / 256)).abs().max() < 1 / 256
    small = torch.randint(0, 256, (1, 3, 4, 4), dtype=torch.uint8)
    assert torch.allclose(observe(small, operator, model), (small + 0.5) / 256)


def test_what_is_observed_has_eight_bits_whatever_the_models(model, pixels):
    assert model.bits == 5
    seen = observe(pixels[:1], Known(torch.ones(16, 16, dtype=torch.bool)), model)
    assert torch.allclose(seen.view(1, 3, 16, 16), (pixels[:1] + 0.5) / 256)
    black = observe(torch.zeros(1, *SHAPE, dtype=torch.uint8), Known(torch.ones(2, 3, dtype=torch.bool)), linear())
    assert not black.any(), "ends=True: black is 0"


def test_what_is_known_is_shown_as_a_picture():
    x = torch.rand(1, 3, 4, 4)
    half = Known.without_half("left", 4, 4)
    assert torch.equal(shown(half, half(x), (3, 4, 4))[..., 2:], x[..., 2:])
    assert (shown(half, half(x), (3, 4, 4))[..., :2] == 0.5).all()
    assert torch.equal(shown(Grey(), Grey()(x), (3, 4, 4))[0, 1:2], Grey()(x)[0])
    assert shown(Smaller(2), Smaller(2)(x), (3, 4, 4)).shape == (1, 3, 4, 4)
    with pytest.raises(TypeError, match="numbers are a picture; got function"):
        shown(lambda x: x, x, (3, 4, 4))


def test_the_least_factor_is_that_of_the_size():
    shape = (3, 32, 32)
    assert [least_factor((size, size), shape).factor for size in (31, 16, 15, 8, 1)] == [2, 2, 4, 4, 32]
    assert least_factor((64, 64), shape, 4) == Smaller(4)
    assert least_factor((40, 16), shape) == Smaller(2)
    with pytest.raises(ValueError, match=r"smaller than 32 x 32 to enlarge; got 32 x 40\. Give a factor"):
        least_factor((32, 40), shape)
    with pytest.raises(ValueError, match="more pixels to enlarge to 30 x 31; got 2 x 2"):
        least_factor((2, 2), (3, 31, 30))


def test_masks_are_taken_as_tensors_and_arrays_of_ones():
    wanted = torch.tensor([[True, False, True], [True, True, False]])
    for mask in (wanted, wanted.float(), wanted.numpy(), wanted.long(), Known(wanted), Known(wanted.int())):
        operator = as_operator(mask, linear())
        assert torch.equal(operator.mask, wanted)
        assert apply(operator, torch.rand(2, *SHAPE)).shape == (2, 1, 4)


def test_a_file_is_taken(tmp_path, model):
    Image.new("RGB", (40, 40), (10, 200, 30)).save(tmp_path / "x.png")
    seen = observe(tmp_path / "x.png", Smaller(8), model)
    assert torch.allclose(seen[0, :, 0, 0] * 256, torch.tensor([10.5, 200.5, 30.5]))
