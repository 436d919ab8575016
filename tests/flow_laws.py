"""What every adapter of a flow must hold, on the fixed test pictures."""

import copy
import math
import pickle
from dataclasses import replace

import pytest
import torch

from transflow.adapters import measure
from transflow.gaussians.gaussian import Gaussian
from transflow.pictures.pixels import PixelFormat

SIGNED = PixelFormat(bits=8, low=-1.0, high=1.0)


def moved(module, by=0.05):
    """The module in eval mode, its trainable weights moved off where they start, the same way each time."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter += by * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def seeded(make):
    """What a constructor makes after seed 0, the global stream left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def obeys(source, tolerance=1e-4, latent_tolerance=1e-3, density_tolerance=1e-4):
    """A source encodes, decodes, is deterministic, knows no neighbours, pickles, and refuses bad input."""
    x = measure.pictures(source.shape)
    dim = math.prod(source.shape)
    z = source.encode(x)
    assert z.shape == (3, dim)
    assert z.isfinite().all()
    assert str(z.dtype) == f"torch.{source.precision}"
    assert isinstance(source.prior, Gaussian)
    assert source.prior.is_standard
    assert source.prior.dim == dim
    back = source.decode(z)
    assert back.shape == x.shape
    assert back.min() >= 0
    assert back.max() <= 1
    seen = source.pixels.unit(source.pixels.centre(x))
    assert (back - seen).abs().max() < tolerance
    if source.exactness is not None:
        assert source.exactness < tolerance
    with torch.no_grad():
        assert measure.latent_error(lambda v: source.forward(v)[0], source.inverse, dim) < latent_tolerance
    assert measure.batch_error(source.encode, x, z) < latent_tolerance
    assert (source.decode(z[1:2]) - back[1:2]).abs().max() < tolerance
    state = torch.get_rng_state()
    assert torch.equal(source.encode(x), z)
    assert torch.equal(source.decode(z), back)
    assert torch.equal(torch.get_rng_state(), state)
    assert source.encode(x[:0]).shape == (0, dim)
    assert source.decode(z[:0]).shape == (0, *source.shape)
    if "score" in source.lacks:
        assert getattr(source, "encode_and_log_prob", None) is None
    else:
        again, log_prob = source.encode_and_log_prob(x)
        assert torch.equal(again, z)
        assert log_prob.shape == (3,)
        assert log_prob.dtype == torch.float64
        assert source.encode_and_log_prob(x[:0])[1].shape == (0,)
        if density_tolerance is not None:
            assert measure.density_error(source) < density_tolerance
    if source.level_sizes is not None:
        assert sum(source.level_sizes) == dim
    refuses_bad_input(source)


def refuses_bad_input(source):
    x = measure.pictures(source.shape)
    for pictures in (x.float(), x[:, :, 1:], x[0], [1]):
        with pytest.raises(ValueError, match="Expected uint8 pictures of shape"):
            source.encode(pictures)
    dim = math.prod(source.shape)
    for latents in (torch.zeros(2, dim + 1), torch.zeros(dim), "z"):
        with pytest.raises(ValueError, match="Expected latents of shape"):
            source.decode(latents)
    with pytest.raises(ValueError, match="Expected finite latents; got NaN"):
        source.decode(torch.full((1, dim), torch.nan))


def pickles(source):
    """A pickled source is the same map."""
    x = measure.pictures(source.shape)
    again = pickle.loads(pickle.dumps(source))
    assert torch.equal(again.encode(x), source.encode(x))
    assert again.fingerprint == source.fingerprint
    assert torch.equal(again.decode(source.encode(x)), source.decode(source.encode(x)))


def density_is_the_librarys(source, log_prob, tolerance=1e-9):
    """The log density over the unit range is the library's own over its floats, and the volume of the pixels."""
    x = measure.pictures(source.shape)
    floats = source.pixels.centre(x).to(source.like)
    with torch.no_grad():
        theirs = log_prob(floats.clone())
    ours = source.encode_and_log_prob(x)[1] - source.pixels.log_det(floats)
    torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=tolerance)


def fingerprint_follows_the_map(adapt, module, shape, **options):
    """It is that of a copy, in any precision, whatever its mode; weights and pixel format change it."""
    options = {"pixels": SIGNED, **options}
    first = adapt(module, shape, **options).fingerprint
    assert len(first) == 64
    assert adapt(copy.deepcopy(module), shape, **options).fingerprint == first
    assert adapt(copy.deepcopy(module).double(), shape, **options).fingerprint == first
    assert adapt(copy.deepcopy(module).train(), shape, **options).fingerprint == first
    other = replace(options["pixels"], bits=7)
    assert adapt(module, shape, **{**options, "pixels": other}).fingerprint != first
    changed = copy.deepcopy(module)
    with torch.no_grad():
        next(p for p in changed.parameters() if p.requires_grad).view(-1)[0] += 1e-3
    assert adapt(changed, shape, **options).fingerprint != first


def leaves_the_module_alone(adapt, module, shape, **options):
    """The user's module keeps its mode, its gradients and its weights, and later training changes no source."""
    module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    source = adapt(module, shape, **{"pixels": SIGNED, **options})
    x = measure.pictures(shape)
    z = source.encode(x)
    source.decode(z)
    assert all(layer.training for layer in module.modules())
    assert any(parameter.requires_grad for parameter in module.parameters())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]) or value.isnan().any(), name
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 1
    assert torch.equal(source.encode(x), z)
