"""Laws of Real NVP: inverse, log-determinant in use and in training, batch norm, masks, its file."""

import pytest
import torch
from torch.nn.functional import batch_norm, pixel_unshuffle

import family_laws as laws
from transflow.generative.real_nvp import BatchNorm, MaskedCoupling, RealNVP, RealNVPConfig

SMALL = {"shape": (1, 4, 4), "width": (6, 6), "steps": 2, "depth": 1}
CONFIGS = {
    "residual": RealNVPConfig(**SMALL),
    "plain": RealNVPConfig(**SMALL, net="plain"),
    "no batch norm": RealNVPConfig(**SMALL, batch_norm=False),
    "colours, oblong": RealNVPConfig((3, 2, 4), width=(6, 6), steps=1, depth=1),
    "one level, odd": RealNVPConfig((2, 3, 1), width=(6,), steps=2, depth=1),
}
EVERY = pytest.mark.parametrize("name", CONFIGS)
FINGERPRINT = "276e4c0c5ae18d6f0820040cd951a5276a2b7ef7630a0d88830ebb987cf28ef1"


def made(name, dtype=torch.float64):
    flow = laws.built(CONFIGS[name], dtype)
    flow.initialise(laws.ordinary(flow, 64, seed=5))
    return flow.eval()


@EVERY
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-4), (torch.float64, 1e-11)])
def test_inverse_undoes_forward_and_forward_undoes_inverse(name, dtype, tolerance):
    laws.check_inverse(made(name, dtype), tolerance)


@EVERY
def test_log_det_is_that_of_the_jacobian_in_both_directions(name):
    laws.check_log_det(made(name))


@EVERY
def test_pictures_do_not_see_each_other_and_flows_pickle(name):
    flow = made(name)
    laws.check_alone(flow)
    laws.check_pickles(flow)


def test_the_density_of_four_numbers_integrates_to_one():
    flow = laws.built(RealNVPConfig((1, 2, 2), width=(6, 6), steps=1, depth=1))
    laws.check_integral(flow)


def test_in_training_the_log_det_counts_the_statistics_of_the_batch():
    """A batch's z as a function of the whole batch: standardised, and the volume of each picture's own affine map."""
    norm = BatchNorm(2).double()
    x = torch.randn(5, 2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 + 1
    z, log_det = norm(x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(z.var((0, 2, 3), correction=0), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-5)
    expected = -(x.var((0, 2, 3), correction=0) + norm.EPS).log().sum() * 6 / 2
    torch.testing.assert_close(log_det, expected.expand(5))
    torch.testing.assert_close(norm.mean, 0.1 * x.mean((0, 2, 3)))
    torch.testing.assert_close(norm.variance, 0.9 + 0.1 * x.var((0, 2, 3), correction=0))
    kept = norm.mean.clone()
    norm(torch.full_like(x, torch.nan))
    assert torch.equal(norm.mean, kept)
    norm.eval()(x)
    assert torch.equal(norm.mean, kept)


def test_in_training_the_log_det_is_that_of_each_picture_s_map_at_the_batch_s_statistics(monkeypatch):
    """Against autograd's Jacobian of the map in use, once its averages are the statistics of this very batch."""
    monkeypatch.setattr(BatchNorm, "MOMENTUM", 1.0)
    flow = made("residual").train()
    x = 2 * laws.ordinary(flow, 4) + 0.3
    z, log_det = flow(x)
    flow.eval()
    torch.testing.assert_close(flow(x)[0], z)
    for i in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], x[i]).reshape(16, 16)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], log_det[i], rtol=1e-9, atol=1e-9)
    alone = torch.autograd.functional.jacobian(lambda v: flow.train()(v)[0], x[:2]).reshape(32, 32)
    assert (torch.linalg.slogdet(alone)[1] - log_det[:2].sum()).abs() > 1  # the batch's own map is another


