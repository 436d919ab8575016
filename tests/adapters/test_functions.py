"""Two functions as a model: what they do and nothing else, with the latents made flat and standard normal."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from transflow.adapters import functions, measure
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.gaussian import Gaussian
from transflow.pictures.pixels import PixelFormat

SHAPE = (3, 4, 4)
D = 48
SIGNED = PixelFormat(bits=8, low=-1.0, high=1.0)
ROTATION = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0)))[0]
SHIFT = torch.linspace(-0.3, 0.3, D)


def pictures(n=5, shape=SHAPE, seed=1):
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def rotate(x):
    return (x.flatten(1) - SHIFT) @ ROTATION


def turn_back(z):
    return (z @ ROTATION.T + SHIFT).view(-1, *SHAPE)


def log_density(x):
    return -rotate(x).square().sum(1) / 2 - D / 2 * math.log(2 * math.pi)


def to_levels(x):
    z = rotate(x)
    return [3 * z[:, :32].view(-1, 2, 4, 4) + 1, 0.5 * z[:, 32:].view(-1, 4, 2, 2)]


def from_levels(levels):
    assert type(levels) is list
    fine, coarse = levels
    assert (fine.shape[1:], coarse.shape[1:]) == ((2, 4, 4), (4, 2, 2))
    return turn_back(torch.cat([(fine.flatten(1) - 1) / 3, 2 * coarse.flatten(1)], 1))


def to_arrays(x):
    assert isinstance(x, np.ndarray)
    assert x.dtype == np.float32
    return Foreign((x.reshape(len(x), -1) - SHIFT.numpy()) @ ROTATION.numpy())


def from_arrays(z):
    assert isinstance(z, np.ndarray)
    return Foreign((z @ ROTATION.numpy().T + SHIFT.numpy()).reshape(-1, *SHAPE))


class Foreign:
    """An array of another library, which numpy can read."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


