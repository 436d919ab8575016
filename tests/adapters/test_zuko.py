"""zuko's flows as sources."""

import pytest
import torch
from torch.distributions import Distribution

import flow_laws as laws
from flow_laws import SIGNED, moved, seeded
from transflow.adapters import measure
from transflow.adapters.zuko import adapt
from transflow.pictures.pixels import PixelFormat

validates = Distribution._validate_args
zuko = pytest.importorskip("zuko")
Distribution._validate_args = validates  # importing zuko switches it off, for all other tests too

SHAPE, D = (1, 4, 4), 16
HIDDEN = {"hidden_features": (32,)}

FLOWS = {
    "maf": lambda: zuko.flows.MAF(D, transforms=2, **HIDDEN),
    "nsf": lambda: zuko.flows.NSF(D, transforms=2, **HIDDEN),
    "nsf coupling": lambda: zuko.flows.NSF(D, transforms=2, passes=2, **HIDDEN),
    "nice": lambda: zuko.flows.NICE(D, transforms=3, **HIDDEN),
    "real nvp": lambda: zuko.flows.RealNVP(D, transforms=3, **HIDDEN),
    "bpf": lambda: zuko.flows.BPF(4, transforms=1, **HIDDEN),
    "naf": lambda: zuko.flows.NAF(4, transforms=1, **HIDDEN),
    "sospf": lambda: zuko.flows.SOSPF(4, transforms=1, **HIDDEN),
    "ncsf": lambda: zuko.flows.NCSF(D, transforms=2, **HIDDEN),
    "learned base": lambda: zuko.flows.Flow(
        zuko.flows.NICE(D, transforms=2, **HIDDEN).transform,
        zuko.lazy.UnconditionalDistribution(zuko.distributions.DiagNormal, torch.randn(D), torch.rand(D) + 0.5),
    ),
}
SMALL = ("bpf", "naf", "sospf")  # their inverses are found by bisection, slowly
FAST = [name for name in FLOWS if name not in SMALL]


def flow_of(name):
    return moved(seeded(FLOWS[name]))


SOURCES = {name: lambda name=name: adapt(flow_of(name), SHAPE, pixels=SIGNED) for name in FAST}


@pytest.mark.parametrize("name", FLOWS)
def test_laws(name):
    source = adapt(flow_of(name), (1, 2, 2) if name in SMALL else SHAPE, pixels=SIGNED)
    laws.obeys(source)
    laws.pickles(source)


@pytest.mark.parametrize("name", FAST)
def test_density_is_the_librarys(name):
    flow = flow_of(name).double()
    source = adapt(flow, SHAPE, pixels=SIGNED)
    laws.density_is_the_librarys(source, lambda x: flow().log_prob(x.flatten(1)))
    assert source.exactness < 1e-12


def test_fingerprint_and_the_users_module():
    laws.fingerprint_follows_the_map(adapt, flow_of("nice"), SHAPE)
    laws.leaves_the_module_alone(adapt, flow_of("real nvp"), SHAPE)
    wider = moved(seeded(lambda: zuko.flows.NCSF(D, transforms=2, slope=1e-2, **HIDDEN)))  # the same weights
    assert adapt(wider, SHAPE, pixels=SIGNED).fingerprint != SOURCES["ncsf"]().fingerprint


def test_a_conditional_flow_wants_its_context_and_holds_it():
    flow = moved(seeded(lambda: zuko.flows.MAF(D, context=3, transforms=2, **HIDDEN))).double()
    with pytest.raises(ValueError, match="Give context="):
        adapt(flow, SHAPE, pixels=SIGNED)
    context = torch.tensor([0.5, -1.0, 2.0])
    with pytest.raises(ValueError, match="got 2 numbers"):
        adapt(flow, SHAPE, pixels=SIGNED, context=context[:2])
    source = adapt(flow, SHAPE, pixels=SIGNED, context=context)
    laws.obeys(source)
    laws.density_is_the_librarys(source, lambda x: flow(context.double().expand(len(x), 3)).log_prob(x.flatten(1)))
    other = adapt(flow, SHAPE, pixels=SIGNED, context=-context)
    assert other.fingerprint != source.fingerprint
    x = measure.pictures(SHAPE)
    assert (other.encode(x) - source.encode(x)).abs().max() > 1e-3


