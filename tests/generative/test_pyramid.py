"""Laws of a pyramid: its Haar maps, its levels of details, and the whole as one exact flow."""

import math
import pickle

import pytest
import torch

from transflow.generative.details import ConditionalCoupling, DetailConfig, DetailFlow, Head, lighten, weigh
from transflow.generative.flow_plus_plus import FlowPlusPlusConfig
from transflow.generative.glow import Glow, GlowConfig
from transflow.generative.pyramid import Pyramid, PyramidConfig, haar_join, haar_log_det, haar_split
from transflow.training.outliers import outlier_pictures

SMALL = {"steps": 3, "width": 8, "seen": 6, "coarser": (6, 6)}


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) - 0.5


def shaken(module, dtype=torch.float64, by=0.1):
    """The module in a dtype, with parameters that are not those it starts with."""
    module = module.to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator, dtype=dtype)
    return module


def level(channels=3, dtype=torch.float64, **other):
    torch.manual_seed(0)
    made = DetailFlow(DetailConfig(channels=channels, **{**SMALL, **other})).to(dtype)
    average, details = haar_split(drawn(64, channels, 16, 16, dtype=dtype))
    made.initialise(details, average)
    return shaken(made, dtype)


def pyramid(levels=2, dtype=torch.float64):
    torch.manual_seed(0)
    base = shaken(Glow(GlowConfig(size=2, steps=(2,), width=(6,))), dtype)
    return Pyramid(base, [level(dtype=dtype, steps=2) for _ in range(levels)])


def jacobian_log_det(function, x):
    """``log |det|`` of a function of one flat tensor, by autograd."""
    return torch.linalg.slogdet(torch.autograd.functional.jacobian(function, x))[1]


def extremes(size=32, channels=3, dtype=torch.float32):
    """Black, white, a checkerboard, one of colours, noise, and strange pictures of other kinds."""
    i, j = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    board = ((i + j) % 2 - 0.5) * 0.996
    colours = torch.tensor([1.0, -1.0, 1.0])[:channels, None, None]
    flat = torch.full((channels, size, size), 0.498)
    fixed = torch.stack([-flat, flat, board.expand(channels, -1, -1), board * colours])
    noise = drawn(8, channels, size, size, seed=3, dtype=torch.float32)
    other = outlier_pictures(0.3 * noise, 8, torch.Generator().manual_seed(0))
    return torch.cat([fixed, noise, other]).to(dtype)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_haar_averages_2_by_2_pixels_and_joins_back(channels):
    x = drawn(2, channels, 6, 10)
    average, details = haar_split(x)
    torch.testing.assert_close(average, torch.nn.functional.avg_pool2d(x, 2))
    assert details.shape == (2, 3 * channels, 3, 5)
    torch.testing.assert_close(haar_join(average, details), x)
    across, down, diagonal = details.unflatten(1, (3, channels)).unbind(1)
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    torch.testing.assert_close(across, (a + c - b - d) / 4)
    torch.testing.assert_close(down, (a + b - c - d) / 4)
    torch.testing.assert_close(diagonal, (a + d - b - c) / 4)


def test_the_log_det_of_joining_is_that_of_its_jacobian():
    channels, size = 2, 3
    count = channels * size * size

    def join(flat):
        average, details = flat.split([count, 3 * count])
        return haar_join(average.view(1, channels, size, size), details.view(1, -1, size, size)).flatten()

    log_det = haar_log_det(torch.zeros(5, channels, size, size))
    assert jacobian_log_det(join, drawn(4 * count)).item() == pytest.approx(log_det)
    assert log_det == pytest.approx(4 * math.log(2) * count)  # 4 bits for each number of the average


