"""Importers of other people's checkpoints against forward passes that know nothing of them; and files that are none."""

import math
import os
import pickle
import tempfile
from functools import partial
from pathlib import Path

import pytest
import torch

from foreign_checkpoints import (
    chaiyujin_reference,
    chaiyujin_weights,
    rosinality_reference,
    rosinality_weights,
    tarflow_reference,
    tarflow_weights,
    uva_reference,
    uva_weights,
    y0ast_weights,
)
from transflow.adapters.checkpoint_formats import FORMATS, recognise
from transflow.adapters.checkpoints import load
from transflow.pictures.pixels import PixelFormat

CHECKPOINTS = Path(os.environ.get("TRANSFLOW_CHECKPOINTS", "nowhere"))  # a folder with mnist-flow/MNISTFlow_simple.ckpt


def doubled(weights):
    return {name: part.double() for name, part in weights.items()}


def chaiyujin_case(save=chaiyujin_weights, classes=None, **options):
    hot = None if classes is None else sum(torch.eye(4, dtype=torch.float64)[i] for i in classes)
    label = {} if hot is None else {"label": classes[0] if len(classes) == 1 else hot.tolist()}
    made = {**options, "classes": 0 if classes is None else 4}
    return lambda: save(**made), lambda _, x: chaiyujin_reference(doubled(chaiyujin_weights(**made)), x, hot), label


def tarflow_case(label=None, shape=None, **options):
    given = {name: value for name, value in (("label", label), ("shape", shape)) if value is not None}
    return lambda: tarflow_weights(**options), lambda w, x: tarflow_reference(doubled(w), x, label), given


def rosinality_case(shape=(3, 8, 8), **options):
    return lambda: rosinality_weights(**options), lambda w, x: rosinality_reference(doubled(w), x), {"shape": shape}


CASES = {  # what is saved, what it should give, how it is opened
    "rosinality, affine": rosinality_case(),
    "rosinality, additive, plain": rosinality_case(affine=False, lu=False),
    "rosinality, wide, three levels, grey": rosinality_case((1, 8, 16), channels=1, levels=3, steps=1),
    "chaiyujin, affine": chaiyujin_case(),
    "chaiyujin, additive, lu, plain prior": chaiyujin_case(affine=False, lu=True, top=False),
    "chaiyujin, a class": chaiyujin_case(classes=[2]),
    "chaiyujin, several attributes": chaiyujin_case(classes=[0, 3], top=False),
    "y0ast, lu": chaiyujin_case(y0ast_weights, lu=True),
    "y0ast, a class": chaiyujin_case(y0ast_weights, classes=[1]),
    "uva, simple": (lambda: uva_weights(False), uva_reference, {}),
    "uva, multi-scale": (lambda: uva_weights(True), uva_reference, {}),
    "tarflow": tarflow_case(blocks=2),
    "tarflow, shifts alone, grey": tarflow_case(shape=(1, 8, 8), scaled=False, channels=1),
    "tarflow, any class": tarflow_case(classes=4, size=4),
    "tarflow, one class": tarflow_case(3, classes=4, size=4),
}
EVERY = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file of each case, by name."""
    folder, made = tmp_path_factory.mktemp("checkpoints"), {}

    def get(name):
        if name not in made:
            made[name] = folder / f"{len(made)}.pt"
            torch.save(CASES[name][0](), made[name])
        return made[name]

    return get


def opened(saved, name, **options):
    return load(saved(name), **{**CASES[name][2], **options})


def made(name):
    """The source of a case, of a file that is gone."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(CASES[name][0](), f"{folder}/made.pt")
        return load(f"{folder}/made.pt", **CASES[name][2])


SOURCES = {f"checkpoint, {name}": partial(made, name) for name in CASES}


def pictures(shape, count=3):
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


@EVERY
def test_latents_and_density_are_those_of_the_format(saved, name):
    source = opened(saved, name, dtype=torch.float64)
    seen = pictures(source.shape)
    x = source.pixels.centre(seen).double()
    z, log_p = CASES[name][1](torch.load(saved(name), weights_only=True), x)
    if "uva" not in name:  # whose reference has the logit
        log_p = log_p + x[0].numel() * math.log(source.pixels.high - source.pixels.low)
    latents, log_prob = source.encode_and_log_prob(seen)
    torch.testing.assert_close(latents, z, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(log_prob, log_p, rtol=1e-8, atol=1e-5)
    assert torch.equal(source.encode(seen), latents)
    assert source.prior.is_standard
    assert source.prior.dim == latents.shape[1] == math.prod(source.shape)
    assert source.level_sizes is None or sum(source.level_sizes) == source.prior.dim


@EVERY
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float64, 1e-9)])
def test_decode_undoes_encode_and_encode_undoes_decode(saved, name, dtype, tolerance):
    source = opened(saved, name, dtype=dtype)
    flat = torch.stack([torch.full(source.shape, value, dtype=torch.uint8) for value in (0, 255)])
    seen = torch.cat([pictures(source.shape), flat])
    latents = source.encode(seen)
    decoded, x = source.decode(latents), source.pixels.centre(seen).to(dtype)
    assert decoded.dtype == latents.dtype == dtype
    torch.testing.assert_close(decoded, source.pixels.unit(x), rtol=0, atol=tolerance)
    moved = latents + 0.05 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(6)).to(dtype)
    torch.testing.assert_close(source.flow(source.flow.inverse(moved))[0], moved, rtol=tolerance, atol=tolerance)


