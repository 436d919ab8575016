"""nflows' flows as sources."""

import pytest
import torch

import flow_laws as laws
from flow_laws import SIGNED, moved, seeded
from transflow.adapters import measure
from transflow.adapters.nflows import adapt
from transflow.pictures.pixels import PixelFormat

pytest.importorskip("nflows")
pytest.importorskip("nflows.flows", exc_type=ImportError)  # it needs matplotlib

from nflows import distributions, flows, transforms
from nflows.nn import nets

pytestmark = pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated:UserWarning")
SHAPE, LARGE, D = (1, 4, 4), (1, 8, 8), 16
MASK = torch.arange(D) % 2


def dense(inputs, outputs):
    return nets.ResidualNet(inputs, outputs, hidden_features=16)


def convolutional(inputs, outputs):
    return nets.ConvResidualNet(inputs, outputs, hidden_channels=8, num_blocks=1)


def standard(*steps, base=None):
    return flows.Flow(transforms.CompositeTransform(list(steps)), base or distributions.StandardNormal((D,)))


def spline(**options):
    return transforms.PiecewiseRationalQuadraticCouplingTransform(MASK, dense, **options)


def glow(trained=True):
    def step(channels):
        mask = torch.arange(channels) % 2
        coupling = transforms.AffineCouplingTransform(mask, convolutional)
        return [transforms.ActNorm(channels), transforms.OneByOneConvolution(channels), coupling]

    many = transforms.MultiscaleCompositeTransform(2)
    many.add_transform(transforms.CompositeTransform([transforms.SqueezeTransform(), *step(4)]), (4, 4, 4))
    many.add_transform(transforms.CompositeTransform([transforms.SqueezeTransform(), *step(8)]), (8, 2, 2))
    flow = flows.Flow(many, distributions.StandardNormal((64,)))
    if trained:
        with torch.no_grad():
            flow.train().log_prob(torch.rand(32, *LARGE))
    return flow


def normalised(trained=True):
    flow = flows.SimpleRealNVP(D, 16, 2, 1, batch_norm_between_layers=True)
    if trained:
        with torch.no_grad():
            for _ in range(30):
                flow.train().log_prob(2 * torch.rand(64, D) - 1)
    return flow


FLOWS = {
    "maf": (SHAPE, lambda: flows.MaskedAutoregressiveFlow(D, 16, 2, 1)),
    "real nvp with batch norm": (SHAPE, normalised),
    "spline coupling": (SHAPE, lambda: standard(spline(tails="linear", tail_bound=3.0), transforms.LULinear(D))),
    "learned base": (SHAPE, lambda: standard(transforms.LULinear(D), base=distributions.DiagonalNormal((D,)))),
    "pictures": (
        SHAPE,
        lambda: flows.Flow(
            transforms.CompositeTransform([transforms.SqueezeTransform(), transforms.OneByOneConvolution(4)]),
            distributions.StandardNormal((4, 2, 2)),
        ),
    ),
    "multi-scale glow": (LARGE, glow),
}


def flow_of(name):
    shape, make = FLOWS[name]
    return shape, moved(seeded(make))


def source_of(name):
    shape, flow = flow_of(name)
    return adapt(flow, shape, pixels=SIGNED)


SOURCES = {name: lambda name=name: source_of(name) for name in FLOWS}


@pytest.mark.parametrize("name", FLOWS)
def test_laws(name):
    source = source_of(name)
    laws.obeys(source, tolerance=1e-3)
    laws.pickles(source)


@pytest.mark.parametrize("name", FLOWS)
def test_density_is_the_librarys(name):
    shape, flow = flow_of(name)
    source = adapt(flow.double(), shape, pixels=SIGNED)
    laws.density_is_the_librarys(source, lambda x: flow.log_prob(x.reshape(-1, *source.bijection.event)))
    assert source.exactness < 1e-9
    assert measure.density_error(source) < 1e-9


def test_levels_are_finest_first():
    source = source_of("multi-scale glow")
    assert source.level_sizes == (32, 32)
    assert source_of("maf").level_sizes is None
    _, flow = flow_of("multi-scale glow")
    first = flow._transform._transforms[0]
    x = source.pixels.centre(measure.pictures(LARGE))
    with torch.no_grad():
        fine = first(x)[0][:, :2].flatten(1)  # half of the channels leave after the first level
    torch.testing.assert_close(source.encode(measure.pictures(LARGE))[:, :32], fine)


def test_fingerprint_and_the_users_module():
    laws.fingerprint_follows_the_map(adapt, flow_of("spline coupling")[1], SHAPE)
    laws.leaves_the_module_alone(adapt, flow_of("real nvp with batch norm")[1], SHAPE)
    wider = moved(seeded(lambda: standard(spline(tails="linear", tail_bound=4.0), transforms.LULinear(D))))
    assert adapt(wider, SHAPE, pixels=SIGNED).fingerprint != source_of("spline coupling").fingerprint


def test_untrained_normalisations_are_refused():
    with pytest.raises(ValueError, match="has seen no batch"):
        adapt(seeded(lambda: glow(trained=False)), LARGE)
    with pytest.raises(ValueError, match="has seen no batch"):
        adapt(seeded(lambda: normalised(trained=False)), SHAPE)


