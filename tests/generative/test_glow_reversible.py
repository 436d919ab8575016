"""Activations computed back: the same numbers, the same gradients, and memory that depth does not add to."""

from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from helpers import CONFIG, shaken
from transflow import Glow, GlowConfig, train
from transflow.generative.bijections import squeeze, unsqueeze
from transflow.generative.glow_reversible import _back, _forth, reversible
from transflow.pictures import decode as data
from transflow.training.losses import negative_log_likelihood, nll_per_dim

KINDS = [(coupling, permutation) for coupling in ("affine", "additive") for permutation in ("lu", "plain")]


def glow(dtype=torch.float32, **config):
    return shaken(lambda: Glow(GlowConfig(**({"size": 8, "steps": (3, 3), "width": (8, 8)} | config))), dtype)


def pictures(dtype=torch.float32, n=4):
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=dtype) - 0.5


def gradients(flow, x, weights):
    x = x.clone().requires_grad_()
    z, log_det = flow(x)
    return (z, log_det), torch.autograd.grad(nll_per_dim(z, log_det).mean(), (x, *weights))


@pytest.mark.parametrize(("coupling", "permutation"), KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-12)])
def test_gradients_are_those_of_autograd(coupling, permutation, dtype, tolerance):
    flow = glow(dtype, coupling=coupling, permutation=permutation)
    weights = list(flow.parameters())
    values, expected = gradients(flow, pictures(dtype), weights)
    same, found = gradients(reversible(flow), pictures(dtype), weights)
    torch.testing.assert_close(same, values)
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= tolerance * b.norm()


@pytest.mark.parametrize("half", [False, True])
def test_the_way_back_holds_at_depth(half):
    """Of 64 steps that single precision loses on the way back, what comes back is what went in."""
    torch.manual_seed(0)
    flow = Glow(GlowConfig(size=8, steps=(64,), width=(8,)))
    with torch.no_grad():
        for name, p in flow.named_parameters():
            if "net.4.weight" in name:
                p += 0.05 * torch.randn_like(p)
        flow.initialise(pictures(n=64))
        x = squeeze(pictures(n=16))
        assert (flow.inverse(flow(unsqueeze(x))[0]) - unsqueeze(x)).abs().max() > 1e-3
        z, zero = x.double(), torch.zeros(16)
        with torch.autocast("cpu", torch.bfloat16, enabled=half, cache_enabled=False):
            for layer in flow.levels[0]:
                z, _ = _forth(layer, z)
            for layer in reversed(flow.levels[0]):
                z, *_ = _back(layer, z, torch.zeros_like(x), zero, [])
    torch.testing.assert_close(z, x.double(), rtol=0, atol=1e-9)


def test_a_weight_that_is_kept_as_it_is_gets_no_gradient():
    for pattern in ("net", "shift", "levels.1"):
        flow = glow(torch.float64)
        for name, p in flow.named_parameters():
            p.requires_grad_(pattern not in name)
        weights = [p for p in flow.parameters() if p.requires_grad]
        expected, found = (gradients(f, pictures(torch.float64), weights)[1] for f in (flow, reversible(flow)))
        torch.testing.assert_close(found, expected)


def test_in_bfloat16_the_networks_are_run_as_they_were():
    """Gradients differ from autograd's by less than bfloat16 itself does from single precision."""
    flow = glow()
    weights = list(flow.parameters())
    exact = gradients(flow, pictures(), weights)[1]
    with torch.autocast("cpu", torch.bfloat16):
        values, half = gradients(flow, pictures(), weights)
        same, found = gradients(reversible(flow), pictures(), weights)
        torch.testing.assert_close(same, values, rtol=1e-2, atol=1e-2)
    _, outside = gradients_of_loss_made_inside_autocast(reversible(flow), weights)

    def apart(a, b):
        return torch.stack([(x - y).square().sum() for x, y in zip(a, b, strict=True)]).sum().sqrt()

    assert apart(half, exact) > 0
    assert apart(found, half) < apart(half, exact)
    assert all(map(torch.equal, outside, found))


def gradients_of_loss_made_inside_autocast(flow, weights):
    x = pictures().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        values = flow(x)
        loss = nll_per_dim(*values).mean()
    return values, torch.autograd.grad(loss, (x, *weights))


@pytest.mark.parametrize("depth", [1, 8])
def test_what_is_kept_for_the_way_back_does_not_grow_with_depth(depth):
    def kept(flow):
        """Bytes that the graph holds, other than weights."""
        weights = {p.data_ptr() for p in flow.parameters()}
        held = {}

        def pack(t):
            if t.data_ptr() not in weights:
                held[t.data_ptr()] = t.untyped_storage().nbytes()
            return t

        with saved_tensors_hooks(pack, lambda t: t):
            loss = negative_log_likelihood(flow, pictures()).mean()
        return sum(held.values()), loss

    flow = glow(steps=(depth,), width=(8,))
    assert kept(reversible(flow))[0] == kept(reversible(glow(steps=(1,), width=(8,))))[0]
    if depth > 1:
        assert kept(flow)[0] > 3 * kept(reversible(flow))[0]


def test_a_run_trains_so(folder, tmp_path):
    model = train(folder, tmp_path / "m.safetensors", replace(CONFIG, reversible=True, compile=True))
    assert model.card["bits_per_dim"] < 4.6  # 4.8 at the start
    assert model.encode(data.read(folder, (3, 8, 8)).pixels).isfinite().all()