class Rotation(nn.Module):
    """A module with methods; in training mode it mixes a batch."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(ROTATION.clone())

    def encode(self, x):
        z = x.flatten(1) @ self.matrix
        return z + (0.5 * (z - z.mean(0)) if self.training else 0)

    def decode(self, z):
        return (z @ self.matrix.T).view(-1, *SHAPE)


SOURCES = {
    "functions": lambda: functions.adapt(rotate, turn_back, SHAPE, pixels=SIGNED, log_prob=log_density),
    "functions, levels": lambda: functions.adapt(
        to_levels, from_levels, SHAPE, pixels=SIGNED, base=[(torch.ones(2, 1, 1), 3.0), (0, 0.5)]
    ),
    "functions, arrays": lambda: functions.adapt(to_arrays, from_arrays, SHAPE, pixels=SIGNED, arrays=True),
    "functions, methods": lambda: functions.adapt(Rotation().encode, Rotation().decode, SHAPE, pixels=SIGNED),
}
EVERY = pytest.mark.parametrize("name", SOURCES)


@EVERY
def test_round_trip_batch_independence_and_determinism(name):
    source, x = SOURCES[name](), torch.cat([pictures(), measure.pictures(SHAPE)])
    before = x.clone()
    z = source.encode(x)
    assert z.shape == (8, D)
    assert torch.equal(z, source.encode(x))
    assert torch.equal(x, before)
    assert (source.decode(z) - (x + 0.5) / 256).abs().max() < 1e-5
    assert max((source.encode(x[i : i + 1]) - z[i]).abs().max() for i in range(8)) < 1e-5
    assert source.exactness < 1e-5
    assert source.prior.is_standard
    assert source.prior.dim == D
    assert len(source.encode(x[:0])) == len(source.decode(z[:0])) == 0


@EVERY
def test_it_pickles(name):
    source, x = SOURCES[name](), pictures()
    again = pickle.loads(pickle.dumps(source))
    assert torch.equal(again.encode(x), source.encode(x))
    assert again.fingerprint == source.fingerprint


def test_functions_that_do_not_pickle_say_so_in_a_line():
    source = functions.adapt(lambda x: rotate(x), turn_back, SHAPE, pixels=SIGNED)
    with pytest.raises(pickle.PicklingError, match=r"top of a module.*<lambda> for encode"):
        pickle.dumps(source)
    assert copy.deepcopy(source) is source


def test_the_posterior_is_that_of_the_pictures_themselves():
    # x = Q z + b with z ~ N(0, I) is x ~ N(b, I): conditioning may be done on either side
    source, x, noise = SOURCES["functions"](), pictures(7), 3.0
    posterior = source.prior.condition(Evidence.of(source.encode(x)), noise)
    there = Gaussian.of(SHIFT, 1.0).condition(Evidence.of(SIGNED.centre(x).flatten(1)), noise)
    mean = source.decode_unclamped(posterior.mean[None].float())[0]
    torch.testing.assert_close(mean.flatten(), SIGNED.unit_unclamped(there.mean).float(), atol=1e-6, rtol=0)
    assert posterior.covariance.variances() == pytest.approx(there.covariance.variances())


def test_density_is_of_pictures_in_the_unit_range():
    source, x = SOURCES["functions"](), pictures()
    z, log_prob = source.encode_and_log_prob(x)
    expected = Gaussian.standard(D).log_prob(z) + D * math.log(2)
    assert log_prob.dtype == torch.float64
    torch.testing.assert_close(log_prob, expected, atol=1e-4, rtol=0)
    assert not hasattr(SOURCES["functions, levels"](), "encode_and_log_prob")
    assert "score" in SOURCES["functions, levels"]().lacks
    assert "score" not in source.lacks


def test_functions_that_write_into_what_they_are_given_damage_nothing():
    def encode(x):
        return rotate(x.sub_(1).add_(1).mul_(2)) * 0.5 - 0.5 * (SHIFT @ ROTATION)

    source = functions.adapt(encode, turn_back, SHAPE, pixels=SIGNED, log_prob=log_density)
    for mine, theirs in zip(
        source.encode_and_log_prob(pictures()), SOURCES["functions"]().encode_and_log_prob(pictures()), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)


def test_levels_are_flattened_in_order_and_each_base_is_taken_out():
    plain, levels = SOURCES["functions"](), SOURCES["functions, levels"]()
    torch.testing.assert_close(levels.encode(pictures()), plain.encode(pictures()), atol=1e-5, rtol=0)
    assert levels.level_sizes == (32, 16)
    assert plain.level_sizes is None
    assert "levels" in plain.lacks

    def coarse_first(x):
        return tuple(reversed(to_levels(x)))

    def back(parts):
        assert type(parts) is tuple
        return from_levels(list(reversed(parts)))

    source = functions.adapt(coarse_first, back, SHAPE, pixels=SIGNED, base=[(0, 0.5), (1, 3)])
    assert source.level_sizes is None
    z = source.encode(pictures())
    torch.testing.assert_close(torch.cat([z[:, 16:], z[:, :16]], 1), plain.encode(pictures()), atol=1e-5, rtol=0)


def test_a_dense_base_is_taken_out_too():
    factor = torch.eye(D) + 0.2 * torch.ones(D, D).tril(-1)
    base = MultivariateNormal(SHIFT, scale_tril=factor)
    source = functions.adapt(
        lambda x: rotate(x) @ factor.T + SHIFT,
        lambda z: turn_back(torch.linalg.solve_triangular(factor, (z - SHIFT).T, upper=False).T),
        SHAPE,
        pixels=SIGNED,
        base=base,
    )
    torch.testing.assert_close(source.encode(pictures()), SOURCES["functions"]().encode(pictures()), atol=1e-4, rtol=0)


def test_a_module_is_copied_and_known_by_its_weights():
    module = Rotation()
    source = functions.adapt(module.encode, module.decode, SHAPE, pixels=SIGNED)
    z = source.encode(pictures())
    assert module.training
    assert module.matrix.requires_grad
    assert source.fingerprint == functions.adapt(module.encode, module.decode, SHAPE, pixels=SIGNED).fingerprint
    with torch.no_grad():
        module.matrix.neg_()
    assert torch.equal(source.encode(pictures()), z)
    other = functions.adapt(module.encode, module.decode, SHAPE, pixels=SIGNED)
    assert other.fingerprint != source.fingerprint
    assert functions.adapt(module.encode, module.decode, SHAPE).fingerprint != other.fingerprint
    double = Rotation().double()
    assert functions.adapt(double.encode, double.decode, SHAPE, pixels=SIGNED).precision == "float64"


def test_what_functions_are_made_of_gives_them_a_fingerprint():
    module = Rotation().eval()

    def adapt(*made, base=None):
        return functions.adapt(
            lambda x: module.encode(x), lambda z: module.decode(z), SHAPE, pixels=SIGNED, module=made or None, base=base
        )

    assert adapt().fingerprint is None
    assert "fingerprint" in adapt().lacks
    same = {adapt(module).fingerprint, adapt(module).fingerprint}
    others = {adapt(module, 3).fingerprint, adapt(module, 4).fingerprint, adapt(module, base=(1, 1)).fingerprint}
    assert len(same) == 1
    assert len(same | others) == 4
    with pytest.raises(ValueError, match=r"eval mode.*module\.eval\(\)"):
        adapt(module.train())


def test_pixels_are_an_option():
    for pixels in (PixelFormat(), PixelFormat(bits=8, low=0, high=255, ends=True), PixelFormat(bits=8, logit=0.05)):
        source = functions.adapt(nn.Flatten(), lambda z: z.view(-1, *SHAPE), SHAPE, pixels=pixels)
        torch.testing.assert_close(source.encode(pictures()), pixels.centre(pictures()).flatten(1))
        assert source.exactness < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decode": lambda z: turn_back(z) + 0.1}, r"error of 0\.05 on the \w+ test picture.*inexact=True"),
        ({"encode": lambda x: rotate(x - x.mean(0))}, "whatever its neighbours"),
        ({"encode": lambda x: rotate(x) / 0}, "finite latents; got NaN or infinity from the model for picture 0"),
        ({"encode": lambda x: (rotate(x), x[:, 0, 0, 0])}, r"got \(1,\). A log-determinant belongs into log_prob="),
        ({"encode": lambda x: {"z": rotate(x)}}, "Expected encode to give a tensor or an array; got dict"),
        ({"decode": lambda z: turn_back(z).permute(0, 2, 3, 1)}, r"got \(3, 4, 4, 3\).*transpose"),
        ({"decode": lambda z: turn_back(z)[:, :2]}, r"shape \(3, 3, 4, 4\); got \(3, 2, 4, 4\)"),
        ({"decode": lambda z: turn_back(z)[:1]}, r"got \(1, 3, 4, 4\)"),
        ({"decode": 3}, "Expected functions encode and decode; got int"),
        ({"base": (0, -1)}, "positive standard deviations"),
        ({"base": (torch.zeros(7), 1)}, r"broadcast to a latent of shape \(48,\)"),
        ({"base": [(0, 1), (0, 1)]}, "one a latent; got 2 for 1 latents"),
        ({"base": "normal"}, "one a latent; got str"),
        ({"base": MultivariateNormal(torch.zeros(3), torch.eye(3))}, "got one over 3 numbers"),
        ({"shape": (3, 4)}, "shape of"),
    ],
)  # fmt: skip
def test_bad_input_is_named(change, message):
    given = {"encode": rotate, "decode": turn_back, "shape": SHAPE, "pixels": SIGNED} | change
    with pytest.raises(ValueError, match=message) as raised:
        functions.adapt(**given)
    assert "\n" not in str(raised.value)


def test_an_inexact_model_is_taken_when_asked_and_says_how_far_off_it_is():
    source = functions.adapt(rotate, lambda z: turn_back(z) + 0.1, SHAPE, pixels=SIGNED, inexact=True)
    assert source.exactness == pytest.approx(0.05, abs=1e-5)


def test_nan_after_wrapping_names_the_picture_or_the_latent():
    source = functions.adapt(
        lambda x: torch.where((x > 0.9).flatten(1).all(1)[:, None], torch.nan, rotate(x)),
        lambda z: torch.where((z > 50).any(1)[:, None, None, None], torch.nan, turn_back(z)),
        SHAPE,
        pixels=SIGNED,
        log_prob=lambda x: torch.where((x < -0.9).flatten(1).all(1), torch.nan, log_density(x)),
    )
    x = pictures(3)
    x[2] = 255
    with pytest.raises(ValueError, match="picture 2"):
        source.encode(x)
    with pytest.raises(ValueError, match="latent 1"):
        source.decode(torch.tensor([0.0, 60, 0])[:, None].expand(3, D))
    x[2] = 0
    with pytest.raises(ValueError, match=r"log densities.*picture 2"):
        source.encode_and_log_prob(x)
    with pytest.raises(ValueError, match=r"uint8 pictures of shape \(B, 3, 4, 4\)"):
        source.encode(x.float())


def test_jax():
    jax = pytest.importorskip("jax")
    rotation, shift = jax.numpy.asarray(ROTATION.numpy()), jax.numpy.asarray(SHIFT.numpy())
    source = functions.adapt(
        jax.jit(lambda x: (x.reshape(len(x), -1) - shift) @ rotation),
        jax.jit(lambda z: (z @ rotation.T + shift).reshape(-1, *SHAPE)),
        SHAPE,
        pixels=SIGNED,
        arrays=True,
    )
    torch.testing.assert_close(source.encode(pictures()), SOURCES["functions"]().encode(pictures()), atol=1e-5, rtol=0)
