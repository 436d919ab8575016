"""One test of every model, of the house or adapted: what the contract promises, and `Model` relies on.

A model is a line in HOUSE, or in the dictionary SOURCES of its adapter's own tests; one that needs a library which is
not installed is left out, and said so.
"""

import importlib
import pickle
from pathlib import Path

import pytest
import torch

import family_laws
import parts
from helpers import shaken
from transflow import Gaussian, Glow, GlowConfig, Model
from transflow.adapters import measure
from transflow.base_model import BaseModel
from transflow.generative.details import DetailConfig
from transflow.generative.families import FAMILIES
from transflow.generative.flow_matching import FlowMatching, FlowMatchingConfig
from transflow.generative.flow_plus_plus import FlowPlusPlusConfig
from transflow.generative.gan import Gan, GanConfig, grow
from transflow.generative.growing import GROWING
from transflow.generative.nice import NICEConfig
from transflow.generative.picture_model import PictureModel
from transflow.generative.pyramid import PyramidConfig
from transflow.generative.real_nvp import RealNVPConfig
from transflow.generative.tarflow import TarFlowConfig
from transflow.pictures.pixels import PixelFormat
from transflow.protocols import CAPABILITIES

pytestmark = pytest.mark.filterwarnings("ignore:torch.lu is deprecated:UserWarning")  # of normflows


class Least:
    """What a model must have, and no more; as high as wide is another number."""

    prior = Gaussian.standard(24)

    def encode(self, pictures):
        return pictures.flatten(1) * (2 / 255) - 1

    def decode(self, latents):
        return ((latents + 1) / 2).view(-1, 2, 3, 4).clamp(0, 1)


def glow(dtype=torch.float32, bits=5, **options):
    flow = shaken(lambda: Glow(GlowConfig(size=8, steps=(2, 2), width=(8, 8), **options)), dtype)
    return PictureModel(flow.requires_grad_(False), PixelFormat(bits))


def flow_matching(**options):
    made = {"shape": (1, 8, 8), "widths": (16, 32), "attention": (False, True), "depth": 1, "embedding": 16, "steps": 5}
    flow = shaken(lambda: FlowMatching(FlowMatchingConfig(**{**made, **options})), by=0.05)
    return PictureModel(flow.eval().requires_grad_(False), PixelFormat(8))


def pyramid(family="glow"):
    level = DetailConfig(channels=1, steps=2, width=8, seen=6, coarser=(6, 6))
    bases = {
        "glow": GlowConfig(channels=1, size=4, steps=(1,), width=(4,)),
        "flow-matching": FlowMatchingConfig((1, 4, 4), widths=(16, 32), attention=(False, True), depth=1, steps=4),
    }
    flow = shaken(lambda: FAMILIES["pyramid"].build(PyramidConfig(family, bases[family], (level, level))), by=0.02)
    return PictureModel(flow.eval().requires_grad_(False), PixelFormat(8))


def flow(config):
    flow = family_laws.built(config, torch.float32, by=0.05)
    return PictureModel(flow, PixelFormat(8))


def codec(family):
    kind = FAMILIES[family]
    flow = shaken(lambda: kind.build(kind.config((1, 9, 8), latent=3, widths=(8, 8))))
    if kind.fit:
        kind.fit(flow, [torch.rand(32, 1, 9, 8) - 0.5])
    return PictureModel(flow.eval().requires_grad_(False), PixelFormat(8))


def gan():
    flow = shaken(lambda: Gan(GanConfig((1, 9, 8), latent=3, widths=(8, 8))))
    grow(flow, 0.8 * GROWING)  # its finest pictures half in
    return PictureModel(flow.eval().requires_grad_(False), PixelFormat(8))


