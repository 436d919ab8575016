"""Laws of Flow++: inverse, log-determinant, the dequantisation within bins, its start, its file."""

import math

import pytest
import torch

import family_laws as laws
from helpers import shaken
from transflow.generative.bijections import Cascade, Squeeze, squeeze
from transflow.generative.dequantiser import Dequantiser, checkerboard_join, checkerboard_split
from transflow.generative.flow_plus_plus import FlowPlusPlus, FlowPlusPlusConfig, MixtureCoupling
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat

SMALL = {"shape": (1, 4, 4), "steps": (2, 2, 2), "width": 8, "depth": 1, "components": 3}
CONFIGS = {
    "all": FlowPlusPlusConfig(**SMALL),
    "uniform, no attention": FlowPlusPlusConfig(**SMALL, dequantiser=0, attention=False),
    "colours, oblong": FlowPlusPlusConfig(**{**SMALL, "shape": (3, 2, 4), "components": 1}, bits=5),
}
EVERY = pytest.mark.parametrize("name", CONFIGS)
FINGERPRINT = "fe00f5bc873365bf41060ee0c2f14ed23d0e0dd15e0c5f89b393e3eb13f3d2de"


def made(name, dtype=torch.float64):
    flow = laws.built(CONFIGS[name], dtype)
    flow.initialise(laws.ordinary(flow, 64, seed=5))
    return flow


@EVERY
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-4), (torch.float64, 1e-9)])
def test_inverse_undoes_forward_and_forward_undoes_inverse(name, dtype, tolerance):
    laws.check_inverse(made(name, dtype), tolerance)


@EVERY
def test_log_det_is_that_of_the_jacobian_in_both_directions(name):
    flow = made(name)
    laws.check_log_det(flow, back=not CONFIGS[name].dequantiser)
    x = laws.ordinary(flow, 1)
    moved, log_det = flow.dequantiser(x)
    found = torch.autograd.functional.jacobian(flow.dequantiser.inverse, moved).reshape(x.numel(), x.numel())
    torch.testing.assert_close(torch.linalg.slogdet(found)[1], -log_det[0], rtol=1e-7, atol=1e-7)


@EVERY
def test_pictures_do_not_see_each_other_and_flows_pickle(name):
    laws.check_alone(made(name))
    laws.check_pickles(made(name))


def test_the_density_integrates_to_one():
    config = FlowPlusPlusConfig((1, 2, 4), steps=(1, 1, 1), width=4, depth=1, components=2, dequantiser=0)
    laws.check_integral(laws.built(config, by=0.03), wider=1.3)


def shaken_dequantiser(shape=(2, 4, 4), bits=3):
    torch.manual_seed(0)
    made = Dequantiser(shape, bits, 4, 8).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made.requires_grad_(False)


