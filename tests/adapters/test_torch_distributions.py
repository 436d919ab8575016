"""torch.distributions as sources."""

import copy

import pytest
import torch
from torch import distributions as td
from torch import nn
from torch.distributions import constraints
from torch.distributions import transforms as tt

import flow_laws as laws
from flow_laws import SIGNED
from transflow.adapters import measure
from transflow.adapters.torch_distributions import adapt
from transflow.pictures.pixels import PixelFormat

SHAPE, D = (1, 4, 4), 16
UNIT = PixelFormat(bits=8, low=0.0, high=1.0)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def normal(*shape):
    return td.Independent(td.Normal(draw(*shape), draw(*shape, seed=1).exp()), len(shape))


def dense():
    factor = draw(D, D).tril(-1) * 0.1 + torch.eye(D)
    return td.MultivariateNormal(draw(D), scale_tril=factor)


@pytest.fixture(params=["_InverseTransform", "Inverse"])
def name_of_inverses(request):
    """Importing zuko renames a class of torch."""
    before = tt._InverseTransform.__name__
    tt._InverseTransform.__name__ = request.param
    yield
    tt._InverseTransform.__name__ = before


class Mixing(tt.Transform):
    """A triangular linear layer, as users' own transforms hold networks of single precision."""

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(D, D)
        with torch.no_grad():
            self.layer.weight.copy_((draw(D, D).tril(-1) * 0.1 + 2 * torch.eye(D)).float())

    def _call(self, x):
        return self.layer(x)

    def _inverse(self, y):
        return torch.linalg.solve(self.layer.weight, (y - self.layer.bias).T).T

    def log_abs_det_jacobian(self, x, y):
        return self.layer.weight.diagonal().abs().log().sum().expand(len(x))


DISTRIBUTIONS = {
    "sigmoid": (UNIT, lambda: td.TransformedDistribution(normal(D), [tt.SigmoidTransform()])),
    "tanh of pictures": (
        SIGNED,
        lambda: td.TransformedDistribution(normal(*SHAPE), [tt.AffineTransform(0.1, 2.0), tt.TanhTransform()]),
    ),
    "reshaped": (
        UNIT,
        lambda: td.TransformedDistribution(normal(D), [tt.ReshapeTransform((D,), (4, 4)), tt.SigmoidTransform()]),
    ),
    "dense base": (UNIT, lambda: td.TransformedDistribution(dense(), [tt.SigmoidTransform()])),
    "a batch for a picture": (
        UNIT,
        lambda: td.TransformedDistribution(td.Normal(draw(*SHAPE), 0.5), [tt.SigmoidTransform()]),
    ),
    "log-normal": (UNIT, lambda: td.LogNormal(draw(D), 1.0)),
    "a transformed base": (
        UNIT,
        lambda: td.TransformedDistribution(
            td.Independent(td.LogNormal(draw(D), 1.0), 1), [tt.AffineTransform(-1.0, 2.0)]
        ),
    ),
    "inverses and compositions": (
        SIGNED,
        lambda: td.TransformedDistribution(
            normal(D),
            [
                tt.ComposeTransform([tt.SigmoidTransform(), tt.AffineTransform(0.0, 0.5)]),
                tt.ComposeTransform([tt.SigmoidTransform(), tt.AffineTransform(0.0, 0.5)]).inv,
                tt.IndependentTransform(tt.TanhTransform(), 1),
            ],
        ),
    ),
    "a network": (SIGNED, lambda: td.TransformedDistribution(normal(D), [Mixing()])),
    "uniform": (
        SIGNED,
        lambda: td.TransformedDistribution(
            td.Uniform(torch.zeros(D).double(), torch.ones(D).double()), [tt.AffineTransform(-1.0, 2.0)]
        ),
    ),
}


