"""Laws of the form made for use: it is the flow it was made of, in every precision and for any batch."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from helpers import shaken
from transflow import Glow, GlowConfig, load
from transflow.generative import fused_conv
from transflow.generative import glow_fused as inference
from transflow.generative.bijections import ChannelAffine, Coupling
from transflow.generative.fused_conv import FusedConv
from transflow.generative.glow_fused import FusedAffine, FusedCoupling, FusedLevel, fuse
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat

FLOWS = {
    "affine, lu": {"size": 8, "steps": (2, 2), "width": (8, 8)},
    "affine, plain": {"size": 8, "steps": (2, 2), "width": (8, 8), "permutation": "plain"},
    "additive, lu": {"size": 8, "steps": (2, 2), "width": (8, 8), "coupling": "additive"},
    "additive, plain": {"size": 16, "steps": (1, 2, 1), "width": (8, 12, 16), "coupling": "additive"},
    "grey": {"channels": 1, "size": 8, "steps": (2, 1), "width": (8, 8)},
    "grey, one level": {"channels": 1, "size": 8, "steps": (2,), "width": (8,)},
    "two channels, oblong": {"channels": 2, "size": 4, "picture_width": 8, "steps": (2, 1), "width": (8, 8)},
    "down to a pixel": {"channels": 1, "size": 2, "steps": (2,), "width": (8,)},
}
CLOSE = {torch.float32: 2e-5, torch.float64: 1e-11}


def made(name, dtype=torch.float32):
    """A flow that is not the one it starts as, with the last convolutions away from zero."""
    torch.manual_seed(0)
    flow = Glow(GlowConfig(**FLOWS[name]))
    x = pictures(flow, 16, torch.float32)
    with torch.no_grad():
        flow.initialise(x)
        for parameter in flow.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return flow.to(dtype)


def pictures(flow, batch, dtype):
    return (
        torch.rand(batch, *flow.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype) - 0.5
    )


WAYS = ("products", "fused", "pairs", "plain")


def take(way, monkeypatch):
    """Small inputs by matrix products; or all by torch's fused operators, in pairs of pixels too; or by none."""
    monkeypatch.setattr(fused_conv, "multiplies_in_float32", lambda: way == "products")
    monkeypatch.setattr(fused_conv, "pays_in_pairs", lambda weight: way == "pairs" and weight.shape[3] > 1)
    if way == "plain":
        monkeypatch.setattr(fused_conv, "fused_operators", lambda *_: None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("name", FLOWS)
def test_it_is_the_same_flow(name, dtype, way, monkeypatch):
    take(way, monkeypatch)
    flow = made(name, dtype)
    x, fast = pictures(flow, 5, dtype), fuse(flow)
    kept = x.clone()
    with torch.no_grad():
        z, log_det = flow(x)
        for _ in range(2):  # the second time with weights laid out
            z_fast, log_det_fast = fast(x)
            assert z_fast.dtype == log_det_fast.dtype == dtype
            scale = z.abs().max().item()
            torch.testing.assert_close(z_fast, z, rtol=0, atol=CLOSE[dtype] * scale)
            torch.testing.assert_close(log_det_fast, log_det, rtol=CLOSE[dtype], atol=CLOSE[dtype] * scale)
            kept_z = z.clone()
            torch.testing.assert_close(fast.inverse(z), flow.inverse(z), rtol=0, atol=10 * CLOSE[dtype])
            torch.testing.assert_close(fast.inverse(z_fast), x, rtol=0, atol=10 * CLOSE[dtype])
            assert torch.equal(x, kept)
            assert torch.equal(z, kept_z)
    there = way != "plain" and dtype == torch.float32 and torch.backends.mkldnn.is_available()
    for conv in (module for module in fast.modules() if isinstance(module, FusedConv)):
        assert (conv.operators is not None) == there
        assert bool(conv.layouts) == (there and not conv.few)
        assert not conv.few or way == "products"


@pytest.mark.parametrize("name", FLOWS)
def test_networks_in_bfloat16_are_close_and_as_invertible(name):
    flow = made(name)
    x, fast = pictures(flow, 5, torch.float32), fuse(flow, torch.bfloat16)
    with torch.no_grad():
        z, log_det = flow(x)
        z_fast, log_det_fast = fast(x)
        assert z_fast.dtype == log_det_fast.dtype == torch.float32
        assert 0 < (z_fast - z).norm() < 0.05 * z.norm()
        assert (log_det_fast - log_det).abs().max() < 0.02 * x[0].numel()
        error = (fast.inverse(z_fast) - x).abs().flatten()
        assert error.quantile(0.9) < 1e-6
        assert error.max() < 2**-8  # where what came back to 1e-7 is rounded to bfloat16's next number
        assert (flow.inverse(z_fast) - x).abs().flatten().quantile(0.9) > 1e-5  # by other networks it would not be


@pytest.mark.parametrize("channels", [4, 5, 7])
@pytest.mark.parametrize("kind", ["affine", "additive"])
def test_a_fixed_coupling_is_the_coupling_for_odd_channels_too(kind, channels):
    torch.manual_seed(0)
    coupling = Coupling(channels, 8, kind)
    torch.nn.init.normal_(coupling.net[-1].weight, std=0.2)
    x = 3 * torch.randn(4, channels, 6, 6)  # beyond REACH and STEEPEST
    with torch.no_grad():
        fast = FusedCoupling(coupling, torch.float32)
        for a, b in zip(fast(x.clone()), coupling(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(fast.inverse(x.clone()), coupling.inverse(x), rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(fast.hidden(x), coupling.hidden(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_a_fixed_convolution_is_one_whatever_comes_after_what(dtype, relu, way, monkeypatch):
    take(way, monkeypatch)
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(12, 6, 3, 3, generator=generator), torch.randn(12, generator=generator)
    conv = FusedConv(weight.to(dtype), bias.to(dtype), relu)
    for batch, size in ((1, 4), (3, 8), (1, 4), (0, 4), (2, 4)):
        x = torch.randn(batch, 6, size, size, generator=generator)
        expected = F.conv2d(x.to(dtype).double(), conv.weight.double(), conv.bias.double(), padding=1)
        expected = expected.relu() if relu else expected
        tolerance = 0.1 if dtype == torch.bfloat16 else 1e-4
        torch.testing.assert_close(conv(x.to(dtype)).double(), expected, rtol=tolerance / 10, atol=tolerance)


def test_pairs_pay_where_registers_of_eight_are_filled_better(monkeypatch):
    """12 outputs cost what 16 cost; in pairs as much, but 24 is the best number. 24 alone are best already."""

    def pays(outputs, kernel=3, dtype=torch.float32):
        return fused_conv.pays_in_pairs(torch.empty(outputs, 128, kernel, kernel, dtype=dtype))

    monkeypatch.setattr(fused_conv, "vector_set", lambda: "AVX2")
    assert [n for n in (2, 4, 6, 8, 12, 16, 24, 48) if pays(n)] == [2, 4, 12]
    assert not pays(12, kernel=1)
    assert not pays(12, dtype=torch.bfloat16)
    monkeypatch.setattr(fused_conv, "vector_set", lambda: "AVX512")
    assert not pays(12)


def test_where_torch_has_no_fused_operators_there_are_none():
    assert fused_conv.fused_operators("cpu", torch.float64) is None
    assert fused_conv.fused_operators("cuda", torch.float32) is None


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs a torch with oneDNN")
def test_where_torch_has_fused_operators_they_are_found():
    """They are no public interface: a torch that renames them would make every model slower without a word."""
    assert fused_conv.fused_operators("cpu", torch.float32) is not None


@pytest.mark.parametrize("first", [True, False])
def test_a_level_does_not_write_into_what_it_is_given(first):
    """Though its couplings do: where one is the first to run, of a level or of its inverse, the level copies."""
    coupling = FusedCoupling(shaken(lambda: Coupling(6, 8)), torch.float32)
    affine = FusedAffine(shaken(lambda: ChannelAffine(6)))
    level = FusedLevel([coupling, affine, coupling] if first else [affine, coupling, affine], 16)
    x = torch.randn(2, 6, 4, 4).contiguous(memory_format=torch.channels_last)
    kept = x.clone()
    with torch.no_grad():
        z, _ = level(x)
        assert torch.equal(x, kept)
        kept_z = z.clone()
        torch.testing.assert_close(level.inverse(z), x, rtol=1e-4, atol=1e-4)
        assert torch.equal(z, kept_z)


@pytest.mark.parametrize("networks", [None, torch.bfloat16])
def test_a_picture_does_not_see_its_batch(networks, monkeypatch):
    monkeypatch.setattr(inference, "SLICE", 2**14)  # many slices, and a smaller last one
    model = PictureModel(made("affine, lu").requires_grad_(False), PixelFormat(5), networks=networks)
    x = torch.randint(0, 256, (64, *model.shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    together, log_prob = model.encode_and_log_prob(x)
    alone = torch.cat([model.encode(one[None]) for one in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5 if networks is None else 0.05)
    torch.testing.assert_close(
        log_prob[:5], model.encode_and_log_prob(x[:5])[1], rtol=1e-5 if networks is None else 1e-2, atol=1e-3
    )
    torch.testing.assert_close(
        model.decode(together)[3:4], model.decode(together[3:4]), rtol=0, atol=1e-4 if networks is None else 0.05
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_pictures_like_no_photograph_stay_finite(dtype):
    model = load("faces-32", dtype=dtype)
    board = torch.zeros(32, 32, dtype=torch.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    noise = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x = torch.stack([torch.zeros_like(noise), torch.full_like(noise, 255), board.expand(3, 32, 32), noise])
    latents, log_prob = model.source.encode_and_log_prob(x)
    assert torch.isfinite(latents).all()
    assert torch.isfinite(log_prob).all()
    far = 30 * torch.randn(4, model.dim, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(model.decode(torch.cat([latents.float(), far]))).all()


def test_the_flow_it_was_made_of_is_left_as_it_is():
    flow = made("affine, lu")
    before = copy.deepcopy(flow.state_dict())
    for dtype in (None, torch.bfloat16):
        fast = fuse(flow, dtype)
        z = fast(pictures(flow, 3, torch.float32))[0]
        fast.inverse(z)
    after = flow.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.requires_grad for parameter in flow.parameters())


@pytest.mark.parametrize("name", ["affine, lu", "grey"])
def test_activations_are_those_of_the_flow(name):
    flow = made(name)
    x = pictures(flow, 5, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(fuse(flow).features(x), flow.features(x), rtol=1e-4, atol=1e-4)
        rounded = fuse(flow, torch.bfloat16).features(x)
        z, log_det, seen = fuse(flow).forward_and_features(x)
        assert torch.equal(seen, fuse(flow).features(x))
        assert all(map(torch.equal, (z, log_det), fuse(flow)(x)))
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, flow.features(x), rtol=0.05, atol=0.1)


def test_a_model_that_was_used_can_be_copied_and_pickled(model, pixels):
    expected = model.encode(pixels)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again.encode(pixels), expected)
