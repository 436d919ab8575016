"""FrEIA's nets as sources."""

import pytest
import torch
from torch import nn

import flow_laws as laws
from flow_laws import SIGNED, moved, seeded
from transflow.adapters import measure
from transflow.adapters.freia import adapt

pytest.importorskip("FrEIA")

from FrEIA import framework, modules

SHAPE, LARGE, D = (1, 4, 4), (1, 8, 8), 16


def dense(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))


def convolutional(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, outputs, 3, padding=1))


def sequence(kind, steps=2, **options):
    net = framework.SequenceINN(D)
    for _ in range(steps):
        net.append(kind, subnet_constructor=dense, **options)
    return net


def graph(tuples=False):
    """Half of the channels leave after the first level, the rest after a second."""
    start = framework.InputNode(*LARGE)
    haar = framework.Node(start, modules.HaarDownsampling, {})
    coupling = framework.Node(haar, modules.GLOWCouplingBlock, {"subnet_constructor": convolutional})
    parts = framework.Node(coupling, modules.Split, {"section_sizes": [2, 2], "dim": 0})
    first = framework.OutputNode(parts.out0)
    deeper = framework.Node(parts.out1, modules.HaarDownsampling, {})
    second = framework.OutputNode(deeper)
    return framework.GraphINN([start, haar, coupling, parts, first, deeper, second], force_tuple_output=tuples)


def residual():
    net = framework.SequenceINN(D)
    for _ in range(2):
        net.append(modules.IResNetLayer)
        net[-1].lipschitz_correction()
    return net


FLOWS = {
    "all in one": (SHAPE, lambda: sequence(modules.AllInOneBlock)),
    "soft permutation": (SHAPE, lambda: sequence(modules.AllInOneBlock, permute_soft=True)),
    "glow": (SHAPE, lambda: sequence(modules.GLOWCouplingBlock)),
    "real nvp": (SHAPE, lambda: sequence(modules.RNVPCouplingBlock)),
    "gin": (SHAPE, lambda: sequence(modules.GINCouplingBlock)),
    "nice": (SHAPE, lambda: sequence(modules.NICECouplingBlock)),
    "graph of two outputs": (LARGE, graph),
    "one block": (SHAPE, lambda: modules.GLOWCouplingBlock([(D,)], subnet_constructor=dense)),
    "residual": (SHAPE, residual),
}


def flow_of(name):
    shape, make = FLOWS[name]
    flow = seeded(make)
    return shape, flow.eval() if name == "residual" else moved(flow)


def source_of(name):
    shape, flow = flow_of(name)
    return adapt(flow, shape, pixels=SIGNED)


SOURCES = {name: lambda name=name: source_of(name) for name in FLOWS}


@pytest.mark.parametrize("name", FLOWS)
def test_laws(name):
    source = source_of(name)
    laws.obeys(source)
    assert "assumed" in source.card["notes"][0]


@pytest.mark.parametrize("name", ["residual"])
def test_pickling_where_the_net_pickles(name):
    laws.pickles(source_of(name))


@pytest.mark.parametrize("name", [name for name in FLOWS if name != "residual"])
def test_log_determinant_is_autograds_in_double(name):
    shape, flow = flow_of(name)
    source = adapt(flow.double(), shape, pixels=SIGNED)
    close = 1e-6 if name == "soft permutation" else 1e-11  # whose rotation is kept in single precision
    assert measure.density_error(source) < close
    assert source.exactness < close


def test_a_tuple_of_latents_is_flat_in_the_order_of_the_outputs():
    shape, flow = flow_of("graph of two outputs")
    source = adapt(flow, shape, pixels=SIGNED)
    x = measure.pictures(LARGE)
    with torch.no_grad():
        (first, second), log_det = flow(SIGNED.centre(x))
    assert first.shape[1:] == (2, 4, 4)
    torch.testing.assert_close(source.encode(x), torch.cat([first.flatten(1), second.flatten(1)], 1))
    z, log_prob = source.encode_and_log_prob(x)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z.double()).sum(1)
    torch.testing.assert_close(log_prob - SIGNED.log_det(x.float()), normal + log_det.double(), rtol=0, atol=1e-4)


def test_nets_that_always_return_tuples_work():
    laws.obeys(adapt(moved(seeded(lambda: graph(tuples=True))), LARGE, pixels=SIGNED))
    net = framework.SequenceINN(D, force_tuple_output=True)
    net.append(modules.NICECouplingBlock, subnet_constructor=dense)
    laws.obeys(adapt(moved(net), SHAPE, pixels=SIGNED))