def test_dequantisation_stays_in_each_bin_and_fills_it():
    """Of one pixel, the density over a bin integrates to 1: places from edge to edge go to places from edge to edge."""
    made = shaken_dequantiser()
    x = torch.rand(5, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    moved, _ = made(x)
    assert torch.equal((8 * (x + 0.5)).floor(), (8 * (moved + 0.5)).floor())
    assert (moved - x).abs().max() > 1e-3
    torch.testing.assert_close(made.inverse(moved), x, rtol=0, atol=1e-9)
    v = torch.linspace(1e-5, 1 - 1e-5, 2001, dtype=torch.float64)
    pictures = x[:1].repeat(2001, 1, 1, 1)
    pictures[:, 1, 2, 3] = (6 + v) / 8 - 0.5
    u = (made(pictures)[0][:, 1, 2, 3] + 0.5) * 8 - 6
    assert (u[1:] > u[:-1]).all()
    assert u[0] < 1e-3
    assert u[-1] > 1 - 1e-3


def test_encoding_takes_the_centre_of_the_dequantisation_and_decoding_the_bin_s():
    flow = made("all", torch.float32)
    model = PictureModel(flow, PixelFormat(8))
    pixels = torch.randint(0, 256, (4, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x = model.pixels.centre(pixels)
    whole, e, _ = flow.dequantiser.within(x)
    assert torch.equal(whole, pixels.float())
    assert not e.any()
    moved = flow.dequantiser(x)[0]
    assert (moved - x).abs().max() > 1e-5
    error = (model.decode(model.encode(pixels)) - model.pixels.unit(x)).abs().max()
    assert error < 2e-4


def test_the_mean_density_over_noise_in_the_bins_is_minus_the_entropy_of_what_it_becomes():
    """Of two numbers: E_v |det dT/dv| is the volume of all u, 1, and E_v log |det dT/dv| below 0, uniform noise's."""
    made = shaken_dequantiser((1, 1, 2))
    x = (torch.rand(20_000, 1, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3) / 8 - 0.5
    _, log_det = made(x)
    slopes = log_det.exp()
    assert slopes.std().item() > 0.01
    assert slopes.mean().item() == pytest.approx(1, abs=5 * slopes.std().item() / len(x) ** 0.5)
    assert log_det.mean().item() < 0


@pytest.fixture(scope="module")
def tiny():
    """A Flow++ of eight pixels of one bit, whose dequantisation moves them far."""
    config = FlowPlusPlusConfig((1, 2, 4), steps=(1, 1, 1), width=4, depth=1, components=2, dequantiser=2, bits=1)
    flow = laws.built(config, by=0.05)
    flow.initialise(laws.ordinary(flow, 256))
    with torch.no_grad():
        for parameter in flow.dequantiser.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)).double()
    return flow


PICTURES = (torch.arange(256)[:, None] >> torch.arange(8)) % 2  # all that there are, (256, 8)


def densities(pictures, count, *flows):
    """Log densities of pictures (n, 8) at Sobol's places in their bins, (n, count), by each flow."""
    places = torch.quasirandom.SobolEngine(8, scramble=True, seed=0).draw(len(pictures) * count, dtype=torch.float64)
    x = ((pictures[:, None] + places.view(-1, count, 8)) / 2 - 0.5).view(-1, 1, 2, 4)
    normal = torch.distributions.Normal(0.0, 1.0)
    found = [(normal.log_prob(z).flatten(1).sum(1) + log_det).view(-1, count) for z, log_det in (f(x) for f in flows)]
    return [part - 8 * math.log(2) for part in found]  # a picture's bins have the volume 2^-8


def test_the_probability_of_a_picture_is_that_of_its_bins_whatever_the_dequantisation(tiny):
    """P(bins) = E_v [p(bins + T(v)) |det dT/dv|], T the dequantisation or none; the mean of the logarithm is below."""
    learned, uniform = densities(PICTURES[::17], 2048, tiny, lambda x: tiny.flow(x))
    assert (learned - uniform).abs().mean() > 0.3  # though the densities are quite others
    found, expected = learned.exp().mean(1), uniform.exp().mean(1)
    error = ((learned.exp().var(1) + uniform.exp().var(1)) / 2048).sqrt()
    assert (error < 0.1 * expected).all()
    assert ((found - expected).abs() < 3 * error).all()
    assert (learned.mean(1) < expected.log() - 0.1).all()


def test_probabilities_of_all_pictures_sum_to_the_share_of_samples_that_are_pictures(tiny):
    """The others have a number beyond black or white; likewise of pictures with so many white pixels."""
    (learned,) = densities(PICTURES, 64, tiny)
    z = torch.randn(4000, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = tiny.inverse(z).flatten(1)
    x = x[(x.abs() < 0.5).all(1)]
    shares = torch.bincount((x > 0).sum(1), minlength=9).double() / len(z)
    expected = torch.zeros(9, dtype=torch.float64).index_add(0, PICTURES.sum(1), learned.exp().mean(1))
    assert 0.2 < shares.sum() < 0.9
    assert ((shares - expected).abs() < 4 * (expected / len(z)).sqrt()).all()
    assert shares.sum().item() == pytest.approx(expected.sum().item(), abs=0.03)


def test_gradients_of_pictures_pass_the_dequantisation_as_if_nothing_moved():
    flow = made("all")
    z = flow(laws.ordinary(flow, 1))[0].requires_grad_()
    weights = torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (found,) = torch.autograd.grad((flow.inverse(z) * weights).sum(), z)
    (expected,) = torch.autograd.grad((flow.flow.inverse(squeeze(z.unflatten(1, (1, 4, 4)))) * weights).sum(), z)
    torch.testing.assert_close(found, expected)


def test_a_latent_lies_as_its_picture_does():
    config = FlowPlusPlusConfig((2, 8, 8), steps=(1, 1, 1), width=4, depth=1, components=2)
    flow = shaken(lambda: FlowPlusPlus(config), torch.float64)
    x = torch.zeros(1, 2, 8, 8, dtype=torch.float64)
    flow.flow = Cascade([Squeeze()])
    flow.dequantiser.forward = lambda x: (x, x.new_zeros(len(x)))
    x[0, 1, 2, 5] = 1
    assert torch.equal(flow(x)[0].view(1, 2, 8, 8), x)


def test_couplings_take_turns():
    flow = made("all")
    assert [layer.kept for layer in flow.flow if isinstance(layer, MixtureCoupling)] == [0, 1] * 3
    assert [layer.kept for layer in flow.dequantiser.couplings] == [0, 1, 0, 1]
    x = laws.ordinary(flow)
    assert (flow.dequantiser(x)[0] != x).all()


def test_a_checkerboard_has_two_colours():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    a, b = checkerboard_split(x)
    rows, columns = torch.arange(4)[:, None], torch.arange(4)
    assert torch.equal(a.flatten(), x[0, 0][(rows + columns) % 2 == 0])
    assert torch.equal(b.flatten(), x[0, 0][(rows + columns) % 2 == 1])
    assert torch.equal(checkerboard_join(a, b), x)


def test_data_dependent_start_and_means_apart():
    flow = FlowPlusPlus(CONFIGS["all"])
    flow.initialise(laws.ordinary(flow, 256))
    seen = []
    for layer in flow.flow:
        if isinstance(layer, MixtureCoupling):
            layer.register_forward_hook(lambda module, given, result: seen.append((module, given[0])))
    flow(laws.ordinary(flow, 256))
    assert len(seen) == 6
    for module, h in seen:
        torch.testing.assert_close(h.mean((0, 2, 3)), torch.zeros(h.shape[1]), rtol=0, atol=0.01)
        mixture = module.mixture(module.halves(h)[0])
        assert (mixture.mean[..., 1:] - mixture.mean[..., :-1] > 0.1).all()


def test_a_model_goes_to_a_file_and_back(tmp_path):
    laws.check_file(CONFIGS["all"], tmp_path / "m.safetensors", FINGERPRINT)


@pytest.mark.parametrize(
    "bad",
    [
        {"shape": (3, 8)},
        {"shape": (1, 4, 6)},
        {"shape": (1, 3, 4)},
        {"steps": (1, 1)},
        {"steps": (0, 0, 0)},
        {"width": 6},
        {"depth": 0},
        {"components": 0},
        {"dequantiser": -1},
        {"dequantiser": 9},
        {"bits": 9},
    ],
)
def test_bad_configurations_are_refused_in_a_line(bad):
    with pytest.raises(ValueError, match=r"^Expected .*; got .*\.$"):
        FlowPlusPlusConfig(**{**SMALL, **bad})
