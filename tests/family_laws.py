"""Laws of a flow of pictures, of any family: each family's own tests call them."""

import math
import pickle

import torch

from transflow import Model, load
from transflow.generative.families import FAMILIES, name_of
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat


def built(config, dtype=torch.float64, by=0.1, seed=0):
    """A flow in use, its weights moved off where they start; drawn the same everywhere."""
    torch.manual_seed(seed)
    flow = FAMILIES[name_of(config)].build(config).to(dtype)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += by * torch.randn_like(parameter)
    return flow.eval().requires_grad_(False)


def dyadic(config):
    """A flow whose weights are fractions of 64 written by rule, the same bits on any machine."""
    flow = FAMILIES[name_of(config)].build(config)
    with torch.no_grad():
        for tensor in flow.state_dict().values():
            count = torch.arange(tensor.numel(), dtype=torch.float64).view(tensor.shape)
            tensor.copy_((count % 17 + 1) / 64)
    return flow.eval().requires_grad_(False)


def ordinary(flow, count=3, seed=1):
    like = next(flow.parameters())
    return torch.rand(count, *flow.shape, dtype=like.dtype, generator=torch.Generator().manual_seed(seed)) - 0.5


def extreme(flow):
    """Black, white, a board, and one white pixel."""
    board = torch.full_like(ordinary(flow, 1)[0], -0.498)
    pixel, white = board.clone(), -board
    pixel[:, 0, 0] = 0.498
    black = board.clone()
    board[:, ::2, ::2] = board[:, 1::2, 1::2] = 0.498
    return torch.stack([black, white, board, pixel])


def check_inverse(flow, tolerance):
    for x in (ordinary(flow), extreme(flow)):
        z, log_det = flow(x)
        assert z.dtype == log_det.dtype == x.dtype
        assert z.shape == (len(x), math.prod(flow.shape))
        assert log_det.shape == (len(x),)
        assert log_det.isfinite().all()
        torch.testing.assert_close(flow.inverse(z), x, rtol=0, atol=tolerance)
    z = torch.randn(3, z.shape[1], dtype=z.dtype, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(flow(flow.inverse(z))[0], z, rtol=tolerance, atol=tolerance)
    assert sum(flow.level_sizes) == z.shape[1]


def check_log_det(flow, tolerance=1e-7, back=True):
    """Against autograd's whole Jacobian, there and back, in double."""
    x = torch.cat([ordinary(flow, 2), extreme(flow)[2:3]])
    size = math.prod(flow.shape)
    z, log_det = flow(x)
    for i in range(len(x)):
        there = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], x[i]).reshape(size, size)
        torch.testing.assert_close(torch.linalg.slogdet(there)[1], log_det[i], rtol=tolerance, atol=tolerance)
        if back:
            found = torch.autograd.functional.jacobian(lambda v: flow.inverse(v[None])[0], z[i]).reshape(size, size)
            torch.testing.assert_close(torch.linalg.slogdet(found)[1], -log_det[i], rtol=tolerance, atol=tolerance)


def check_alone(flow):
    """A picture's latent is the one it has alone."""
    x = ordinary(flow)
    z, log_det = flow(x)
    for i in range(3):
        torch.testing.assert_close(flow(x[i : i + 1])[0], z[i : i + 1])
        torch.testing.assert_close(flow(x[i : i + 1])[1], log_det[i : i + 1])
        torch.testing.assert_close(flow.inverse(z[i : i + 1]), flow.inverse(z)[i : i + 1])


def check_integral(flow, count=40_000, wider=2.0):
    """The density of few numbers integrates to 1, by importance sampling from a normal wider than its samples."""
    size = math.prod(flow.shape)
    generator = torch.Generator().manual_seed(3)
    own = flow.inverse(torch.randn(4000, size, dtype=torch.float64, generator=generator)).flatten(1)
    spread = torch.linalg.cholesky(wider * torch.cov(own.T))
    noise = torch.randn(count, size, dtype=torch.float64, generator=generator)
    x = own.mean(0) + noise @ spread.T
    z, log_det = flow(x.view(-1, *flow.shape))
    log_wide = -noise.square().sum(1) / 2 - spread.diagonal().log().sum()
    weights = (log_det - z.square().sum(1) / 2 - log_wide).exp()
    error = weights.std().item() / count**0.5
    assert error < 0.02
    assert abs(weights.mean().item() - 1) < 5 * error


def check_file(config, path, fingerprint):
    """A model goes to a file and back; what it is known by is pinned, since files of posteriors keep it."""
    model = PictureModel(dyadic(config), PixelFormat(8), {"name": "it"})
    assert model.fingerprint == fingerprint
    save_model(path, model, half=False)
    again = load(path)
    assert again.fingerprint == fingerprint
    assert again.source.flow.config == config
    assert not again.source.flow.training
    save_model(path, model)
    assert load(path).fingerprint == Model(pickle.loads(pickle.dumps(load(path).source))).fingerprint
    assert config.fewest_weights <= sum(weight.numel() for weight in model.flow.state_dict().values())
    assert config.fewest_weights > 0


def check_pickles(flow):
    copy, x = pickle.loads(pickle.dumps(flow)), ordinary(flow)
    assert all(map(torch.equal, copy(x), flow(x)))
