"""Laws of NICE: inverse, log-determinant, both priors, the way between them far out, its file."""

import math

import pytest
import torch
from torch.distributions import Normal

import family_laws as laws
from transflow.generative.nice import NICE, AdditiveCoupling, NICEConfig, logistic_from_normal, normal_from_logistic
from transflow.generative.whitening import LEAST

SMALL = {"shape": (1, 4, 4), "steps": 3, "width": 8, "depth": 2}
CONFIGS = {
    "logistic": NICEConfig(**SMALL),
    "normal": NICEConfig(**SMALL, prior="normal"),
    "not whitened": NICEConfig(**SMALL, whiten=False),
    "odd": NICEConfig(**{**SMALL, "shape": (3, 1, 3)}),
    "two numbers": NICEConfig(**{**SMALL, "shape": (1, 1, 2)}),
}
EVERY = pytest.mark.parametrize("name", CONFIGS)
FINGERPRINT = "65822979e27893490c6878f8964e9dd3bfd652d9bb3d0f4e7a405e3e8a73e750"


def made(name, dtype=torch.float64):
    flow = laws.built(CONFIGS[name], dtype)
    flow.initialise(laws.ordinary(flow, 64, seed=5))
    return flow


@EVERY
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_inverse_undoes_forward_and_forward_undoes_inverse(name, dtype, tolerance):
    laws.check_inverse(made(name, dtype), tolerance)


@EVERY
def test_log_det_is_that_of_the_jacobian_in_both_directions(name):
    laws.check_log_det(made(name))


@EVERY
def test_pictures_do_not_see_each_other_and_flows_pickle(name):
    laws.check_alone(made(name))
    laws.check_pickles(made(name))


def smooth(shape, count=64, noise=1e-4):
    """Pictures whose whitening is badly conditioned: slow, nearly grey, next to no noise; in double."""
    generator = torch.Generator().manual_seed(7)
    coarse = torch.rand(count, 1, 2, 2, dtype=torch.float64, generator=generator) - 0.5
    large = torch.nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear", align_corners=True)
    return large + noise * torch.randn(count, *shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("prior", ["logistic", "normal"])
def test_a_badly_conditioned_whitening_is_inverted_and_its_log_det_is_exact(prior):
    config = NICEConfig((3, 8, 8), steps=3, width=8, depth=2, prior=prior)
    for dtype, tolerance in ((torch.float32, 2e-4), (torch.float64, 1e-11)):
        flow = laws.built(config, dtype)
        x = smooth(config.shape).to(dtype)
        flow.initialise(x)
        deviation = flow.whitening.deviation
        assert deviation.min() == pytest.approx(LEAST)
        assert deviation.max() > 1000 * LEAST
        for shown in (x[:3], laws.ordinary(flow), laws.extreme(flow)):
            z, log_det = flow(shown)
            assert log_det.isfinite().all()
            torch.testing.assert_close(flow.inverse(z), shown, rtol=0, atol=tolerance)
    for shown in (x[:1], laws.extreme(flow)[2:3]):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], shown[0]).reshape(192, 192)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], flow(shown)[1][0], rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("prior", ["logistic", "normal"])
@pytest.mark.parametrize("whitened", [False, True])
def test_the_density_of_four_numbers_integrates_to_one(prior, whitened):
    flow = laws.built(NICEConfig((1, 2, 2), steps=2, width=8, depth=1, prior=prior))
    if whitened:
        flow.initialise(smooth((1, 2, 2), noise=0.01) @ torch.tensor([[1.0, 0.95], [0.0, 0.3]], dtype=torch.float64))
        assert flow.whitening.deviation.max() > 5 * flow.whitening.deviation.min()
        assert flow.whitening.deviation.log().sum().abs() > 1
    laws.check_integral(flow)


def test_the_density_is_that_of_the_paper_s_prior():
    """log p(x) = sum log f(y) + sum s, f the logistic density exp(y) / (1 + exp(y))^2."""
    flow = made("logistic")
    x = laws.ordinary(flow)
    z, log_det = flow(x)
    y, volume = flow.whitening(x)
    y = y.flatten(1)
    for coupling in flow.couplings:
        y = coupling(y)[0]
    y = y * flow.log_scale.exp()
    expected = (y - 2 * y.exp().log1p()).sum(1) + flow.log_scale.sum() + volume
    torch.testing.assert_close(Normal(0, 1).log_prob(z).sum(1) + log_det, expected)