@EVERY
def test_log_det_is_that_of_the_jacobian(saved, name):
    source = opened(saved, name, dtype=torch.float64)
    x = source.pixels.centre(pictures(source.shape, 1)).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: source.flow(x)[0].flatten(), x)
    log_det = torch.linalg.slogdet(jacobian.view(x.numel(), x.numel()))[1]
    torch.testing.assert_close(log_det, source.flow(x)[1][0], rtol=1e-9, atol=1e-7)


@EVERY
def test_each_picture_has_the_latent_that_it_has_alone_and_nothing_is_random(saved, name):
    source = opened(saved, name)
    seen = pictures(source.shape)
    state = torch.get_rng_state()
    latents, log_prob = source.encode_and_log_prob(seen)
    alone, log_prob_alone = source.encode_and_log_prob(seen[1:2])
    torch.testing.assert_close(alone, latents[1:2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_prob_alone, log_prob[1:2], rtol=1e-4, atol=1e-2)
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy.encode(seen), latents)
    assert copy.fingerprint == source.fingerprint == opened(saved, name, dtype=torch.float64).fingerprint
    assert torch.equal(torch.get_rng_state(), state)
    assert source.exactness is None or source.exactness < 1e-4
    assert not latents.requires_grad
    none, no_log_prob = source.encode_and_log_prob(seen[:0])
    assert none.shape == (0, source.dim)
    assert no_log_prob.shape == (0,)
    assert source.decode(none).shape == (0, *source.shape)


def test_another_file_class_format_or_shape_is_another_model(saved):
    prints = [opened(saved, name).fingerprint for name in CASES]
    prints += [opened(saved, "tarflow, one class", label=1).fingerprint]
    prints += [opened(saved, "rosinality, affine", shape=(3, 16, 8)).fingerprint]
    prints += [opened(saved, "rosinality, affine", pixels=PixelFormat(8)).fingerprint]
    assert len(set(prints)) == len(prints)


def test_what_the_map_does_not_use_changes_no_fingerprint(saved, tmp_path):
    weights = chaiyujin_weights()
    weights["prior_h"] = weights["prior_h"][:1]  # another batch size, nothing else
    torch.save({"graph": {f"module.{name}": part for name, part in weights.items()}, "step": 3}, tmp_path / "a.pkg")
    assert load(tmp_path / "a.pkg").fingerprint == opened(saved, "chaiyujin, affine").fingerprint


@pytest.mark.parametrize("name", CASES)
def test_formats_are_told_apart_by_their_names(saved, name):
    assert opened(saved, name).card["family"] == name.split(",")[0]


def test_all_split_latents_are_kept_and_belong_to_levels(saved):
    source = opened(saved, "rosinality, wide, three levels, grey")
    assert source.level_sizes == (64, 32, 32)
    assert opened(saved, "uva, multi-scale").level_sizes == (32, 32)
    assert opened(saved, "tarflow").lacks.keys() >= {"levels", "exactness"}


def test_pixels_are_floats_as_the_training_scripts_have_them():
    v = torch.tensor([0, 3, 130, 255], dtype=torch.uint8)
    p = 5e-6 + (1 - 1e-5) * (v.double() + 0.5) / 256
    expected = {
        "rosinality": (v.double() / 8).floor() / 32 - 0.5 + 0.5 / 32,
        "chaiyujin": v.double() / 255,
        "y0ast": v.double() / 256 - 0.5 + 0.5 / 256,
        "tarflow": (v.double() / 255 - 0.5) / 0.5,
        "uva": p.log() - (1 - p).log(),
    }
    for name, floats in expected.items():
        torch.testing.assert_close(FORMATS[name].pixels.centre(v).double(), floats, rtol=1e-5, atol=1e-5)
    assert FORMATS.keys() - expected.keys() == {"normflows"}  # a library without a training script


def test_a_fingerprint_is_for_ever(tmp_path):
    weights = {name: torch.full_like(tensor, 0.25) for name, tensor in tarflow_weights(size=4).items()}
    torch.save(weights, tmp_path / "a.pt")
    assert load(tmp_path / "a.pt").fingerprint == "d8b97d649e1cdc5692565ea1bac718a1ac2bdd30e44a214a4dd604a9f654764c"


def refusal(tmp_path, content, **options):
    torch.save(content, tmp_path / "made.pt")
    with pytest.raises(ValueError, match=r"^Expected .*; got ") as caught:
        load(tmp_path / "made.pt", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Thing:
    """An object in a file."""


def test_what_cannot_be_opened_is_refused_in_a_line(tmp_path):
    assert "never unpickled" in refusal(tmp_path, {"model": Thing()})
    assert "never unpickled" in refusal(tmp_path, torch.nn.Linear(2, 2))
    assert "weights by name" in refusal(tmp_path, {"step": 1})
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match="another kind of file"):
        load(tmp_path / "text.pt")
    with pytest.raises(FileNotFoundError, match="not there"):
        load(tmp_path / "nowhere.pt")


