"""An autoencoder is what its encoder's mean says; a linear one has a posterior, a prior and an error that are known."""

import math
import pickle

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from transflow import Gaussian
from transflow.adapters import autoencoder, measure
from transflow.pictures.pixels import PixelFormat

SHAPE, D, LATENT = (1, 4, 5), 20, 4
NOISE = 0.03  # sigma of the pictures around the decoder's mean
LOADINGS = torch.linalg.qr(torch.randn(D, LATENT, generator=torch.Generator().manual_seed(0)))[0] * torch.tensor(
    [0.3, 0.25, 0.2, 0.012]
)
PRECISION = 1 + LOADINGS.square().sum(0) / NOISE**2  # of the posterior, diagonal since the loadings are orthogonal


class Linear(nn.Module):
    """Probabilistic principal components: x ~ N(1/2 + W z, sigma^2 I), whose posterior is known."""

    def __init__(self):
        super().__init__()
        self.loadings = nn.Parameter(LOADINGS.clone())
        self.dropout = nn.Dropout(0.5)

    def encode(self, x):
        mean = (x.flatten(1) - 0.5) @ self.loadings / NOISE**2 / PRECISION
        return self.dropout(mean), (-PRECISION.log()).expand_as(mean)

    def decode(self, z):
        return (z @ self.loadings.T + 0.5).view(-1, *SHAPE)


