"""torchflows' flows as sources."""

import copy
import threading

import pytest
import torch

import flow_laws as laws
from flow_laws import SIGNED, moved, seeded
from transflow.adapters import measure
from transflow.adapters.torchflows import adapt

pytest.importorskip("torchflows")

from torchflows.base_distributions.gaussian import DiagonalGaussian
from torchflows.base_distributions.mixture import DiagonalGaussianMixture
from torchflows.bijections.base import BijectiveComposition, invert
from torchflows.bijections.continuous.ffjord import FFJORD
from torchflows.bijections.continuous.rnode import RNODE
from torchflows.bijections.finite.autoregressive import architectures as flat
from torchflows.bijections.finite.multiscale import architectures as multiscale
from torchflows.bijections.finite.residual import architectures as residual
from torchflows.flows import Flow, FlowMixture

pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence for multi:UserWarning")
SHAPE, LARGE, D = (1, 4, 4), (1, 4, 4), 16


def learned_base():
    base = DiagonalGaussian(torch.randn(D), torch.rand(D) + 0.5, trainable_loc=True, trainable_scale=True)
    return Flow(flat.NICE((D,)), base_distribution=base)


FLOWS = {
    "nice": (SHAPE, lambda: Flow(flat.NICE((D,)))),
    "real nvp": (SHAPE, lambda: Flow(flat.RealNVP((D,)))),
    "maf": (SHAPE, lambda: Flow(flat.MAF((D,)))),
    "iaf": (SHAPE, lambda: Flow(flat.IAF((D,)))),
    "spline": (SHAPE, lambda: Flow(flat.CouplingRQNSF((D,)))),
    "learned base": (SHAPE, learned_base),
    "multi-scale nice": (LARGE, lambda: Flow(multiscale.MultiscaleNICE(LARGE))),
    "multi-scale real nvp": (LARGE, lambda: Flow(multiscale.MultiscaleRealNVP(LARGE))),
}
GLOWS = {
    "affine glow": (LARGE, lambda: Flow(multiscale.AffineGlow(LARGE))),
}
CONTINUOUS = {
    "ffjord": (SHAPE, lambda: Flow(FFJORD((D,)))),
    "rnode": (SHAPE, lambda: Flow(RNODE((D,)))),
}
ALL = FLOWS | GLOWS | CONTINUOUS


def flow_of(name):
    shape, make = ALL[name]
    return shape, moved(seeded(make))


def source_of(name):
    shape, flow = flow_of(name)
    return adapt(flow, shape, pixels=SIGNED)


SOURCES = {name: lambda name=name: source_of(name) for name in ALL}


@pytest.mark.parametrize("name", ALL)
def test_laws(name):
    source = source_of(name)
    laws.obeys(source, tolerance=1e-3, density_tolerance=None)
    laws.pickles(source)


@pytest.mark.parametrize("name", FLOWS)
def test_density_is_the_librarys(name):
    shape, flow = flow_of(name)
    source = adapt(flow.double(), shape, pixels=SIGNED)
    laws.density_is_the_librarys(source, lambda x: flow.log_prob(x.reshape(-1, *flow.event_shape)))
    assert source.exactness < 1e-9
    assert measure.density_error(source) < 1e-9


@pytest.mark.parametrize("name", GLOWS)
def test_the_log_determinant_of_convolutions_is_put_right(name):
    shape, flow = flow_of(name)
    flow.double()
    source = adapt(flow, shape, pixels=SIGNED)
    assert measure.density_error(source) < 1e-9
    x = SIGNED.centre(measure.pictures(shape)).double()
    ours = source.encode_and_log_prob(measure.pictures(shape))[1] - SIGNED.log_det(x)
    with torch.no_grad():
        assert (ours - flow.log_prob(x)).abs().min() > 0.1  # it leaves the factor H W out
    assert "H W" in source.card["notes"][0]


def test_the_log_determinant_of_inverted_convolutions_too():
    shape, flow = flow_of("affine glow")
    flow.double()
    turned = 0
    for layer in flow.bijection.modules():
        if type(layer).__name__ == "Invertible1x1ConvolutionalCoupling":
            invert(layer)
            turned += 1
    assert turned
    assert measure.density_error(adapt(flow, shape, pixels=SIGNED)) < 1e-9


def test_a_swapped_bijection_is_read_anew():
    shape, flow = flow_of("real nvp")
    x = measure.pictures(shape)
    before = adapt(flow, shape, pixels=SIGNED).encode(x)
    other = Flow(invert(BijectiveComposition([flow.bijection])))
    source = adapt(other.eval(), shape, pixels=SIGNED)
    laws.obeys(source, tolerance=1e-3)
    assert (source.encode(x) - before).abs().max() > 1e-2