HOUSE = {
    "least": Least,
    "glow": glow,
    "glow, double": lambda: glow(torch.float64),
    "glow, grey, additive": lambda: glow(channels=1, coupling="additive", bits=8),
    "flow matching": flow_matching,
    "flow matching, oblong": lambda: flow_matching(shape=(3, 4, 12), power=2.0),
    "vae": lambda: codec("vae"),
    "wae": lambda: codec("wae"),
    "autoencoder": lambda: codec("autoencoder"),
    "bigan": lambda: codec("bigan"),
    "gan": gan,
    "details": lambda: parts.level(8, 1),
    "nice": lambda: flow(NICEConfig((3, 3, 4), width=16, depth=2)),
    "nice, normal": lambda: flow(NICEConfig((1, 3, 3), width=16, depth=2, prior="normal")),
    "tarflow": lambda: flow(TarFlowConfig((3, 4, 6), patch=2, width=16, head=8, blocks=2, layers=1)),
    "flow++": lambda: flow(FlowPlusPlusConfig((3, 4, 8), steps=(1, 1, 1), width=8, depth=1, components=3)),
    "real nvp": lambda: flow(RealNVPConfig((3, 4, 8), width=(8, 8), steps=1, depth=1)),
    "pyramid on a glow": pyramid,
    "pyramid on flow matching": lambda: pyramid("flow-matching"),
}


def adapted():
    """Constructors of adapted sources, by adapter and name; for a missing library, the reason alone."""
    found = {}
    for path in sorted((Path(__file__).parent.parent / "adapters").glob("test_*.py")):
        name = path.stem.removeprefix("test_")
        try:
            module = importlib.import_module(f"adapters.{path.stem}")
        except pytest.skip.Exception as missing:
            found[f"{name}: library"] = str(missing)
            continue
        found |= {f"{name}: {key}": make for key, make in getattr(module, "SOURCES", {}).items()}
    return found


MODELS = HOUSE | adapted()
PARAMETERS = [
    pytest.param(make, id=name, marks=[pytest.mark.skip(reason=make)] if isinstance(make, str) else [])
    for name, make in MODELS.items()
]


@pytest.fixture(params=PARAMETERS, scope="module")
def model(request):
    return Model(request.param(), "it")


@pytest.fixture(scope="module")
def pixels(model):
    return measure.pictures(model.shape)


def close(a, b, atol):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def tolerance(model):
    """How far two computations of the same may differ: rounding, magnified by what the model magnifies."""
    return 1e-9 if model.precision == "float64" else 2e-3


def test_shapes_and_kinds(model, pixels):
    z = model.encode_pixels(pixels)
    assert z.shape == (3, model.dim)
    assert z.is_floating_point()
    assert z.device == model.device
    assert model.precision in ("", str(z.dtype).removeprefix("torch."))
    assert model.prior.dim == model.dim
    assert torch.isfinite(model.prior.covariance.variances()).all()
    assert sum(model.level_sizes) == model.dim
    decoded = model.decode(z)
    assert decoded.shape == (3, *model.shape)
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_the_round_trip_is_as_exact_as_is_said(model, pixels):
    error = (model.decode(model.encode_pixels(pixels)).cpu() - model.quantise(pixels)).abs().max().item()
    if model.exactness is not None:
        assert error <= 10 * model.exactness + 1e-6
    elif "exactness" not in (getattr(model.source, "lacks", None) or {}):
        assert error <= measure.BOUND


def test_a_picture_has_the_latent_it_has_alone(model, pixels):
    together = model.encode_pixels(pixels)
    alone = torch.cat([model.encode_pixels(p[None]) for p in pixels])
    close(alone, together, tolerance(model))
    close(model.encode_pixels(pixels.flip(0)).flip(0), together, tolerance(model))


def test_it_draws_nothing_at_random_and_changes_nothing(model, pixels):
    state, kept = torch.get_rng_state(), pixels.clone()
    z = model.encode_pixels(pixels)
    decoded, copy = model.decode(z), z.clone()
    assert torch.equal(model.encode_pixels(pixels), z)
    assert torch.equal(model.decode(z), decoded)
    assert torch.equal(z, copy)
    assert torch.equal(pixels, kept)
    assert torch.equal(torch.get_rng_state(), state)


def test_it_pickles(model, pixels):
    try:
        content = pickle.dumps(model)
    except (AttributeError, pickle.PicklingError) as error:  # of a user's lambda or local class
        pytest.skip(f"what was wrapped does not pickle: {error}")
    again = pickle.loads(content)
    assert torch.equal(again.encode_pixels(pixels), model.encode_pixels(pixels))
    assert again.fingerprint == model.fingerprint


