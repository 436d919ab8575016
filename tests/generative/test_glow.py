"""Laws of every bijection: inverse, log-determinant, extremes. A new one is a line in BIJECTIONS."""

import pytest
import torch

from helpers import shaken
from transflow import Glow, GlowConfig
from transflow.generative.bijections import ChannelAffine, Coupling
from transflow.generative.glow import Cascade, TopPrior
from transflow.generative.glow_fused import FusedAffine
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat

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


def test_data_dependent_start_standardises_every_step():
    torch.manual_seed(0)
    flow = Glow(GlowConfig(size=8, steps=(2, 2), width=(8, 8)))
    x = torch.rand(64, 3, 8, 8) * 0.1 + 0.2
    flow.initialise(x)
    seen = []
    for module in flow.modules():
        if isinstance(module, ChannelAffine):
            assert module.initialised
            module.register_forward_hook(
                lambda m, i, o: seen.append((i[0] + m.shift[:, None, None]) * m.log_scale.exp()[:, None, None])
            )
    flow(x)
    assert len(seen) == 4
    for h in seen:
        torch.testing.assert_close(h.mean((0, 2, 3)), torch.zeros(h.shape[1]), rtol=0, atol=1e-3)
        torch.testing.assert_close(h.std((0, 2, 3)), torch.ones(h.shape[1]), rtol=0, atol=1e-2)


def test_the_latent_keeps_every_number():
    flow = Glow(GlowConfig(size=16, steps=(1, 1, 1), width=(4, 4, 4)))
    assert flow.level_sizes == (384, 192, 192)
    assert sum(flow.level_sizes) == 3 * 16 * 16


@pytest.mark.parametrize(
    "config",
    [
        {"size": 12, "steps": (1, 1, 1), "width": (4, 4, 4)},
        {"steps": (), "width": ()},
        {"steps": (2,), "width": (4, 4)},
    ],
)
def test_impossible_architectures_are_refused(config):
    with pytest.raises(ValueError, match="Expected"):
        GlowConfig(**config)


def tiny(bits=5, dtype=torch.float32):
    flow = shaken(lambda: Glow(GlowConfig(size=8, steps=(2, 2), width=(8, 8))), dtype)
    return PictureModel(flow.requires_grad_(False), PixelFormat(bits))


def pixels(n, seed=0):
    return torch.randint(0, 256, (n, 3, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("bits", [1, 5, 8])
def test_encode_is_the_bin_centre_and_decode_its_inverse(bits):
    model, x = tiny(bits, torch.float64), pixels(5)
    assert torch.equal(model.encode(x), model.encode(x))
    expected = (torch.floor(x.double() / 2 ** (8 - bits)) + 0.5) / 2**bits
    torch.testing.assert_close(model.decode(model.encode(x)), expected, rtol=0, atol=1e-9)


def test_the_result_does_not_depend_on_the_batch():
    model, x = tiny(), pixels(70)
    one_by_one = torch.cat([model.encode(p[None]) for p in x])
    torch.testing.assert_close(model.encode(x), one_by_one, rtol=0, atol=1e-5)
    decoded = torch.cat([model.decode(z[None]) for z in one_by_one])
    torch.testing.assert_close(model.decode(one_by_one), decoded, rtol=0, atol=1e-4)


def test_no_picture_gives_no_latent():
    model = tiny()
    assert model.encode(pixels(0)).shape == (0, 192)
    assert model.decode(torch.zeros(0, 192)).shape == (0, 3, 8, 8)


def test_log_prob_is_the_density_and_integrates_over_bins():
    """log p(x) = log N(z; 0, I) + log |det|, and a 2-pixel model's probabilities sum to one."""
    model = tiny(dtype=torch.float64)
    x = pixels(3)
    z, log_det = model.flow(model.pixels.centre(x).double())
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det
    torch.testing.assert_close(model.encode_and_log_prob(x)[1], expected)


def test_density_of_a_small_flow_integrates_to_one():
    """By importance sampling from a normal, wider than the flow's own samples."""
    flow = shaken(lambda: Glow(GlowConfig(channels=1, size=2, steps=(2,), width=(4,))), torch.float64)
    with torch.no_grad():
        own = flow.inverse(torch.randn(5000, 4, dtype=torch.float64)).flatten(1)
        wide = torch.distributions.MultivariateNormal(own.mean(0), 2 * torch.cov(own.T))
        x = wide.sample((100_000,))
        z, log_det = flow(x.view(-1, 1, 2, 2))
    log_density = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det
    weights = (log_density - wide.log_prob(x)).exp()
    error = weights.std().item() / len(x) ** 0.5
    assert error < 0.02
    assert weights.mean().item() == pytest.approx(1, abs=5 * error)