class Convolutional(nn.Module):
    """A plain autoencoder of other names, with latents that are maps, and batch norm."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2))
        self.decoder = nn.Conv2d(2, 1, 3, padding=1)


def pictures(n=300, seed=1):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, LATENT, generator=generator)
    x = 0.5 + z @ LOADINGS.T + NOISE * torch.randn(n, D, generator=generator)
    return (x.clamp(0, 1) * 255).round().to(torch.uint8).view(-1, *SHAPE)


def convolutional():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Convolutional()


ENDS = PixelFormat(bits=8, low=0.0, high=1.0, ends=True)
SOURCES = {
    "autoencoder, variational": lambda: autoencoder.adapt(Linear(), SHAPE, pixels=ENDS),
    "autoencoder, fitted": lambda: autoencoder.adapt(Linear(), SHAPE, pixels=ENDS, reference=pictures()),
    "autoencoder, plain": lambda: autoencoder.adapt(convolutional(), SHAPE),
}
EVERY = pytest.mark.parametrize("name", SOURCES)


@EVERY
def test_batch_independence_determinism_exactness_and_pickling(name):
    source, x = SOURCES[name](), torch.cat([pictures(5), measure.pictures(SHAPE)])
    z = source.encode(x)
    assert z.shape == (8, source.prior.dim)
    assert torch.equal(z, source.encode(x))
    assert max((source.encode(x[i : i + 1]) - z[i]).abs().max() for i in range(8)) < 1e-5
    error = (source.decode(source.encode(measure.pictures(SHAPE))) - ENDS.centre(measure.pictures(SHAPE))).abs().max()
    if name != "autoencoder, fitted":
        assert source.exactness == pytest.approx(error.item(), abs=4e-3)  # half a bin
    assert source.exactness > 0.05
    again = pickle.loads(pickle.dumps(source))
    assert torch.equal(again.encode(x), z)
    assert again.fingerprint == source.fingerprint == SOURCES[name]().fingerprint
    assert again.decode(z).shape == (8, *SHAPE)


def test_mean_and_variance_are_those_of_the_posterior():
    source, x = SOURCES["autoencoder, variational"](), pictures(6)
    seen = x.flatten(1).double() / 255
    matrix = LOADINGS.double().T @ LOADINGS.double() / NOISE**2 + torch.eye(LATENT)
    mean = torch.linalg.solve(matrix, LOADINGS.double().T @ (seen - 0.5).T / NOISE**2).T
    torch.testing.assert_close(source.encode(x).double(), mean, atol=1e-4, rtol=0)
    variance = torch.linalg.inv(matrix).diagonal().float()
    torch.testing.assert_close(source.encode_variance(x), variance.expand(6, -1), atol=1e-6, rtol=1e-4)
    assert "variance" not in source.lacks
    assert len(source.encode_variance(x[:0])) == 0


@pytest.mark.parametrize("spread", autoencoder.SPREADS)
def test_a_spread_is_what_the_user_says_it_is(spread):
    variance = torch.tensor([0.5, 2.0, 1.0, 0.1])
    given = {"log_variance": variance.log(), "variance": variance, "deviation": variance.sqrt()}[spread]
    net = Linear()
    pair = (lambda x: (net.encode(x)[0], given.expand(len(x), -1)), net.eval().decode)
    source = autoencoder.adapt(pair, SHAPE, spread=spread)
    torch.testing.assert_close(source.encode_variance(pictures(2)), variance.expand(2, -1))
    drawn = (lambda x: Normal(net.encode(x)[0], variance.sqrt()), net.decode)
    torch.testing.assert_close(autoencoder.adapt(drawn, SHAPE).encode_variance(pictures(2)), variance.expand(2, -1))


def test_the_prior_is_fitted_to_reference_pictures_and_the_card_says_so():
    x = pictures(6000)
    source = autoencoder.adapt(Linear(), SHAPE, pixels=ENDS, reference=x, rank=LATENT - 1)
    z = source.encode(x).double()
    assert source.prior.is_standard
    torch.testing.assert_close(z.mean(0), torch.zeros(LATENT).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.T.cov(), torch.eye(LATENT).double(), atol=1e-4, rtol=0)
    plain = autoencoder.adapt(Linear(), SHAPE, pixels=ENDS)
    means, variance = plain.encode(x).double(), plain.encode_variance(x[:1])[0].double()
    # of pictures that the model itself makes, the means have variance 1 - the posterior's
    torch.testing.assert_close(means.var(0), 1 - 1 / PRECISION.double(), atol=0.06, rtol=0)
    jacobian = torch.linalg.lstsq((means - means.mean(0)), z).solution.T
    torch.testing.assert_close(
        source.encode_variance(x[:1])[0].double(), (jacobian.square() * variance).sum(1), atol=1e-5, rtol=1e-3
    )
    torch.testing.assert_close(
        source.decode(source.encode(x[:5])), plain.decode(plain.encode(x[:5])), atol=1e-5, rtol=0
    )
    assert "the Gaussian of the latents of 6000 reference pictures" in source.card["notes"][0]
    assert "largest error on 6000 reference pictures" in source.card["notes"][1]
    assumed = SOURCES["autoencoder, variational"]()
    assert assumed.prior.is_standard
    assert "assumed" in assumed.card["notes"][0]


def test_a_fit_keeps_every_variance_whatever_its_rank():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(200, 30, generator=generator) @ torch.randn(30, 30, generator=generator) + 3
    covariance = z.double().T.cov()
    errors = []
    for rank in (0, 3, 12, 29):
        fitted = Gaussian.of(*autoencoder._fit(z, rank)).covariance
        torch.testing.assert_close(fitted.variances(), covariance.diagonal())
        assert fitted.rank == rank
        errors.append((fitted.dense().matrix - covariance).norm())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-8 * errors[0]
    assert Gaussian.of(*autoencoder._fit(z, None)).covariance.rank == 20
    few = Gaussian.of(*autoencoder._fit(z[:5], 3))  # fewer pictures than numbers
    assert few.log_prob(z[:5]).isfinite().all()


def test_latents_that_are_never_used_keep_a_prior():
    z = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    z[:, 2] = 0.7
    fitted = Gaussian.of(*autoencoder._fit(z, None))
    assert fitted.mean[2] == pytest.approx(0.7)
    assert 0 < fitted.covariance.variances()[2] < 1e-5
    with pytest.raises(ValueError, match="latents differ"):
        autoencoder._fit(z[:1].expand(5, -1), None)


def test_a_plain_autoencoder_has_no_variance_and_latents_may_be_maps():
    source = SOURCES["autoencoder, plain"]()
    assert source.prior.dim == 2 * 20
    assert not hasattr(source, "encode_variance")
    assert "mean alone" in source.lacks["variance"]


def test_the_users_module_is_left_alone():
    net = convolutional()
    source = autoencoder.adapt(net, SHAPE, reference=pictures(20))
    assert net.training
    assert net.encoder[0].weight.requires_grad
    assert net.encoder[1].num_batches_tracked == 0
    z = source.encode(pictures(3))
    with torch.no_grad():
        net.encoder[0].weight.zero_()
    assert torch.equal(source.encode(pictures(3)), z)


def test_the_fingerprint_holds_weights_pixels_and_reference_pictures():
    net = Linear()
    sources = [
        autoencoder.adapt(net, SHAPE),
        autoencoder.adapt(net, SHAPE, pixels=ENDS),
        autoencoder.adapt(net, SHAPE, reference=pictures(20)),
        autoencoder.adapt(net, SHAPE, reference=pictures(30)),
        autoencoder.adapt(net, SHAPE, reference=pictures(20), rank=0),
    ]
    assert len({source.fingerprint for source in sources}) == 5
    assert autoencoder.adapt((net.encode, net.decode), SHAPE).fingerprint == sources[0].fingerprint
    loose = autoencoder.adapt((lambda x: x.flatten(1), lambda z: z), SHAPE)
    assert loose.fingerprint is None
    with pytest.raises(pickle.PicklingError, match="<lambda> for encode"):
        pickle.dumps(loose)
    assert "fingerprint" in loose.lacks


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Linear(2, 2), {}, "got Linear. Give a pair of functions"),
        ((lambda x: x + torch.rand_like(x), lambda z: z), {}, "Give the mean, not a draw"),
        ((lambda x: x - x.mean(0), lambda z: z), {}, "whatever its neighbours"),
        ((lambda x: (x, x, x), lambda z: z), {}, "got 3 results"),
        ((lambda x: (x, x[:, :, :2]), lambda z: z), {}, "of one shape"),
        ((lambda x: x / 0, lambda z: z), {}, "finite latents; got NaN or infinity from the model for picture 0"),
        ((lambda x: x, lambda z: z[..., :2]), {}, r"got \(3, 1, 4, 2\)"),
        (Linear(), {"spread": "sigma"}, "one of log_variance, variance, deviation; got sigma"),
        (Linear(), {"reference": torch.zeros(5, 1, 4, 4, dtype=torch.uint8)}, r"got torch.uint8 \(5, 1, 4, 4\)"),
        (Linear(), {"reference": pictures(1)}, "n of 2 or more"),
        (Linear(), {"reference": pictures(20), "rank": 4}, "rank of 0 to 3 for 20 reference pictures and D = 4; got 4"),
    ],
)  # fmt: skip
def test_bad_input_is_named(model, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        autoencoder.adapt(model, SHAPE, **options)
    assert "\n" not in str(raised.value)


def test_a_variance_below_zero_says_which_option_is_wrong():
    pair = (lambda x: (x, x - 0.5), lambda z: z)
    source = autoencoder.adapt(pair, SHAPE, spread="variance")
    with pytest.raises(ValueError, match=r"picture 1 of the batch.*spread="):
        source.encode_variance(torch.stack([torch.full(SHAPE, 255), torch.zeros(SHAPE)]).to(torch.uint8))


def test_variance_by_way_of_arrays():
    net = Linear().eval()

    def encode(x):
        mean, log_variance = net.encode(torch.from_numpy(x))
        return mean.detach().numpy(), log_variance.numpy()

    source = autoencoder.adapt(
        (encode, lambda z: net.decode(torch.from_numpy(z)).detach().numpy()), SHAPE, pixels=ENDS, arrays=True
    )
    tensors = SOURCES["autoencoder, variational"]()
    torch.testing.assert_close(source.encode(pictures(3)), tensors.encode(pictures(3)))
    torch.testing.assert_close(source.encode_variance(pictures(3)), tensors.encode_variance(pictures(3)))
    assert math.isfinite(source.exactness)
