"""Laws of flow matching as a flow: exact both ways, its log-determinant, and its network."""

import math
import pickle

import pytest
import torch

from helpers import shaken
from transflow.generative.flow_matching import FlowMatching, FlowMatchingConfig
from transflow.generative.unet import UNet

SMALL = {"shape": (1, 8, 8), "widths": (16, 32), "attention": (False, True), "depth": 1, "embedding": 16, "steps": 5}


def small(dtype=torch.float64, by=0.05, **options):
    flow = shaken(lambda: FlowMatching(FlowMatchingConfig(**{**SMALL, **options})), dtype, by)
    return flow.eval().requires_grad_(False)


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) - 0.5


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_pictures_come_back(dtype, tolerance, power):
    flow = small(dtype, power=power)
    board = ((torch.arange(8)[:, None] + torch.arange(8)) % 2 - 0.5).expand(1, 1, 8, 8)
    x = torch.cat([drawn(3, 1, 8, 8, dtype=dtype), board.to(dtype), torch.full((1, 1, 8, 8), 0.498, dtype=dtype)])
    z = flow.latents(x)
    assert z.shape == (5, 64)
    torch.testing.assert_close(flow.inverse(z), x, rtol=0, atol=tolerance)


def test_latents_come_back():
    flow, z = small(), torch.randn(3, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(flow.latents(flow.inverse(z)), z, rtol=0, atol=1e-10)


def test_the_log_det_is_that_of_the_jacobian_of_decoding():
    flow, x = small(), drawn(2, 1, 8, 8)
    z, log_det = flow(x)
    torch.testing.assert_close(z, flow.latents(x))
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.inverse(v[None]).flatten(), z[i])
        torch.testing.assert_close(log_det[i], -torch.linalg.slogdet(jacobian)[1], rtol=1e-6, atol=1e-6)


def test_of_more_numbers_the_log_det_is_estimated_alike_each_time():
    flow = small(shape=(1, 24, 24), by=0.02)
    z, log_det = flow(drawn(2, 1, 24, 24))
    again = flow(drawn(2, 1, 24, 24)[1:])[1]
    torch.testing.assert_close(log_det[1:], again)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow.inverse(v[None]).flatten(), z[0])
    assert abs(log_det[0].item() + torch.linalg.slogdet(jacobian)[1].item()) < 2  # of 500 nats


def test_each_picture_has_the_latents_it_has_alone():
    flow, x = small(), drawn(3, 1, 8, 8)
    torch.testing.assert_close(flow.latents(x), torch.cat([flow.latents(part) for part in x.split(1)]))


def test_it_starts_as_noise_scaled():
    """A network of zeros has no velocity: the picture is the noise, in the range of pictures."""
    flow = FlowMatching(FlowMatchingConfig(**SMALL)).eval()
    z = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(flow.inverse(z).flatten(1), z / 2)


def test_dropout_is_of_training_alone():
    flow, x = small(dropout=0.5), drawn(2, 1, 8, 8)
    assert torch.equal(flow.latents(x), flow.latents(x))
    net = flow.velocity.train()
    assert not torch.equal(net(x, torch.tensor(0.5)), net(x, torch.tensor(0.5)))


def test_the_network_sees_time_place_and_what_was_changed():
    flow, x = small(), drawn(2, 1, 8, 8)
    at = flow.velocity(x, torch.tensor(0.3))
    assert (at - flow.velocity(x, torch.tensor(0.6))).abs().max() > 1e-4
    torch.testing.assert_close(flow.velocity(x, torch.tensor([0.3, 0.6]))[:1], at[:1])
    assert (at - flow.velocity(x.flip(3), torch.tensor(0.3)).flip(3)).abs().max() > 1e-4
    assert (at - flow.velocity(x, torch.tensor(0.3), torch.ones(2, 16))).abs().max() > 1e-6
    torch.testing.assert_close(flow.velocity(x, torch.tensor(0.3), flow.changes(torch.zeros(2, 6, dtype=x.dtype))), at)


def test_pictures_need_not_be_square_and_may_have_any_channels():
    flow = small(shape=(3, 4, 12), dtype=torch.float32)
    x = drawn(2, 3, 4, 12, dtype=torch.float32)
    torch.testing.assert_close(flow.inverse(flow.latents(x)), x, rtol=0, atol=1e-5)


def test_a_model_pickles():
    flow, x = small(), drawn(1, 1, 8, 8)
    assert torch.equal(pickle.loads(pickle.dumps(flow)).latents(x), flow.latents(x))


def test_what_ships_keeps_its_names_and_defaults():
    config = FlowMatchingConfig()
    assert config == FlowMatchingConfig(
        (3, 32, 32), 2, (80, 192, 288), 2, (False, True, True), 256, dropout=0.1, steps=20, power=1.5
    )
    names = {name.partition(".")[0] for name in UNet(config).state_dict()}
    assert names == {"embed", "first", "down", "up", "coarser", "finer", "join", "last_norm", "last"}
    block = set(small().velocity.down[1][0].state_dict())
    parts = ("first_norm", "first", "time", "second_norm", "second", "attention.norm", "attention.qkv", "attention.out")
    assert block == {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}
    assert math.isclose(sum(p.numel() for p in FlowMatching(config).parameters()), 12_935_340)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"shape": (1, 6, 8)}, "multiples of 4; got"),
        ({"widths": (20, 32)}, "multiples of 16"),
        ({"widths": (16,)}, "as many of attention"),
        ({"depth": 0}, "depth and embedding of 1 or more"),
        ({"dropout": 1.0}, "dropout of 0 to below 1"),
        ({"steps": 0}, "1 step or more"),
        ({"power": 0.5}, "a power of 1 to 4"),
        ({"widths": (16, 48)}, "multiples of 32 where there is attention"),
    ],
)
def test_an_impossible_architecture_is_refused(wrong, words):
    with pytest.raises(ValueError, match=rf"^Expected.*{words}"):
        FlowMatchingConfig(**{**SMALL, **wrong})