def made(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DISTRIBUTIONS[name][1]()


SOURCES = {name: lambda name=name: adapt(made(name), SHAPE, pixels=DISTRIBUTIONS[name][0]) for name in DISTRIBUTIONS}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_laws(name):
    source = SOURCES[name]()
    laws.obeys(source, tolerance=1e-9, density_tolerance=1e-9)
    laws.pickles(source)
    assert source.fingerprint == SOURCES[name]().fingerprint


@pytest.mark.parametrize("name", [name for name in DISTRIBUTIONS if name != "a network"])
def test_density_is_torchs(name):
    distribution = made(name)
    own = distribution.batch_shape + distribution.event_shape

    def log_prob(x):
        found = distribution.log_prob(x.view(-1, *own))
        return found.flatten(1).sum(1) if found.ndim > 1 else found

    laws.density_is_the_librarys(SOURCES[name](), log_prob)


@pytest.mark.usefixtures("name_of_inverses")
def test_inverses_are_known_by_either_name():
    source = SOURCES["inverses and compositions"]()
    assert [step.turned for step in source.bijection.steps] == [False, False, True, True, False]


def test_every_parameter_and_option_is_in_the_fingerprint():
    def made_of(scale, kind=tt.SigmoidTransform, mean=0.0):
        base = td.Independent(td.Normal(torch.full((D,), mean), torch.ones(D)), 1)
        return adapt(td.TransformedDistribution(base, [tt.AffineTransform(0.0, scale), kind()]), SHAPE).fingerprint

    found = {made_of(1.0), made_of(2.0), made_of(1.0, tt.TanhTransform), made_of(1.0, mean=0.5)}
    assert len(found) == 4
    assert made_of(2.0) in found
    assert (
        SOURCES["a network"]().fingerprint
        != adapt(td.TransformedDistribution(normal(D), [Mixing()]), SHAPE, pixels=SIGNED).fingerprint
    )  # another bias was drawn


def test_a_cache_hides_no_error():
    class Wrong(tt.TanhTransform):
        def _inverse(self, y):
            return y.clamp(-0.5, 0.5).atanh()

    hidden = td.TransformedDistribution(normal(D), [Wrong(cache_size=1)])
    z = torch.full((1, D), 2.0)
    assert hidden.transforms[0].inv(hidden.transforms[0](z)) is z
    with pytest.raises(ValueError, match="whose decode undoes its encode"):
        adapt(hidden, SHAPE, pixels=SIGNED)
    assert hidden.transforms[0]._cache_size == 1  # the user's own is left as it was
    source = adapt(td.TransformedDistribution(normal(D), [tt.TanhTransform(cache_size=1)]), SHAPE, pixels=SIGNED)
    laws.obeys(source)
    assert source.bijection.steps[0].transform._cached_x_y == (None, None)


@pytest.mark.parametrize("kind", ["AbsTransform", "SoftmaxTransform"])
def test_transforms_that_are_no_bijections_are_refused(kind):
    with pytest.raises(ValueError, match=f"got {kind}, which is none"):
        adapt(td.TransformedDistribution(normal(D), [getattr(tt, kind)()]), SHAPE)


def test_transforms_that_change_the_size_are_refused():
    with pytest.raises(ValueError, match="got StickBreakingTransform"):
        adapt(td.TransformedDistribution(normal(D - 1), [tt.StickBreakingTransform()]), SHAPE)


def test_other_bases_and_sizes_are_refused():
    student = td.TransformedDistribution(td.StudentT(torch.full((D,), 3.0)), [tt.SigmoidTransform()])
    with pytest.raises(ValueError, match="got StudentT"):
        adapt(student, SHAPE)
    with pytest.raises(ValueError, match=r"got one over \(\).*expand"):
        adapt(td.TransformedDistribution(td.Normal(0.0, 1.0), [tt.SigmoidTransform()]), SHAPE)
    broken = copy.deepcopy(td.TransformedDistribution(normal(D), [tt.SigmoidTransform().inv]))
    with pytest.raises(ValueError, match="lost its transform"):
        adapt(broken, SHAPE)


def test_pixels_at_the_ends_of_the_support_are_shrunk_and_those_beyond_refused():
    ends = PixelFormat(bits=8, low=0.0, high=1.0, ends=True)
    distribution = made("sigmoid")
    source = adapt(distribution, SHAPE, pixels=ends)
    assert "half a bin" in source.card["notes"][0]
    laws.obeys(source)
    assert source.encode(measure.pictures(SHAPE)).abs().max() < 100  # the logit of 0 would be -708, cut off
    with pytest.raises(ValueError, match="in the support, 0 to 1; got -1 to 1"):
        adapt(distribution, SHAPE, pixels=SIGNED)
    inside = adapt(made("tanh of pictures"), SHAPE, pixels=PixelFormat(bits=8, low=-0.9, high=0.9, ends=True))
    assert not inside.card["notes"]


def test_a_saturated_tanh_comes_back_in_double():
    source = SOURCES["tanh of pictures"]()
    z = torch.full((1, D), 2.0)  # tanh of 9 and more in places
    assert source.bijection.steps[0].to_x(source.base.restore(z)).max() > 9
    with torch.no_grad():
        back = source.forward(source.inverse(z))[0]
    torch.testing.assert_close(back, z.double(), rtol=0, atol=1e-2)
