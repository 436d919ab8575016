"""normflows' flows as sources."""

import copy

import pytest
import torch

import flow_laws as laws
from flow_laws import SIGNED, moved, seeded
from transflow.adapters import measure
from transflow.adapters.normflows import adapt

nf = pytest.importorskip("normflows")
pytestmark = pytest.mark.filterwarnings("ignore:torch.lu is deprecated:UserWarning")

SHAPE, LARGE, D = (1, 4, 4), (3, 8, 8), 16
BASES = {
    "glow": lambda size, classes: nf.distributions.GlowBase(size, num_classes=classes),
    "diagonal": lambda size, classes: nf.distributions.DiagGaussian(size),
    "by class": lambda size, classes: nf.distributions.ClassCondDiagGaussian(size, classes),
    "affine": lambda size, classes: nf.distributions.AffineGaussian(size, (size[0], 1, 1), classes),
}


def glow(base="glow", classes=None, shape=LARGE, transform=None, split="channel", fresh=False, levels=2):
    """As normflows' own example of Glow builds it."""
    channels, height, width = shape
    bases, merges, flows = [], [], []
    for level in range(levels):
        wide = channels * 2 ** (levels + 1 - level)
        blocks = [nf.flows.GlowBlock(wide, 8, split_mode=split, scale=True) for _ in range(2)]
        flows.append([*blocks, nf.flows.Squeeze()])
        if level:
            merges.append(nf.flows.Merge())
        smaller = 2 ** (levels - level)
        size = (wide // (1 + bool(level)), height // smaller, width // smaller)
        bases.append(BASES[base](size, classes))
    flow = nf.MultiscaleFlow(bases, flows, merges, transform=transform, class_cond=classes is not None)
    if not fresh:
        with torch.no_grad():
            flow.log_prob(torch.rand(16, *shape), None if classes is None else torch.zeros(16, dtype=torch.long))
    return flow


def layers(*kinds):
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(D), [kind() for kind in kinds])


def spline():
    return nf.flows.CoupledRationalQuadraticSpline(D, 1, 16)


def autoregressive():
    return nf.flows.MaskedAffineAutoregressive(D, 16)


def residual():
    net = nf.nets.LipschitzMLP([D, 16, D], init_zeros=False, lipschitz_const=0.9)
    return nf.flows.Residual(net)


def coupling():
    mask = torch.arange(D) % 2
    net = [nf.nets.MLP([D, 16, D]) for _ in range(2)]
    return nf.flows.MaskedAffineFlow(mask, *net)


MULTISCALE = {
    "glow": {},
    "checkerboard": {"split": "checkerboard"},
    "diagonal": {"base": "diagonal"},
    "affine": {"base": "affine"},
    "glow of classes": {"classes": 3},
    "diagonal of classes": {"base": "by class", "classes": 3},
    "affine of classes": {"base": "affine", "classes": 3},
    "logit": {"transform": lambda: nf.transforms.Logit(0.05)},
    "shift": {"transform": lambda: nf.transforms.Shift(-0.5)},
}
FLAT = {
    "coupling": lambda: layers(coupling, coupling),
    "spline": lambda: layers(spline, spline),
    "autoregressive": lambda: layers(autoregressive, autoregressive),
    "mixing": lambda: layers(lambda: nf.flows.LULinearPermute(D), coupling),
}


def multiscale(name):
    options = dict(MULTISCALE[name])
    if transform := options.pop("transform", None):
        options["transform"] = transform()
    return moved(seeded(lambda: glow(**options)))


def flat(name):
    return moved(seeded(FLAT[name]))


def y_of(name):
    return 1 if "classes" in MULTISCALE[name] else None


SOURCES = {name: lambda name=name: adapt(multiscale(name), LARGE, y=y_of(name)) for name in MULTISCALE}
SOURCES |= {name: lambda name=name: adapt(flat(name), SHAPE, pixels=SIGNED) for name in FLAT}


@pytest.mark.parametrize("name", SOURCES)
def test_laws(name):
    source = SOURCES[name]()
    laws.obeys(source, density_tolerance=None if name in MULTISCALE else 1e-4)
    laws.pickles(source)