@pytest.mark.parametrize("name", CONTINUOUS)
def test_random_traces_give_no_density_and_the_same_probes_each_time(name):
    source = source_of(name)
    assert "random" in source.lacks["score"]
    x = SIGNED.centre(measure.pictures(SHAPE))
    found = []
    for seed in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            found.append(source.bijection._run("forward", x)[1])
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", ["InvertibleResNet", "ResFlow", "ProximalResFlow"])
def test_residual_flows_are_refused(kind):
    with pytest.raises(ValueError, match=r"Block at bijection\.layers\.1.*errs by 0\.1"):
        adapt(Flow(getattr(residual, kind)((D,))), SHAPE)


@pytest.mark.parametrize("kind", ["PlanarBijection", "RadialBijection", "SylvesterBijection"])
def test_layers_of_one_direction_are_refused(kind):
    with pytest.raises(ValueError, match="both ways"):
        adapt(Flow(getattr(residual, kind)((D,))), SHAPE)


def test_mixtures_other_bases_and_other_sizes_are_refused():
    with pytest.raises(ValueError, match="FlowMixture"):
        adapt(FlowMixture([Flow(flat.NICE((D,))), Flow(flat.NICE((D,)))]), SHAPE)
    base = DiagonalGaussianMixture(torch.zeros(2, D), torch.ones(2, D))
    with pytest.raises(ValueError, match="got DiagonalGaussianMixture"):
        adapt(Flow(flat.NICE((D,)), base_distribution=base), SHAPE)
    with pytest.raises(ValueError, match=r"over \(3, 4, 4\) or \(48,\)"):
        adapt(flow_of("nice")[1], (3, 4, 4))


def test_fingerprint_and_the_users_module():
    laws.fingerprint_follows_the_map(adapt, flow_of("nice")[1], SHAPE)
    laws.leaves_the_module_alone(adapt, flow_of("real nvp")[1], SHAPE)
    _, flow = flow_of("multi-scale nice")
    with torch.no_grad():
        flow.train().log_prob(torch.rand(4, *LARGE))  # its ActNorm takes its scale, and a flag that is not saved falls
    loaded = Flow(multiscale.MultiscaleNICE(LARGE))
    loaded.load_state_dict(copy.deepcopy(flow.state_dict()))
    one, two = (adapt(model, LARGE, pixels=SIGNED) for model in (flow, loaded.train()))
    assert one.fingerprint == two.fingerprint
    assert torch.equal(one.encode(measure.pictures(LARGE)), two.encode(measure.pictures(LARGE)))


def test_a_conditional_flow_wants_its_context_and_holds_it():
    flow = moved(seeded(lambda: Flow(flat.RealNVP((D,), context_shape=(3,))))).double()
    with pytest.raises(ValueError, match=r"a context of \(3,\); got none"):
        adapt(flow, SHAPE, pixels=SIGNED)
    context = torch.tensor([0.5, -1.0, 2.0])
    source = adapt(flow, SHAPE, pixels=SIGNED, context=context)
    laws.obeys(source)
    held = context.double()
    laws.density_is_the_librarys(source, lambda x: flow.log_prob(x.flatten(1), context=held.expand(len(x), 3)))
    assert adapt(flow, SHAPE, pixels=SIGNED, context=-context).fingerprint != source.fingerprint
    with pytest.raises(ValueError, match="Leave context= out"):
        adapt(flow_of("nice")[1], SHAPE, context=context)


def test_its_probes_are_of_our_own_generator_in_every_thread():
    """Another thread draws beside it what it draws alone; the bits are those of a seed of the global generator."""
    source = SOURCES["ffjord"]()
    pictures = measure.pictures(source.shape)
    done, latents = threading.Event(), []

    def work():
        latents.extend(source.encode(pictures) for _ in range(3))
        done.set()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        thread = threading.Thread(target=work)
        thread.start()
        drawn = []
        while not done.is_set():
            drawn.append(torch.rand(1).item())
        thread.join()
        torch.manual_seed(0)
        assert drawn == torch.stack([torch.rand(1) for _ in drawn]).flatten().tolist()
    for other in (torch.inference_mode, torch.no_grad):
        with other():
            assert torch.equal(source.encode(pictures), latents[0])
    assert torch.equal(latents[0], latents[1])
    assert torch.equal(latents[0], latents[2])