def test_fingerprint_and_the_users_module():
    laws.fingerprint_follows_the_map(adapt, flow_of("all in one")[1], SHAPE)
    laws.leaves_the_module_alone(adapt, flow_of("glow")[1], SHAPE)
    tighter = moved(seeded(lambda: sequence(modules.GLOWCouplingBlock, clamp=1.0)))
    assert adapt(tighter, SHAPE, pixels=SIGNED).fingerprint != source_of("glow").fingerprint


def test_a_volume_preserving_net_has_a_density():
    source = source_of("nice")  # whose log-determinant is the number 0.0
    x = measure.pictures(SHAPE)
    z, log_prob = source.encode_and_log_prob(x)
    torch.testing.assert_close(log_prob - SIGNED.log_det(x.float()), source.prior.log_prob(z.double()))


def test_a_fresh_actnorm_is_refused_and_a_loaded_one_is_not():
    def normalised():
        net = framework.SequenceINN(D)
        net.append(modules.ActNorm)
        net.append(modules.NICECouplingBlock, subnet_constructor=dense)
        return net

    net = seeded(normalised)
    with pytest.raises(ValueError, match=r"fresh ActNorm at module_list\.0"):
        adapt(net, SHAPE)
    assert net[0].init_on_next_batch
    with torch.no_grad():
        net(torch.rand(16, D))
    trained = adapt(net, SHAPE, pixels=SIGNED)
    laws.obeys(trained)
    loaded = normalised()
    loaded.load_state_dict(net.state_dict())
    assert adapt(loaded, SHAPE, pixels=SIGNED).fingerprint == trained.fingerprint


def test_a_residual_net_has_no_density():
    source = source_of("residual")
    assert "random" in source.lacks["score"]
    start = framework.InputNode(D)
    layer = framework.Node(start, modules.IResNetLayer, {})
    net = framework.GraphINN([start, layer, framework.OutputNode(layer)])
    layer.module.lipschitz_correction()
    laws.obeys(adapt(net.eval(), SHAPE, pixels=SIGNED))


def test_noise_on_frozen_permutations_is_found():
    net = flow_of("all in one")[1]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05
    with pytest.raises(ValueError, match="whose decode undoes its encode"):
        adapt(net, SHAPE, pixels=SIGNED)


def test_a_conditional_net_wants_its_condition_and_holds_it():
    net = moved(seeded(lambda: sequence(modules.AllInOneBlock, cond=0, cond_shape=(3,))))
    with pytest.raises(ValueError, match="Expected 1 conditions"):
        adapt(net, SHAPE, pixels=SIGNED)
    condition = torch.tensor([0.5, -1.0, 2.0])
    source = adapt(net, SHAPE, pixels=SIGNED, context=condition)
    laws.obeys(source)
    assert adapt(net, SHAPE, pixels=SIGNED, context=[-condition]).fingerprint != source.fingerprint
    start, given = framework.InputNode(D), framework.ConditionNode(3)
    coupling = framework.Node(start, modules.GLOWCouplingBlock, {"subnet_constructor": dense}, conditions=given)
    net = moved(framework.GraphINN([start, given, coupling, framework.OutputNode(coupling)]))
    laws.obeys(adapt(net, SHAPE, pixels=SIGNED, context=condition))
    with pytest.raises(ValueError, match="Expected 0 conditions"):
        adapt(flow_of("glow")[1], SHAPE, context=condition)


def test_a_net_that_holds_a_graph_cannot_be_copied_and_says_the_way_out():
    net = moved(seeded(lambda: sequence(modules.AllInOneBlock, learned_householder_permutation=2)))
    net(torch.rand(2, D))  # it keeps a permutation with its gradient
    with pytest.raises(ValueError, match=r"can be copied.*torch.no_grad"):
        adapt(net, SHAPE, pixels=SIGNED)
    with torch.no_grad():
        net(torch.rand(2, D))
    laws.obeys(adapt(net, SHAPE, pixels=SIGNED))


def test_other_shapes_and_several_inputs_are_refused():
    with pytest.raises(ValueError, match=r"got one over \(16,\)"):
        adapt(flow_of("glow")[1], (3, 4, 4))
    with pytest.raises(ValueError, match="with one input; got one with 2"):
        adapt(modules.Concat([(D,), (D,)]), (1, 4, 8))