@pytest.mark.parametrize("name", MULTISCALE)
def test_density_of_many_levels_is_the_librarys(name):
    flow = multiscale(name).double()
    source = adapt(flow, LARGE, y=y_of(name))
    y = None if y_of(name) is None else torch.ones(3, dtype=torch.long)
    laws.density_is_the_librarys(source, lambda x: flow.log_prob(x, y))
    assert source.exactness < 1e-12
    assert source.level_sizes == (96, 96)


@pytest.mark.parametrize("name", FLAT)
def test_density_is_the_librarys_and_summed_in_double(name):
    flow = flat(name).double()
    source = adapt(flow, SHAPE, pixels=SIGNED)
    laws.density_is_the_librarys(source, lambda x: flow.log_prob(x.flatten(1)))
    assert measure.density_error(source) < 1e-11  # the library's own sum of float32 has 4e-6


def test_log_determinant_of_many_levels_is_autograds():
    flow = moved(seeded(lambda: glow(shape=(1, 8, 8)))).double()
    assert measure.density_error(adapt(flow, (1, 8, 8))) < 1e-11


def test_three_levels_are_in_order():
    flow = moved(seeded(lambda: glow(shape=(1, 8, 8), base="diagonal", levels=3))).double()
    source = adapt(flow, (1, 8, 8))
    assert source.level_sizes == (32, 16, 16)
    laws.obeys(source)
    laws.density_is_the_librarys(source, lambda x: flow.log_prob(x, None))
    z, _ = flow.inverse_and_log_det(source.pixels.centre(measure.pictures((1, 8, 8))).double())
    parts = [((z[i] - q.loc) / q.log_scale.exp()).flatten(1) for i, q in enumerate(flow.q0)]
    torch.testing.assert_close(source.encode(measure.pictures((1, 8, 8))), torch.cat(parts[::-1], 1).detach())


def test_latents_are_finest_first():
    source = SOURCES["diagonal"]()
    eps = torch.zeros(1, 192)
    fine, coarse = eps.clone(), eps.clone()
    fine[0, 0], coarse[0, 96] = 3, 3
    changed = [(source.decode_unclamped(z) - source.decode_unclamped(eps)).abs() > 1e-4 for z in (fine, coarse)]
    flow = multiscale("diagonal")
    assert source.bijection.flow.q0[1].shape == flow.q0[1].shape == (6, 4, 4)  # the library's list is deepest first
    assert all(part.any() for part in changed)
    z, _ = flow.inverse_and_log_det(source.pixels.centre(measure.pictures(LARGE)))
    base = flow.q0[1]
    expected = ((z[1] - base.loc) / base.log_scale.exp()).flatten(1)
    torch.testing.assert_close(source.encode(measure.pictures(LARGE))[:, :96], expected, rtol=1e-4, atol=1e-4)


def test_fingerprint_and_the_users_module():
    laws.fingerprint_follows_the_map(adapt, flat("spline"), SHAPE)
    laws.leaves_the_module_alone(adapt, flat("autoregressive"), SHAPE)
    laws.leaves_the_module_alone(adapt, multiscale("glow"), LARGE)
    one, two = (adapt(multiscale("glow of classes"), LARGE, y=y).fingerprint for y in (1, 2))
    assert one != two


def test_a_fresh_actnorm_is_refused_and_stays_fresh():
    flow = seeded(lambda: glow(fresh=True))
    with pytest.raises(ValueError, match=r"fresh ActNorm at flows\.0\.0"):
        adapt(flow, LARGE)
    assert not any(layer.data_dep_init_done for layer in flow.modules() if isinstance(layer, nf.flows.ActNorm))


def test_a_shift_does_not_change_what_it_is_given():
    source = SOURCES["shift"]()
    x = source.pixels.centre(measure.pictures(LARGE))
    z = torch.zeros(1, 192)
    kept = x.clone()
    source.forward(x)
    source.inverse(z)
    assert torch.equal(x, kept)
    assert not z.any()
    unmoved = adapt(nf.NormalizingFlow(nf.distributions.DiagGaussian(D), [nf.transforms.Shift(-0.5)]), SHAPE)
    x = unmoved.pixels.centre(measure.pictures(SHAPE))
    kept = x.clone()
    unmoved.forward(x)
    assert torch.equal(x, kept)


