"""Laws of TarFlow: causal, invertible, its log-determinant, its variance, its denoiser."""

import pickle

import pytest
import torch

import family_laws as laws
from helpers import shaken
from transflow import load
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.generative.tarflow import TarFlow, TarFlowConfig, prepare
from transflow.pictures.pixels import PixelFormat

SMALL = {"shape": (2, 4, 4), "patch": 2, "width": 16, "head": 8, "blocks": 3, "layers": 2}
CONFIGS = {
    "scaled": TarFlowConfig(**SMALL),
    "shifted alone": TarFlowConfig(**SMALL, scaled=False),
    "one block": TarFlowConfig(**{**SMALL, "blocks": 1}),
    "one patch": TarFlowConfig(**{**SMALL, "shape": (2, 2, 2)}),
    "patches of a pixel": TarFlowConfig(**{**SMALL, "shape": (3, 3, 2), "patch": 1}),
    "classes": TarFlowConfig(**SMALL, classes=3),
}
FINGERPRINT = "bd6b03a1b069f779703033ad82f61858c2f917019315641120550e696668a74c"
EVERY = pytest.mark.parametrize("name", CONFIGS)


def made(name, dtype=torch.float64):
    flow = shaken(lambda: TarFlow(CONFIGS[name]), dtype)
    if not flow.config.scaled:
        flow.var.uniform_(0.5, 2.0)
    return flow.requires_grad_(False)


def inputs(flow, count=3):
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.rand(count, *flow.shape, dtype=torch.float64, generator=generator) - 1
    return x.to(flow.var), torch.arange(count) % 3 if flow.config.classes else None