def test_large_details_are_made_light_and_heavy_again():
    x = torch.cat([drawn(50), 3e3 * drawn(50), torch.tensor([0.0, -1e-9])]).double().requires_grad_()
    y, log_slope = lighten(x)
    torch.testing.assert_close(y, 2 * (x.asinh() / 2).sinh())
    torch.testing.assert_close(weigh(y), x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope.exp(), slope)
    with torch.no_grad():
        x = 1e3 * drawn(100, dtype=torch.float32)
        torch.testing.assert_close(weigh(lighten(x)[0]), x, rtol=1e-6, atol=0)


PARTS = {
    "head": lambda: Head(5, 4),
    "coupling": lambda: ConditionalCoupling(5, 8, 4),
    "coupling of two": lambda: ConditionalCoupling(2, 8, 4),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_exact_and_its_log_det_that_of_its_jacobian(name):
    torch.manual_seed(0)
    part = shaken(PARTS[name](), by=0.3)
    channels = 2 if "two" in name else 5
    x, seen = 3 * drawn(1, channels, 3, 3), drawn(1, 4, 3, 3, seed=1)
    with torch.no_grad():
        z, log_det = part(x, seen)
        torch.testing.assert_close(part.inverse(z, seen), x)
    found = jacobian_log_det(lambda v: part(v.view_as(x), seen)[0].flatten(), x.flatten())
    torch.testing.assert_close(log_det[0], found)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("size", [(8, 8), (3, 5), (1, 1)])
def test_details_come_back_given_their_average(channels, dtype, tolerance, size):
    flow = level(channels, dtype)
    details = drawn(3, 3 * channels, *size, dtype=dtype)
    average = drawn(3, channels, *size, seed=1, dtype=dtype)
    with torch.no_grad():
        z, log_det = flow(details, average)
        assert z.shape == details.shape
        assert z.dtype == log_det.dtype == dtype
        assert log_det.shape == (3,)
        torch.testing.assert_close(flow.inverse(z, average), details, rtol=0, atol=tolerance)
        torch.testing.assert_close(flow(flow.inverse(z, average), average)[0], z, rtol=tolerance, atol=100 * tolerance)


def test_the_log_det_of_details_is_that_of_the_jacobian_in_both_directions():
    flow = level()
    details, average = drawn(2, 9, 3, 3), drawn(2, 3, 3, 3, seed=1)
    with torch.no_grad():
        z, log_det = flow(details, average)
    for i in range(2):
        seen = average[i : i + 1]
        there = jacobian_log_det(lambda v, s=seen: flow(v.view(1, 9, 3, 3), s)[0].flatten(), details[i].flatten())
        back = jacobian_log_det(lambda v, s=seen: flow.inverse(v.view(1, 9, 3, 3), s).flatten(), z[i].flatten())
        torch.testing.assert_close(log_det[i], there)
        torch.testing.assert_close(log_det[i], -back)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_sees_the_features(name):
    torch.manual_seed(0)
    part = shaken(PARTS[name](), by=0.3)
    x, seen = drawn(1, 2 if "two" in name else 5, 3, 3), drawn(1, 4, 3, 3, seed=1)
    with torch.no_grad():
        assert (part(x, seen)[0] - part(x, seen + 0.1)[0]).abs().max() > 1e-3


def test_what_networks_see_is_cut():
    """Beyond its reach a number changes nothing for what sees it; within, it does."""
    flow = level()
    coupling, context = flow.couplings[0], flow.context
    seen, x = drawn(1, 6, 3, 3), torch.full((1, 4, 3, 3), 3.0, dtype=torch.float64)
    average = torch.full((1, 3, 3, 3), 0.5, dtype=torch.float64)
    with torch.no_grad():
        for see, value, reach in (
            (lambda v: torch.cat(coupling.scale_and_shift(v, seen)), x, 4),
            (context, average, 4),
        ):
            torch.testing.assert_close(see(reach * value), see(100 * value), rtol=0, atol=0)
            assert (see(value) - see(reach * value)).abs().max() > 1e-6


def test_a_level_starts_with_each_channel_at_mean_0_and_variance_1():
    torch.manual_seed(0)
    flow = DetailFlow(DetailConfig(**SMALL))
    average, details = haar_split(drawn(64, 3, 16, 16, dtype=torch.float32))
    flow.initialise(0.01 * details + 0.02, average)
    with torch.no_grad():
        z, log_det = flow(0.01 * details + 0.02, average)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(9), rtol=0, atol=0.01)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(9), rtol=0, atol=0.1)  # but for correlations
    assert (log_det > 0).all()  # details are smaller than latents


