"""Velocity networks as models: every convention is the same model; latents, densities and refusals."""

import functools
import math
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from transflow.adapters.networks import Convention
from transflow.adapters.velocity import adapt
from transflow.base_model import BaseModel
from transflow.gaussians.evidence import Evidence
from transflow.library.wrap import wrap
from transflow.pictures.pixels import PixelFormat
from velocities import GaussianVelocity, SmallNet, digits, trained

SHAPE = (1, 8, 8)


class TimeFirst(nn.Module):
    """As torchcfm's: net(t, x, y=None)."""

    def __init__(self, net, sign=1, scale=1.0, reverse=False):
        super().__init__()
        self.net, self.sign, self.scale, self.reverse = net, sign, scale, reverse
        self.dropout = nn.Dropout()

    def forward(self, t, x, y=None):
        t = t / self.scale
        return self.dropout(self.sign * self.net(x, 1 - t if self.reverse else t))


class Diffusers(TimeFirst):
    """As diffusers': net(x, timestep).sample of 1000 sigma."""

    def forward(self, sample, timestep):
        return SimpleNamespace(sample=super().forward(timestep, sample))


class Denoiser(nn.Module):
    """The picture that is expected, of a velocity."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, t):
        return x + (1 - t.view(-1, 1, 1, 1)) * self.net(x, t)


def plain(x, t):
    """A function, with nothing to hash."""
    return -0.3 * x + t.view(-1, 1, 1, 1)


def gaussian():
    draw = torch.Generator().manual_seed(0)
    root = torch.randn(64, 64, generator=draw) / 20
    velocity = GaussianVelocity(0.2 * torch.randn(64, generator=draw), root @ root.mT + 0.05 * torch.eye(64))
    return adapt(velocity, SHAPE, convention=Convention(scalar_time=True))


SOURCES = {
    "velocity, gaussian": gaussian,
    "velocity, function": lambda: adapt(plain, SHAPE, steps=5),
    "velocity, heun": lambda: adapt(trained(20), SHAPE, method="heun", steps=5),
}


@pytest.fixture(scope="module")
def net():
    return trained(60)


@pytest.fixture(scope="module")
def model(net):
    return adapt(net, SHAPE, steps=10)


def same(net):
    """The model of this network, in every convention."""
    sigma = Convention(1, "noise - picture")
    return {
        "torchcfm": adapt(TimeFirst(net), SHAPE, steps=10),
        "diffusers": adapt(Diffusers(net, -1, 1000.0, True), SHAPE, steps=10, convention="diffusers"),
        "noise at 1": adapt(TimeFirst(net, -1, 1.0, True), SHAPE, steps=10, convention=sigma),
        "scalar": adapt(net, SHAPE, steps=10, convention=Convention(scalar_time=True)),
        "denoiser": adapt(Denoiser(net), SHAPE, steps=10, convention=Convention(predicts="picture")),
        "named": adapt(lambda a, b: net(b, a), SHAPE, steps=10, time_first=True),
        "bound": adapt(functools.partial(TimeFirst(net).eval().forward, y=3), SHAPE, steps=10),
    }


def test_every_convention_is_the_same_model(net, model):
    x = digits()[:4]
    z = model.encode(x)
    for name, other in same(net).items():
        assert (other.encode(x) - z).abs().max() < 1e-4, name
        assert (other.decode(z) - model.decode(z)).abs().max() < 1e-5, name


def test_the_user_s_network_is_left_as_it_is():
    net = TimeFirst(SmallNet()).train()
    made = adapt(net, SHAPE, steps=3)
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    z = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    before = made.decode(z)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    assert torch.equal(made.decode(z), before), "no dropout, no shared weights"


@pytest.mark.parametrize("source", SOURCES)
def test_it_is_a_model(source):
    made = SOURCES[source]()
    draw = torch.Generator().manual_seed(0)
    flat = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, *SHAPE)
    x = torch.cat([digits()[:4], flat, torch.randint(0, 256, (2, *SHAPE), generator=draw, dtype=torch.uint8)])
    z = made.encode(x)
    assert (z.shape, z.dtype, made.shape, made.bits) == ((8, 64), torch.float32, SHAPE, 8)
    assert (made.precision, made.device, made.prior.is_standard) == ("float32", torch.device("cpu"), True)
    exact = (x.double() + 0.5) / 256
    assert (made.decode_unclamped(z) - exact).abs().max() <= 1e-5 <= made.exactness
    far = made.decode(5 * torch.randn(3, 64, generator=draw))
    assert 0 <= far.min() <= far.max() <= 1
    assert (made.encode(x[2:3]) - z[2:3]).abs().max() < 1e-4
    assert torch.equal(made.encode(x), z)
    posterior = made.prior.condition(Evidence.of(z), 4.0)
    assert made.decode(posterior.sample(2, seed=0)).shape == (2, *SHAPE)
    copied = pickle.loads(pickle.dumps(made))
    assert torch.equal(copied.encode(x), z)
    assert copied.fingerprint == made.fingerprint
    to_encode, to_decode = made.evaluations(x)
    assert to_decode < to_encode < 200
    assert to_decode in (5, 10, 20)
    assert made.encode(x[:0]).shape == (0, 64)
    assert made.encode_and_log_prob(x[:0])[1].shape == (0,)


@pytest.mark.parametrize("source", SOURCES)
def test_it_does_all_that_the_contract_asks(source):
    made = BaseModel(SOURCES[source](), source)
    for capability in ("shape", "score", "pixels", "card", "exactness", "temperature", "unclamped", "evaluations"):
        assert made.can(capability)
    assert made.can("fingerprint") == ("function" not in source)
    for capability in ("features", "variance"):
        with pytest.raises(TypeError, match="a sampler has" if capability == "features" else "a variance"):
            made.require(capability, "to go on")
    assert made.decode(made.encode_pixels(digits()[:2])).shape == (2, *SHAPE)


def test_wrap_makes_it():
    model = wrap(velocity=plain, shape=SHAPE, steps=5)
    assert model.reconstruct(digits()[:3]).errors.max() < 1e-5
    posterior = model.condition(digits()[:5], noise="0.5m")
    assert posterior.pictures(2, seed=0).shape == (2, *SHAPE)


def test_latents_carry_gradients_through_decode():
    made = gaussian()
    z = torch.zeros(1, 64, requires_grad=True)
    made.decode(z).sum().backward()
    assert z.grad.abs().max() > 0
    assert not made.decode(z.detach()).requires_grad


def test_the_density_is_over_pictures_in_the_unit_range():
    """Of a Gaussian: by the linear map in units in which the range is 1."""
    made, x = gaussian(), digits()[:3]
    z, log_prob = made.encode_and_log_prob(x)
    zero = made.decode_unclamped(torch.zeros(1, 64)).double().flatten()
    a = (made.decode_unclamped(torch.eye(64)).double().flatten(1) - zero).mT
    expected = torch.distributions.MultivariateNormal(zero, a @ a.mT).log_prob((x.flatten(1).double() + 0.5) / 256)
    assert ((log_prob - expected).abs() < 1e-5 * expected.abs()).all()  # the map itself was read in float32
    assert log_prob.dtype == torch.float64
    assert torch.equal(z, made.encode(x))


def test_large_pictures_have_an_estimate_with_its_error():
    made = adapt(plain, (3, 10, 10), steps=5, power=1)
    pictures = torch.zeros(2, 3, 10, 10, dtype=torch.uint8)
    z, density = made.encode_and_density(pictures, order=30)
    expected = made.prior.log_prob(z) - 300 * 5 * math.log(1 - 0.3 / 5) + 300 * math.log(2)
    torch.testing.assert_close(density.log_prob, expected, rtol=0, atol=1e-2)
    assert (density.error < 1e-3).all(), "signs see the trace of a multiple of I exactly"
    torch.testing.assert_close(made.encode_and_log_prob(pictures)[1], density.log_prob, rtol=0, atol=0.1)


def test_the_fingerprint_is_of_weights_grid_and_pixels(net):
    def of(net=net, **options):
        return adapt(net, SHAPE, **options).fingerprint

    first = of()
    assert first == of(steps=20, method="euler", power=1.5)
    others = [
        of(steps=19), of(power=2), of(method="heun"), of(pixels=PixelFormat(8, 0.0, 1.0)), of(SmallNet()),
        of(convention=Convention(1)),
    ]  # fmt: skip
    assert len({first, *others}) == 7
    function = adapt(plain, SHAPE)
    assert function.fingerprint is None
    assert "plain function" in function.lacks["fingerprint"]


def test_double_stays_double_and_half_becomes_single():
    double, x = adapt(SmallNet().double(), SHAPE, steps=5), digits()[:2]
    assert double.precision == "float64"
    assert (double.decode_unclamped(double.encode(x)) - (x.double() + 0.5) / 256).abs().max() < 1e-12
    assert adapt(SmallNet().half(), SHAPE, steps=5).precision == "float32"


def fold(x, t):
    """One step of it is tanh."""
    return x.tanh() - x


def test_a_picture_that_cannot_be_undone_is_named():
    made = adapt(fold, SHAPE, steps=1, pixels=PixelFormat(8, -4.0, 4.0))
    x = torch.full((3, *SHAPE), 128, dtype=torch.uint8)
    x[1] = 255
    with pytest.raises(ValueError, match=r"got picture 1, for which step 1 of 1") as error:
        made.encode(x)
    assert "\n" not in str(error.value)


def unnamed(a, b):
    return a


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: adapt(plain, (8, 8)), "a shape"),
        (lambda: adapt(plain, SHAPE, steps=0), "1 step"),
        (lambda: adapt(plain, SHAPE, power=0.5), "a power"),
        (lambda: adapt(plain, SHAPE, method="dopri5"), "the method 'euler' or 'heun'; got 'dopri5'"),
        (lambda: adapt(plain, SHAPE, convention="edm"), "a convention of"),
        (lambda: Convention(noise_at=2), "noise at time 0 or 1"),
        (lambda: Convention(predicts="score"), "a prediction of"),
        (lambda: Convention(time_scale=0), "a time scale"),
        (lambda: adapt(unnamed, SHAPE), r"takes x and t; got parameters a, b\. Give time_first"),
        (lambda: adapt(nn.Linear(3, 3), SHAPE), "takes x and t"),
        (lambda: adapt(SmallNet(3), SHAPE), "an error from it"),
        (lambda: adapt(lambda x, t, y: x, SHAPE), r"an error from it.*bound"),
        (lambda: adapt(lambda x, t: x[:, :, :4], SHAPE), r"got \(1, 4, 8\)"),
        (lambda: adapt(lambda x, t: x / 0, SHAPE), "got NaN"),
        (lambda: adapt(plain, SHAPE, method="heun", convention=Convention(predicts="picture")), 'method "euler"'),
        (lambda: gaussian().encode(torch.zeros(1, 1, 8, 8)), r"uint8 pictures of shape \(B, 1, 8, 8\); got"),
        (lambda: gaussian().encode(torch.zeros(1, 8, 8, dtype=torch.uint8)), "uint8 pictures"),
        (lambda: gaussian().encode(None), "got NoneType"),
        (lambda: gaussian().decode(torch.zeros(1, 63)), r"latents of shape \(B, 64\)"),
        (lambda: gaussian().decode(torch.full((1, 64), math.nan)), "finite latents"),
    ],
)
def test_bad_input_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("Expected")