def test_the_distribution_that_a_flow_builds_works_too():
    flow = flow_of("nsf coupling").double()
    with torch.no_grad():
        distribution = flow()
    source = adapt(distribution, SHAPE, pixels=SIGNED)
    x = measure.pictures(SHAPE)
    torch.testing.assert_close(source.encode(x), adapt(flow, SHAPE, pixels=SIGNED).encode(x))
    assert source.fingerprint is None
    assert "give the zuko.Flow" in source.lacks["fingerprint"]


def test_an_inverse_that_clips_is_refused_with_its_error_and_let_in_as_inexact():
    flow = moved(seeded(lambda: zuko.flows.GF(D)))
    with pytest.raises(ValueError, match=r"got an error of [0-9.]+ on a standard normal latent.*inexact=True"):
        adapt(flow, SHAPE, pixels=SIGNED)
    assert adapt(flow, SHAPE, pixels=SIGNED, inexact=True).exactness < 1e-3


def test_a_sum_of_squares_flow_is_refused_where_its_search_ends():
    flow = seeded(lambda: zuko.flows.SOSPF(D, degree=1, polynomials=1, transforms=1, **HIDDEN)).eval()
    with torch.no_grad():
        last = flow.transform.transforms[0].hyper[-1]
        last.weight.zero_()
        last.bias.copy_(torch.tensor([-0.9, 0.0, 0.0]).repeat(D))  # slope 0.01: of normal latents all is beyond 10
    with pytest.raises(ValueError, match="clipped or not found"):
        adapt(flow, SHAPE, pixels=SIGNED)


def test_a_uniform_base_is_mapped_in_double_and_the_card_says_so():
    source = SOURCES["ncsf"]()
    assert source.precision == "float64"
    assert "uniform" in source.card["notes"][0]
    for pixels in (PixelFormat(bits=8, low=-4.0, high=4.0), PixelFormat(bits=8, low=0.0, high=1.0, logit=0.05)):
        with pytest.raises(ValueError, match=r"in \[-pi, pi\)"):
            adapt(flow_of("ncsf"), SHAPE, pixels=pixels)


def test_a_continuous_flow_has_a_density_only_with_exact_traces():
    def flow(exact):
        return moved(seeded(lambda: zuko.flows.CNF(2, exact=exact, **HIDDEN)))

    exact = adapt(flow(True), (1, 1, 2), pixels=SIGNED)
    laws.obeys(exact, density_tolerance=1e-3)  # its trace is integrated with a looser tolerance
    noisy = adapt(flow(False), (1, 1, 2), pixels=SIGNED)
    laws.obeys(noisy)
    assert "random" in noisy.lacks["score"]


def test_a_slow_decoder_is_not_tried_and_named():
    flow = moved(seeded(lambda: zuko.flows.MAF(1024, transforms=1, hidden_features=(8,))))
    with pytest.warns(UserWarning, match=r"about 1024 passes .*passes=2"):
        source = adapt(flow, (1, 32, 32), pixels=SIGNED)
    assert source.exactness is None
    assert "exactness" in source.lacks
    assert adapt(moved(zuko.flows.NICE(1024, **HIDDEN)), (1, 32, 32), pixels=SIGNED).exactness < 1e-4


def test_other_sizes_and_bases_are_refused():
    with pytest.raises(ValueError, match="over 48 numbers"):
        adapt(flow_of("nice"), (3, 4, 4))
    with pytest.raises(ValueError, match="Expected a shape of"):
        adapt(flow_of("nice"), (16,))
    base = zuko.lazy.UnconditionalDistribution(torch.distributions.StudentT, torch.full((D,), 3.0))
    flow = zuko.flows.Flow(zuko.flows.NICE(D, **HIDDEN).transform, base)
    with pytest.raises(ValueError, match="got StudentT"):
        adapt(flow, SHAPE)