@EVERY
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])
def test_inverse_undoes_forward_and_forward_undoes_inverse(name, dtype, tolerance):
    flow = made(name, dtype)
    x, labels = inputs(flow)
    board = torch.ones_like(x[0])
    board[:, ::2, ::2] = board[:, 1::2, 1::2] = -1
    for pictures in (torch.stack([torch.ones_like(board), -torch.ones_like(board), board]), x):
        z, log_det = flow(pictures, labels)
        assert z.dtype == log_det.dtype == dtype
        assert z.shape == (3, pictures[0].numel())
        torch.testing.assert_close(flow.inverse(z, labels), pictures, rtol=0, atol=tolerance)
    moved = z + 0.1 * torch.randn(z.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    torch.testing.assert_close(flow(flow.inverse(moved, labels), labels)[0], moved, rtol=tolerance, atol=tolerance)


@EVERY
def test_log_det_is_that_of_the_jacobian_in_both_directions(name):
    flow = made(name)
    x, labels = inputs(flow, 2)
    z, log_det = flow(x, labels)
    assert log_det.shape == (2,)
    for i in range(2):
        label, size = labels[i : i + 1] if labels is not None else None, x[i].numel()
        there = torch.autograd.functional.jacobian(lambda v, label=label: flow(v[None], label)[0].flatten(), x[i])
        back = torch.autograd.functional.jacobian(lambda v, label=label: flow.inverse(v[None], label).flatten(), z[i])
        torch.testing.assert_close(torch.linalg.slogdet(there.reshape(size, size))[1], log_det[i])
        torch.testing.assert_close(torch.linalg.slogdet(back.reshape(size, size))[1], -log_det[i])


@pytest.mark.parametrize("backwards", [False, True])
def test_a_block_changes_a_patch_by_those_before_it_alone(backwards):
    block = made("scaled").blocks[int(backwards)]
    assert block.backwards == backwards
    x = torch.randn(1, 4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    jacobian = torch.autograd.functional.jacobian(lambda x: block(x)[0].sum(2)[0], x)[:, 0].abs().sum(2)
    seen = torch.ones(4, 4, dtype=torch.bool)
    assert torch.equal(jacobian > 1e-12, seen.triu() if backwards else seen.tril())
    first = -1 if backwards else 0
    torch.testing.assert_close(block(x)[0][:, first], x[:, first])


def test_pictures_do_not_see_each_other_and_labels_count():
    flow = made("classes")
    x, labels = inputs(flow)
    z, log_det = flow(x, labels)
    torch.testing.assert_close(flow(x[1:2], labels[1:2])[0], z[1:2])
    torch.testing.assert_close(flow(x[1:2], labels[1:2])[1], log_det[1:2])
    assert (flow(x, labels.flip(0))[0] - z).abs().max() > 1e-3
    assert (flow(x)[0] - z).abs().max() > 1e-3  # the mean of all classes


def test_the_variance_that_a_flow_of_shifts_learns_is_in_its_prior():
    flow = made("shifted alone")
    x, _ = inputs(flow)
    z, log_det = flow(x)
    torch.testing.assert_close(log_det, (-flow.var.log().sum() / 2).expand(3))
    deviations = torch.nn.functional.fold(flow.var.sqrt().t()[None], flow.shape[1:], 2, stride=2)
    before = z * deviations.flatten()
    flow.var.fill_(1.0)
    torch.testing.assert_close(flow(x)[0], before)


def test_a_latent_lies_as_its_picture_does():  # and a fresh flow is the identity
    flow = TarFlow(CONFIGS["scaled"])
    x = torch.rand(2, *flow.shape)
    z, log_det = flow(x)
    torch.testing.assert_close(z, x.flatten(1))
    assert not log_det.any()


def test_denoise_is_the_posterior_mean_of_a_gaussian():
    flow = TarFlow(CONFIGS["shifted alone"]).double()  # fresh: the identity, so x ~ N(0, var)
    flow.var.fill_(0.5)
    x, _ = inputs(flow)
    torch.testing.assert_close(flow.denoise(x, 0.3), x * (1 - 0.3**2 / 0.5))
    torch.testing.assert_close(flow.denoise(x), x * (1 - flow.config.noise**2 / 0.5))


def test_it_trains_and_pickles():
    flow = made("classes", torch.float32).requires_grad_()
    x, labels = inputs(flow)
    flow.log_prob(x, labels).sum().backward()
    assert all(parameter.grad is not None for parameter in flow.parameters())
    copy = pickle.loads(pickle.dumps(flow))
    torch.testing.assert_close(copy(x, labels)[0], flow(x, labels)[0])


def test_noise_is_added_in_training_alone_and_drawn_from_the_generator():
    flow, x = made("scaled", torch.float32), torch.zeros(50, 2, 4, 4)
    (still,) = prepare(flow.eval(), x, torch.Generator().manual_seed(0))
    assert torch.equal(still, x)
    found = [prepare(flow.train(), x, torch.Generator().manual_seed(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert found[0].std().item() == pytest.approx(flow.config.noise, rel=0.1)


def test_the_density_of_four_numbers_integrates_to_one():
    laws.check_integral(laws.built(TarFlowConfig((1, 2, 2), patch=1, width=8, head=4, blocks=2, layers=1)))


def test_a_model_goes_to_a_file_and_back(tmp_path):
    laws.check_file(CONFIGS["scaled"], tmp_path / "m.safetensors", FINGERPRINT)
    flow = laws.dyadic(CONFIGS["scaled"])
    flow.var.fill_(1 / 3)  # no number of half precision
    save_model(tmp_path / "v.safetensors", PictureModel(flow, PixelFormat(8)))
    assert torch.equal(load(tmp_path / "v.safetensors").source.flow.var, flow.var)


@pytest.mark.parametrize(
    "bad",
    [
        {"shape": (3, 8)},
        {"patch": 3},
        {"patch": 0},
        {"width": 20},
        {"blocks": 0},
        {"layers": 0},
        {"classes": -1},
        {"noise": 1},
    ],
)
def test_bad_configurations_are_refused_in_a_line(bad):
    with pytest.raises(ValueError, match=r"^Expected .*; got .*\.$"):
        TarFlowConfig(**{**SMALL, **bad})