def test_a_density_goes_with_the_same_latents(model, pixels):
    if not model.can("score"):
        with pytest.raises(TypeError, match="Expected a model with a density, to say how likely"):
            model.score_pixels(pixels)
        return
    z, log_prob = model.score_pixels(pixels)
    close(z, model.encode_pixels(pixels), tolerance(model))
    assert log_prob.shape == (3,)
    assert log_prob.dtype == torch.float64
    assert torch.isfinite(log_prob).all()


def test_what_it_has_is_of_the_right_kind(model, pixels):
    for capability in CAPABILITIES:
        if not model.can(capability):
            with pytest.raises(TypeError, match=r"^Expected a model with .*, for a test; got it \(.*\) without"):
                model.require(capability, "for a test")
    assert isinstance(model.card, dict)
    assert isinstance(model.pixels, PixelFormat)
    assert model.fingerprint == "" or len(model.fingerprint) == 64
    if model.can("features"):
        assert model.features_of(pixels).shape[0] == 3
        z, found = model.encode_and_features_of(pixels)
        close(found, model.features_of(pixels), 1e-4)
        close(z, model.encode_pixels(pixels), tolerance(model))
    if model.can("variance"):
        assert model.variance_of(pixels).shape == (3, model.dim)
        assert (model.variance_of(pixels) > 0).all()
    if model.can("unclamped"):
        z = model.encode_pixels(pixels)
        close(model.decode_unclamped(z).clamp(0, 1), model.decode(z), 1e-6)


def test_decode_has_true_gradients_for_latents_that_have_them_or_none(model, pixels):
    z = model.encode_pixels(pixels[:1])
    assert not model.decode_unclamped(z).requires_grad
    z = z.detach().requires_grad_()
    try:
        decoded = model.decode_unclamped(z)
    except ValueError:  # a library's layer that writes over what its gradient needs: FrEIA's Haar
        return
    weights = torch.randn(decoded.shape, generator=torch.Generator().manual_seed(0)).to(decoded)
    total = (decoded * weights).sum()
    found = torch.autograd.grad(total, z, allow_unused=True)[0] if total.requires_grad else None
    if found is None:
        return
    way = found / found.norm()
    step = min(1e-2, 0.3 / found.norm().item())  # far enough for single precision, and not too far for a steep model
    ahead, behind = (model.decode_unclamped(z.detach() + sign * step * way).double() for sign in (1, -1))
    slope = ((ahead - behind) * weights).sum().item() / (2 * step)
    assert slope == pytest.approx(found.norm().item(), rel=0.1)


def test_bad_latents_are_refused(model):
    for bad in (torch.zeros(2, model.dim + 1), torch.zeros(model.dim), torch.full((1, model.dim), torch.nan)):
        with pytest.raises(ValueError, match="Expected") as caught:
            model.decode(bad)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [1e3, 1e10, 1e20, 3e38])
def test_latents_of_any_length_are_pictures_or_refused(model, length):
    """Never NaN, nor anything beyond [0, 1], in silence."""
    z = torch.randn(2, model.dim, generator=torch.Generator().manual_seed(0)).clamp(-1, 1) * length
    for decode in (model.decode, model.decode_unclamped):
        try:
            pictures = decode(z.to(model.prior.mean))
        except ValueError:
            continue
        assert pictures.isfinite().all()
        if decode == model.decode:
            assert pictures.min() >= 0
            assert pictures.max() <= 1


def test_evidence_goes_in_and_out(model, pixels, tmp_path):
    if model.prior.is_standard:
        assert model.condition(pixels).noise.value > 0  # no noise given
    posterior = model.condition(pixels, 2.0)
    one_by_one = model.condition(pixels[:1], 2.0).add(pixels[1:2]).add(pixels[2:])
    close(one_by_one.gaussian.mean, posterior.gaussian.mean, tolerance(model))
    without = posterior.remove(pixels[:1]) if model.precision == "float64" else posterior
    assert without.evidence.count in (2, 3)
    new = posterior.pictures(2, seed=0)
    assert new.shape == (2, *model.shape)
    assert torch.equal(new, posterior.pictures(2, seed=0))
    posterior.save(tmp_path / "p.safetensors")
    from transflow import load_posterior

    assert torch.equal(load_posterior(tmp_path / "p.safetensors", model).pictures(2, seed=0), new)
    assert isinstance(posterior.model, BaseModel)