def test_gradients_pass_through_the_statistics_of_the_batch():
    norm = BatchNorm(1).double()
    x = torch.randn(4, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    z, _ = norm(x)
    (found,) = torch.autograd.grad(z.square().sum(), x)
    assert found.abs().max() < 1e-4  # sum z^2 = n, whatever x is
    z, log_det = norm(x)
    (found,) = torch.autograd.grad(log_det.sum(), x)
    assert found.abs().max() > 0.1


@pytest.mark.parametrize("mask", ["checkerboard", "channels"])
@pytest.mark.parametrize("kept", [0, 1])
def test_a_mask_keeps_half_and_the_other_half_does_not_count(mask, kept):
    torch.manual_seed(0)
    coupling = MaskedCoupling(4, mask, kept, torch.nn.Conv2d(4, 8, 3, padding=1)).double()
    other = MaskedCoupling(4, mask, 1 - kept, coupling.net)
    x = torch.randn(2, 4, 4, 4, dtype=torch.float64)
    hidden = coupling.hidden(x).expand(4, 4, 4)
    assert hidden.sum() == 32
    assert torch.equal(other.hidden(x).expand(4, 4, 4), ~hidden)
    z, log_det = coupling(x)
    assert torch.equal(z[:, ~hidden], x[:, ~hidden])
    assert (z[:, hidden] != x[:, hidden]).all()
    assert torch.equal(coupling(x + hidden)[1], log_det)


def test_every_number_is_changed():
    flow = laws.built(RealNVPConfig((2, 4, 4), width=(6,), steps=1, depth=1, batch_norm=False))
    x = laws.ordinary(flow)
    assert (flow(x)[0] != x.flatten(1)).all()
    flow = laws.built(RealNVPConfig((2, 4, 4), width=(6, 6), steps=2, depth=1, batch_norm=False))
    channels = [layer for layer in flow.levels[0] if getattr(layer, "mask", "") == "channels"]
    assert [layer.kept for layer in channels] == [0, 1]


def test_levels_are_halves_finest_first():
    """Of a flow without batch norm that nothing was learned by: the numbers themselves, squeezed, where they left."""
    flow = RealNVP(RealNVPConfig((3, 8, 8), width=(4, 4, 4), steps=1, depth=1, batch_norm=False))
    assert flow.level_sizes == (96, 48, 48)
    x = laws.ordinary(flow)
    z, log_det = flow(x)
    assert not log_det.any()
    stayed, finest = pixel_unshuffle(x, 2).chunk(2, 1)
    coarsest, middle = pixel_unshuffle(stayed, 2).chunk(2, 1)
    assert torch.equal(z, torch.cat([part.flatten(1) for part in (finest, middle, coarsest)], 1))


def test_a_fresh_flow_is_batch_norm_alone():
    """Once a kind of mask at a level, and once at the coarsest, where the last coupling has none."""
    flow = RealNVP(RealNVPConfig((3, 8, 8), width=(4, 4, 4), steps=1, depth=1)).double().train()
    scales = torch.tensor([3.0, 1.0, 0.2], dtype=torch.float64)[:, None, None]
    x = scales * torch.randn(5, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    parts, log_dets, h = [], [], x

    def standardised(h):
        log_dets.append(-(h.var((0, 2, 3), correction=0) + BatchNorm.EPS).log().sum() / 2 * h[0, 0].numel())
        return batch_norm(h, None, None, training=True, eps=BatchNorm.EPS)

    for _ in range(2):
        h, left = standardised(pixel_unshuffle(standardised(h), 2)).chunk(2, 1)
        parts.append(left.flatten(1))
    expected = torch.cat([*parts, standardised(h).flatten(1)], 1)
    z, log_det = flow(x)
    torch.testing.assert_close(z, expected)
    torch.testing.assert_close(log_det, sum(log_dets).expand(5))
    assert sum(isinstance(layer, BatchNorm) for layer in flow.modules()) == len(log_dets) == 5


def test_it_starts_with_the_averages_of_the_first_pictures():
    flow = RealNVP(CONFIGS["residual"])
    x = laws.ordinary(flow, 64)
    flow.initialise(x)
    trained, _ = flow.train()(x)
    torch.testing.assert_close(flow.eval()(x)[0], trained, rtol=0, atol=1e-4)


def test_a_model_goes_to_a_file_and_back(tmp_path):
    laws.check_file(CONFIGS["residual"], tmp_path / "m.safetensors", FINGERPRINT)


@pytest.mark.parametrize(
    "bad",
    [
        {"shape": (3, 8)},
        {"shape": (1, 5, 4)},
        {"shape": (0, 4, 4)},
        {"width": ()},
        {"width": (0, 4)},
        {"steps": 0},
        {"depth": 0},
        {"net": "dense"},
    ],
)
def test_bad_configurations_are_refused_in_a_line(bad):
    with pytest.raises(ValueError, match=r"^Expected .*; got .*\.$"):
        RealNVPConfig(**{**SMALL, **bad})
