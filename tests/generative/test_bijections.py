"""Laws of every bijection: inverse, log-determinant, extremes. A new one is a line in BIJECTIONS."""

import pytest
import torch

from helpers import shaken
from transflow import Glow, GlowConfig
from transflow.generative.bijections import Cascade, ChannelAffine, Coupling
from transflow.generative.glow import TopPrior
from transflow.generative.glow_fused import FusedAffine

BIJECTIONS = {
    "channel affine, lu": lambda: ChannelAffine(6),
    "channel affine, plain": lambda: ChannelAffine(6, "plain"),
    "affine coupling": lambda: Coupling(6, 8),
    "additive coupling": lambda: Coupling(6, 8, "additive"),
    "coupling of odd channels": lambda: Coupling(5, 8),
    "top prior": lambda: TopPrior((6, 4, 4)),
    "fixed affine": lambda: FusedAffine(shaken(lambda: ChannelAffine(6), torch.float64)),
    "cascade": lambda: Cascade([ChannelAffine(6), Coupling(6, 8), ChannelAffine(6, "plain")]),
    "glow, affine, lu": lambda: Glow(GlowConfig(size=8, steps=(2, 2), width=(8, 8))),
    "glow, additive, plain": lambda: Glow(
        GlowConfig(size=8, steps=(2, 2), width=(8, 8), coupling="additive", permutation="plain")
    ),
    "glow, grey, one level": lambda: Glow(GlowConfig(channels=1, size=8, steps=(2,), width=(8,))),
    "glow, two channels, oblong": lambda: Glow(
        GlowConfig(channels=2, size=4, picture_width=8, steps=(1, 1), width=(8, 8))
    ),
}


def input_of(name, module, batch, dtype):
    shape = module.shape if isinstance(module, Glow) else (5 if "odd" in name else 6, 4, 4)
    return torch.rand(batch, *shape, generator=torch.Generator().manual_seed(1), dtype=dtype) - 0.5


@pytest.mark.parametrize("name", BIJECTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])
def test_inverse_undoes_forward_and_forward_undoes_inverse(name, dtype, tolerance):
    f = shaken(BIJECTIONS[name], dtype)
    x = input_of(name, f, 3, dtype)
    with torch.no_grad():
        z, log_det = f(x)
        assert z.dtype == log_det.dtype == dtype
        torch.testing.assert_close(f.inverse(z), x, rtol=0, atol=tolerance)
        torch.testing.assert_close(f(f.inverse(z))[0], z, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", BIJECTIONS)
def test_log_det_is_that_of_the_jacobian_in_both_directions(name):
    f = shaken(BIJECTIONS[name], torch.float64)
    x = input_of(name, f, 2, torch.float64)
    with torch.no_grad():
        z, log_det = f(x)
    assert log_det.shape == (2,)
    for i in range(2):
        forward = torch.autograd.functional.jacobian(lambda v: f(v[None])[0].flatten(), x[i])
        backward = torch.autograd.functional.jacobian(lambda v: f.inverse(v[None]).flatten(), z[i])
        size = x[i].numel()
        torch.testing.assert_close(torch.linalg.slogdet(forward.reshape(size, size))[1], log_det[i])
        torch.testing.assert_close(torch.linalg.slogdet(backward.reshape(size, size))[1], -log_det[i])


@pytest.mark.parametrize("name", BIJECTIONS)
def test_pictures_do_not_see_each_other(name):
    f = shaken(BIJECTIONS[name], torch.float64)
    x = input_of(name, f, 3, torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(f(x)[0][1:2], f(x[1:2])[0])
        torch.testing.assert_close(f(x)[1][1:2], f(x[1:2])[1])