def test_names_that_no_format_knows_are_refused_with_the_nearest(tmp_path):
    weights = rosinality_weights()
    weights["blocks.0.attention"] = torch.ones(1)
    line = refusal(tmp_path, weights, shape=(3, 8, 8))
    assert "blocks.0.attention" in line
    assert f"Nearest is rosinality, which knows {len(weights) - 1} of {len(weights)} names" in line
    assert all(format in line for format in FORMATS)
    assert "None knows any" in refusal(tmp_path, {"weight": torch.ones(2)})
    assert "uva, which knows" not in refusal(tmp_path, rosinality_weights(), format="uva")
    assert recognise(tarflow_weights(), "a file") == "tarflow"


def test_what_is_missing_or_does_not_fit_is_refused_in_a_line(tmp_path):
    without = {name: part for name, part in rosinality_weights().items() if "net.2.bias" not in name}
    assert "net.2.bias" in refusal(tmp_path, without, shape=(3, 8, 8))
    bent = chaiyujin_weights() | {"flow.layers.1.f.2.weight": torch.ones(5, 6, 1, 1)}
    assert "fit each other" in refusal(tmp_path, bent)
    assert "fit each other" in refusal(tmp_path, tarflow_weights() | {"blocks.1.pos_embed": torch.ones(3, 128)})
    assert "NaN" in refusal(tmp_path, tarflow_weights() | {"var": torch.full((16, 12), math.nan)})
    fresh = rosinality_weights() | {"blocks.1.flows.0.actnorm.initialized": torch.tensor(0, dtype=torch.uint8)}
    assert "never initialised" in refusal(tmp_path, fresh, shape=(3, 8, 8))
    shuffled = {name: part for name, part in chaiyujin_weights().items() if "invconv" not in name}
    assert "shuffle" in refusal(tmp_path, shuffled)


def test_options_are_asked_for_and_refused_in_a_line(tmp_path):
    assert "shape=(3, height, width)" in refusal(tmp_path, rosinality_weights())
    assert "(1, 8, 8)" in refusal(tmp_path, rosinality_weights(), shape=(1, 8, 8))
    assert "(3, 6, 8)" in refusal(tmp_path, rosinality_weights(), shape=(3, 6, 8))
    assert "label=, a class from 0 to 3" in refusal(tmp_path, chaiyujin_weights(classes=4))
    assert "no classes" in refusal(tmp_path, chaiyujin_weights(), label=1)
    assert "(3, 8, 8) of this checkpoint" in refusal(tmp_path, chaiyujin_weights(), shape=(3, 16, 16))
    assert "got label" in refusal(tmp_path, rosinality_weights(), shape=(3, 8, 8), label=1)
    assert "no classes" in refusal(tmp_path, tarflow_weights(), label=1)
    assert "a class from 0 to 3" in refusal(tmp_path, tarflow_weights(classes=4), label=4)
    assert "(channels, height, width)" in refusal(tmp_path, rosinality_weights(), shape=(8, 8))
    assert "16 patches of 12 numbers" in refusal(tmp_path, tarflow_weights(), shape=(3, 8, 9))
    assert "dtype" in refusal(tmp_path, tarflow_weights(), dtype=torch.float16)
    assert "rosinality, chaiyujin" in refusal(tmp_path, tarflow_weights(), format="glow")


def test_bad_pictures_and_latents_are_refused_in_a_line(saved):
    source = opened(saved, "tarflow")
    for bad in (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9, dtype=torch.uint8), [1]):
        with pytest.raises(ValueError, match=r"Expected pictures of shape \(B, 3, 8, 8\), uint8; got"):
            source.encode(bad)
    for bad in (torch.zeros(1, 5), torch.zeros(192), torch.full((1, 192), math.nan)):
        with pytest.raises(ValueError, match=r"Expected .*latents"):
            source.decode(bad)


def test_a_trained_model_of_somebody_else_gives_its_figure_and_inverts():
    """Bits per dimension of blank and drawn digits; the figure on MNIST is a throw-away measurement, not a test."""
    path = CHECKPOINTS / "mnist-flow" / "MNISTFlow_simple.ckpt"
    if not path.exists():
        pytest.skip("needs somebody's trained checkpoint, which is not in the repository (TRANSFLOW_CHECKPOINTS)")
    source = load(path)
    assert source.shape == (1, 28, 28)
    assert source.exactness < 1e-3
    one = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    one[..., 5:23, 13:16] = 250
    noise = pictures(source.shape, 1)
    latents, log_prob = source.encode_and_log_prob(torch.cat([one, noise]))
    bits = 8 - log_prob / (784 * math.log(2))
    assert 0.5 < bits[0] < 3 < bits[1]
    torch.testing.assert_close(
        source.decode(latents[:1]), source.pixels.unit(source.pixels.centre(one)), rtol=0, atol=1e-3
    )