def test_pixels_outside_a_spline_are_named_with_their_range():
    flow = moved(seeded(lambda: standard(spline(tails=None), base=distributions.StandardNormal((D,)))))
    with pytest.raises(ValueError, match=r"picture 1 of the batch, -0\.0979 to -0\.0979, outside.*pixels="):
        adapt(flow, SHAPE, pixels=PixelFormat(bits=8, low=-0.1, high=1.0))
    uniform = distributions.uniform.BoxUniform(torch.zeros(D), torch.ones(D))
    flow = moved(seeded(lambda: standard(spline(tails=None), base=uniform)))
    source = adapt(flow, SHAPE)
    laws.obeys(source)
    assert "uniform" in source.card["notes"][0]


def test_a_spline_that_is_not_inverted_is_tried_in_double_for_that_latent_alone(monkeypatch):
    source = source_of("spline coupling")
    z = source.encode(measure.pictures(SHAPE))
    right = source.decode_unclamped(z)
    inverse = transforms.CompositeTransform.inverse
    calls = []

    def failing(self, inputs, context=None):
        calls.append((len(inputs), inputs.dtype))
        assert inputs.dtype == torch.float64 or (inputs[:, 0] != z[1, 0]).all()
        return inverse(self, inputs, context)

    monkeypatch.setattr(transforms.CompositeTransform, "inverse", failing)
    back = source.decode_unclamped(z)
    torch.testing.assert_close(back, right, rtol=0, atol=1e-4)
    assert torch.equal(back[0], source.decode_unclamped(z[:1])[0])  # its neighbours stay in single precision
    assert (1, torch.float64) in calls
    assert (3, torch.float64) not in calls

    def never(self, inputs, context=None):
        assert (inputs[:, 0].float() != z[1, 0]).all()
        return inverse(self, inputs, context)

    monkeypatch.setattr(transforms.CompositeTransform, "inverse", never)
    with pytest.raises(ValueError, match="can be inverted; got none for latent 1 of the batch"):
        source.decode(z)


def test_a_clamping_sigmoid_is_in_the_card():
    flow = moved(seeded(lambda: standard(transforms.Logit(), transforms.LULinear(D))))
    source = adapt(flow, SHAPE)
    laws.obeys(source)
    assert "13.8" in source.card["notes"][0]


def test_a_stale_cache_is_not_used():
    flow = flow_of("learned base")[1]
    layer = flow._transform._transforms[0]
    with torch.no_grad():
        layer.use_cache(True)
        flow.log_prob(torch.zeros(1, D))
        layer.lower_entries += 0.5
        source = adapt(flow, SHAPE, pixels=SIGNED)
        layer.use_cache(False)
        laws.density_is_the_librarys(source, lambda x: flow.log_prob(x.flatten(1)), tolerance=1e-4)


def test_a_conditional_flow_wants_its_context_and_holds_it():
    def conditional(base):
        steps = [transforms.MaskedAffineAutoregressiveTransform(D, 16, context_features=2)]
        return flows.Flow(transforms.CompositeTransform(steps), base, embedding_net=torch.nn.Linear(3, 2))

    base = distributions.ConditionalDiagonalNormal((D,), torch.nn.Linear(2, 2 * D))
    flow = moved(seeded(lambda: conditional(base))).double()
    context = torch.tensor([0.5, -1.0, 2.0])
    source = adapt(flow, SHAPE, pixels=SIGNED, context=context)
    laws.obeys(source)
    laws.density_is_the_librarys(
        source, lambda x: flow.log_prob(x.flatten(1), context.double().expand(len(x), 3)), tolerance=1e-9
    )
    assert adapt(flow, SHAPE, pixels=SIGNED, context=-context).fingerprint != source.fingerprint
    silent = moved(seeded(lambda: conditional(distributions.StandardNormal((D,)))))  # goes on without, in silence
    coupled = standard(
        transforms.AffineCouplingTransform(MASK, lambda i, o: nets.ResidualNet(i, o, 16, context_features=3))
    )
    by_base = standard(transforms.LULinear(D), base=base)
    for flow in (silent, coupled, by_base):
        with pytest.raises(ValueError, match=r"[Gg]ive context="):
            adapt(flow, SHAPE, pixels=SIGNED)


def test_other_bases_and_sizes_are_refused():
    mixture = standard(transforms.LULinear(D), base=distributions.MADEMoG(D, 16, None))
    with pytest.raises(ValueError, match="got MADEMoG"):
        adapt(mixture, SHAPE)
    shuffled = distributions.uniform.MG1Uniform(torch.zeros(3), torch.ones(3))  # a Uniform with another density
    with pytest.raises(ValueError, match="got MG1Uniform"):
        adapt(standard(transforms.LULinear(3), base=shuffled), (3, 1, 1))
    with pytest.raises(ValueError, match=r"over 48 numbers"):
        adapt(flow_of("maf")[1], (3, 4, 4))
    with pytest.raises(ValueError, match="takes pictures of"):
        adapt(flow_of("multi-scale glow")[1], (4, 4, 4))