def test_a_channel_without_details_starts_finite():
    torch.manual_seed(0)
    flow = DetailFlow(DetailConfig(channels=1, **SMALL))
    flow.initialise(torch.zeros(4, 3, 4, 4), torch.zeros(4, 1, 4, 4))
    with torch.no_grad():
        z, log_det = flow(torch.zeros(4, 3, 4, 4), torch.zeros(4, 1, 4, 4))
    assert z.isfinite().all()
    assert log_det.isfinite().all()


@pytest.mark.parametrize("by", [0.1, 0.5])
def test_no_picture_grows_without_bound(by):
    """Scales and what networks see are cut, so weights far from a trained model's keep a strange picture finite."""
    torch.manual_seed(0)
    flow = DetailFlow(DetailConfig(**{**SMALL, "steps": 8}))
    smooth = torch.nn.functional.interpolate(drawn(64, 3, 4, 4, dtype=torch.float32), size=32, mode="bilinear")
    average, details = haar_split(smooth)
    flow.initialise(details, average)
    for net in [flow.head.net, *(coupling.last for coupling in flow.couplings)]:
        shaken(net, torch.float32, by)
    average, details = haar_split(extremes())
    with torch.no_grad():
        z, log_det = flow(details, average)
        assert z.isfinite().all()
        assert log_det.isfinite().all()
        assert flow.inverse(10 * torch.randn(z.shape), 10 * average).isfinite().all()


@pytest.mark.parametrize("what", [Head(3, 4), ConditionalCoupling(3, 8, 4)], ids=["head", "coupling"])
def test_scales_are_bounded_whatever_the_network_says(what):
    net = what.net if isinstance(what, Head) else what.last
    with torch.no_grad():
        net.bias.fill_(1e6)
        x, seen = torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 2, 2)
        s, _ = what.scale_and_shift(seen, x) if isinstance(what, Head) else what.scale_and_shift(x[:, :1], seen)
    torch.testing.assert_close(s, torch.full_like(s, what.STEEPEST))


def test_a_crop_trains_what_the_whole_uses():
    """Far from its edges a crop has the latents of the whole."""
    flow = level(steps=1)
    details, average = drawn(1, 9, 96, 96), drawn(1, 3, 96, 96, seed=1)
    with torch.no_grad():
        whole = flow(details, average)[0]
        crop = flow(details[..., 8:88, 8:88], average[..., 8:88, 8:88])[0]
    torch.testing.assert_close(crop[..., 38:42, 38:42], whole[..., 46:50, 46:50])


def test_each_picture_has_the_latents_it_has_alone():
    flow = pyramid()
    x = drawn(4, 3, 8, 8)
    with torch.no_grad():
        z, log_det = flow(x)
        alone = [flow(part) for part in x.split(1)]
    torch.testing.assert_close(torch.cat([part for part, _ in alone]), z)
    torch.testing.assert_close(torch.cat([change for _, change in alone]), log_det)


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_a_pyramid_is_one_exact_flow(levels):
    flow = pyramid(levels)
    size = 2 << levels
    x = drawn(2, 3, size, size)
    assert flow.shape == (3, size, size)
    assert sum(flow.level_sizes) == x[0].numel()
    with torch.no_grad():
        z, log_det = flow(x)
        assert z.shape == (2, x[0].numel())
        torch.testing.assert_close(flow.inverse(z), x)
    for i in range(2):
        found = jacobian_log_det(lambda v: flow(v.view(1, 3, size, size))[0].flatten(), x[i].flatten())
        torch.testing.assert_close(log_det[i], found)