def test_a_class_is_wanted_by_class_conditional_flows_alone():
    for y in (None, 3, -1):
        with pytest.raises(ValueError, match="a class of 0 to 2"):
            adapt(multiscale("glow of classes"), LARGE, y=y)
    flow = moved(nf.ClassCondFlow(nf.distributions.ClassCondDiagGaussian(D, 3), [coupling()])).double()
    source = adapt(flow, SHAPE, pixels=SIGNED, y=2)
    laws.density_is_the_librarys(source, lambda x: flow.log_prob(x.flatten(1), torch.full((len(x),), 2)))
    laws.obeys(source)


def test_a_context_is_wanted_by_conditional_flows_alone():
    base = nf.distributions.base.ConditionalDiagGaussian(D, torch.nn.Linear(3, 2 * D))
    flow = nf.ConditionalNormalizingFlow(base, [nf.flows.MaskedAffineAutoregressive(D, 16, context_features=3)])
    flow = moved(flow).double()
    context = torch.tensor([0.5, -1.0, 2.0])
    source = adapt(flow, SHAPE, pixels=SIGNED, context=context)
    laws.density_is_the_librarys(source, lambda x: flow.log_prob(x.flatten(1), context.double().expand(len(x), 3)))
    laws.obeys(source)
    with pytest.raises(ValueError, match="Give context="):
        adapt(flow, SHAPE, pixels=SIGNED)
    with pytest.raises(ValueError, match="Leave context= out"):
        adapt(flat("coupling"), SHAPE, context=context)


def test_a_residual_flow_has_no_density_and_draws_nothing():
    flow = seeded(lambda: layers(residual, residual)).eval()
    source = adapt(flow, SHAPE, pixels=SIGNED)
    x = measure.pictures(SHAPE)
    theirs = flow.inverse(SIGNED.centre(x).flatten(1)).detach()  # the base is N(0, I)
    torch.testing.assert_close(source.encode(x), theirs)
    laws.obeys(source, tolerance=2e-3, latent_tolerance=2e-3)  # its own inverse stops there
    assert "random" in source.lacks["score"]
    assert 1e-7 < source.exactness < 2e-3


@pytest.mark.parametrize("kind", ["BatchNorm", "Planar", "Radial"])
def test_layers_of_one_direction_are_refused_by_name(kind):
    make = (lambda: nf.flows.BatchNorm()) if kind == "BatchNorm" else (lambda: getattr(nf.flows, kind)((D,)))
    with pytest.raises(ValueError, match=f"both ways; got {kind}"):
        adapt(moved(seeded(lambda: layers(make, coupling))), SHAPE)


def test_random_layers_bases_and_temperatures_are_refused():
    proposal = nf.distributions.DiagGaussianProposal((D,), 0.1)
    walk = nf.flows.MetropolisHastings(nf.distributions.DiagGaussian(D), proposal, 1)
    with pytest.raises(ValueError, match="MetropolisHastings at flows"):
        adapt(layers(lambda: walk), SHAPE)
    mixture = nf.distributions.GaussianMixture(3, D)
    with pytest.raises(ValueError, match="got GaussianMixture"):
        adapt(nf.NormalizingFlow(mixture, [coupling()]), SHAPE)
    with pytest.raises(ValueError, match="got Dirac"):
        adapt(nf.NormalizingFlow(nf.distributions.Dirac(), [coupling()]), SHAPE)
    warm = copy.deepcopy(multiscale("glow"))
    warm.set_temperature(0.7)
    with pytest.raises(ValueError, match=r"got one of 0.7.*reset_temperature"):
        adapt(warm, LARGE)
    with pytest.raises(ValueError, match=r"over \(3, 4, 4\) or \(48,\)"):
        adapt(flat("coupling"), (3, 4, 4))
    with pytest.raises(ValueError, match="got one over"):
        adapt(multiscale("glow"), (3, 4, 4))


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # normflows takes numpy's log
def test_a_uniform_base_is_mapped():
    def flow():
        return nf.NormalizingFlow(nf.distributions.base.Uniform(D, -1.0, 1.0), [nf.flows.Permute(D)])

    source = adapt(seeded(flow).double(), SHAPE, pixels=SIGNED)
    laws.obeys(source)
    assert "uniform" in source.card["notes"][0]
    log_prob = source.encode_and_log_prob(measure.pictures(SHAPE))[1]
    torch.testing.assert_close(log_prob, torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)  # of the unit cube