def test_the_way_to_a_normal_number_is_exact_far_out():
    far = torch.tensor([1e-300, 1e-9, 0.5, 3.0, 29.0, 31.0, 40.0, 100.0, 1e3, 1e6, 1e12], dtype=torch.float64)
    y = torch.cat([-far, torch.zeros(1, dtype=torch.float64), far]).sort().values
    u, log_det = normal_from_logistic(y)
    assert u.isfinite().all()
    assert log_det.isfinite().all()
    assert (u[1:] >= u[:-1]).all()
    torch.testing.assert_close(u, -u.flip(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(logistic_from_normal(u), y, rtol=1e-12, atol=1e-15)
    middle = y.abs() < 5
    torch.testing.assert_close(u[middle], torch.special.ndtri(y[middle].sigmoid()), rtol=1e-9, atol=1e-15)
    slope = torch.autograd.functional.jacobian(lambda y: normal_from_logistic(y)[0], y).diagonal()
    torch.testing.assert_close(slope.log(), log_det, rtol=1e-9, atol=1e-9)
    single = y.float()
    there, _ = normal_from_logistic(single)
    assert there.dtype == torch.float32
    torch.testing.assert_close(logistic_from_normal(there), single, rtol=1e-6, atol=1e-30)


def test_gradients_of_the_density_are_those_of_the_logistic():
    y = torch.tensor([-50.0, -2.0, 0.3, 7.0], dtype=torch.float64, requires_grad=True)
    u, log_det = normal_from_logistic(y)
    (found,) = torch.autograd.grad((Normal(0, 1).log_prob(u) + log_det).sum(), y)
    torch.testing.assert_close(found, 1 - 2 * y.detach().sigmoid())


def test_a_coupling_changes_every_second_number_and_no_volume():
    for kept in (0, 1):
        torch.manual_seed(0)
        coupling = AdditiveCoupling(5, kept, 8, 1)
        torch.nn.init.normal_(coupling.net[-1].weight)
        x = torch.randn(2, 5)
        z, log_det = coupling(x)
        assert torch.equal(z[:, kept::2], x[:, kept::2])
        assert (z[:, 1 - kept :: 2] != x[:, 1 - kept :: 2]).all()
        assert not log_det.any()


def test_two_couplings_change_every_number():
    flow = laws.built(NICEConfig((1, 2, 3), steps=2, width=8, depth=1, prior="normal", whiten=False))
    flow.log_scale.zero_()
    x = laws.ordinary(flow)
    assert (flow(x)[0] != x.flatten(1)).all()


@pytest.mark.parametrize(("prior", "square"), [("normal", 1.0), ("logistic", math.pi**2 / 3)])
def test_it_starts_with_the_prior_s_spread(prior, square):
    """The mean square of a logistic number is the integral of y^2 exp(y) / (1 + exp(y))^2, pi^2 / 3."""
    flow = NICE(CONFIGS[prior])
    x = laws.ordinary(flow, 256)
    flow.initialise(x)
    y = flow(x)[0] if prior == "normal" else logistic_from_normal(flow(x)[0])
    torch.testing.assert_close(y.square().mean(0), torch.full((16,), square), rtol=0.02, atol=0)


def test_numbers_of_the_prior_s_own_distribution_start_as_normal_ones():
    u = torch.rand(4000, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for prior, x in (("logistic", u.logit()), ("normal", torch.special.ndtri(u))):
        flow = NICE(NICEConfig(**SMALL, prior=prior, whiten=False)).double()
        flow.initialise(0.1 * x)
        z = flow(0.1 * x)[0].flatten().sort().values
        share = (torch.arange(len(z), dtype=torch.float64) + 0.5) / len(z)
        assert (torch.special.ndtr(z) - share).abs().max() < 0.02


def test_a_model_goes_to_a_file_and_back(tmp_path):
    laws.check_file(CONFIGS["logistic"], tmp_path / "m.safetensors", FINGERPRINT)


@pytest.mark.parametrize(
    "bad", [{"shape": (3, 8)}, {"shape": (1, 1, 1)}, {"steps": 1}, {"width": 0}, {"depth": 0}, {"prior": "cauchy"}]
)
def test_bad_configurations_are_refused_in_a_line(bad):
    with pytest.raises(ValueError, match=r"^Expected .*; got .*\.$"):
        NICEConfig(**{**SMALL, **bad})