def test_latents_are_the_details_finest_first_and_then_the_base():
    flow = pyramid(2)
    assert flow.level_sizes == (144, 36, 12)
    assert flow.detail_shapes == ((9, 4, 4), (9, 2, 2))
    x = drawn(2, 3, 8, 8)
    average, details = haar_split(x)
    with torch.no_grad():
        finest, middle, base = flow(x)[0].split(flow.level_sizes, 1)
        torch.testing.assert_close(finest, flow.levels[1](details, average)[0].flatten(1))
        torch.testing.assert_close(base, flow.base(haar_split(average)[0])[0])
        stopped = Pyramid(flow.base, list(flow.levels)[:-1])
        torch.testing.assert_close(stopped(average)[0], torch.cat([middle, base], 1))
        torch.testing.assert_close(stopped.inverse(torch.cat([middle, base], 1)), average)


def test_extreme_pictures_come_back_in_float32():
    flow = pyramid(2, torch.float32)
    x = extremes(8)
    with torch.no_grad():
        z, log_det = flow(x)
        assert log_det.isfinite().all()
        torch.testing.assert_close(flow.inverse(z), x, rtol=0, atol=1e-4)


def test_a_pyramid_pickles_and_computes_alike_each_time():
    flow, x = pyramid(1), drawn(2, 3, 4, 4)
    again = pickle.loads(pickle.dumps(flow))
    with torch.no_grad():
        assert torch.equal(flow(x)[0], again(x)[0])
        assert torch.equal(flow(x)[0], flow(x)[0])


def test_the_names_of_weights_stay():
    """A file of weights keeps these names."""
    flow = DetailFlow(DetailConfig(**{**SMALL, "steps": 1}))
    convolutions = [
        *(f"context.{name}" for name in ("stem", "down_middle", "down_coarse", "up_middle", "up_fine")),
        *(f"context.{block}.{name}" for block in ("fine", "middle", "coarse", "last") for name in ("first", "second")),
        "head.net",
        *(f"couplings.0.{name}" for name in ("first", "given", "middle", "last")),
    ]
    mix = ("shift", "log_scale", "initialised", "permutation_matrix", "sign", "lower", "upper", "log_s")
    expected = {"scale", *(f"{name}.{part}" for name in convolutions for part in ("weight", "bias"))}
    assert set(flow.state_dict()) == expected | {f"mixes.0.{part}" for part in mix}


def test_what_ships_keeps_its_defaults():
    assert DetailConfig() == DetailConfig(channels=3, steps=20, width=64, seen=64, coarser=(96, 128))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"channels": 0}, {"coarser": (4,)}, {"coarser": (4, 0)}])
def test_an_impossible_level_is_refused(wrong):
    with pytest.raises(ValueError, match=r"^Expected channels, steps and widths of 1 or more.*; got DetailConfig"):
        DetailConfig(**wrong)


def test_a_base_of_other_channels_is_refused():
    base = Glow(GlowConfig(channels=1, size=4, steps=(1,), width=(4,)))
    with pytest.raises(ValueError, match="Expected a base and levels of as many channels; got 1 and 3"):
        Pyramid(base, [level()])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"family": "flow++"}, r"a flow\+\+ base without variational dequantisation.*--dequantiser 0; got 4"),
        ({"family": "flow++", "base": {"dequantiser": 1}}, "--dequantiser 0; got 1"),
        ({"levels": ()}, "one or more levels, each a DetailConfig; got none"),
        ({"levels": ("a",)}, "one or more levels, each a DetailConfig; got str"),
        ({"family": "vae"}, "a base of a family of .*; got vae"),
    ],
)
def test_what_a_pyramid_cannot_be_made_of_is_refused_in_a_line(config, words):
    with pytest.raises(ValueError, match=words):
        PyramidConfig(**config)
    assert PyramidConfig("flow++", FlowPlusPlusConfig(dequantiser=0)).shape == (3, 64, 64)
