"""What is around a call changes no bit of it: defaults of torch, inference mode, deterministic algorithms."""

import contextlib

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import AffineTransform, SigmoidTransform

from helpers import CONFIG
from parts import BASE, LEVEL
from transflow import FewShotClassifier, Model, TrainConfig, load, load_posterior, train, wrap
from transflow.conditioning import check, edits
from transflow.generative.detail_level import DetailLevelConfig
from transflow.generative.details import DetailConfig
from transflow.generative.families import FAMILIES
from transflow.generative.flow_matching import FlowMatchingConfig
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.generative.pyramid import PyramidConfig
from transflow.own_random import OwnRandom
from transflow.pictures.pixels import PixelFormat

QUICK = {"batch": 8, "compile": False, "precision": "float32", "warmup": 10, "epochs": 2}
RUNS = {
    "glow": TrainConfig(glow=CONFIG.glow, **QUICK),
    "outliers": TrainConfig(glow=CONFIG.glow, outliers=0.01, **QUICK),
    "reversible": TrainConfig(glow=CONFIG.glow, reversible=True, **QUICK),
    "flow-matching": TrainConfig.of(FlowMatchingConfig((3, 8, 8), dropout=0.5, **BASE), **QUICK),
    "details": TrainConfig.of(DetailLevelConfig(size=16, crop=8, whole=0.5, **LEVEL), **QUICK),
}
WEIGHT = torch.linspace(-1, 1, 48).view(4, 12)  # of a generator
LEARN = {
    "parents": {},
    "a mixture": {"learn": "mixture"},
    "covariance": {"learn": "covariance"},
    "mean": {"noise": "0.5m"},
    "typical": {"noise": "typical"},
    "evidence": {"noise": "evidence"},
}


@contextlib.contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


AROUND = {
    "default device": default_device,
    "default dtype": default_dtype,
    "a device": lambda: torch.device("meta"),
    "no_grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "deterministic": deterministic,
}


def parts_of(value):
    """Every tensor and number in a result, in order."""
    if isinstance(value, Tensor):
        yield value.detach().cpu().numpy()
    elif isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        for name in value:
            yield from parts_of(value[name])
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from parts_of(part)
    elif value is not None:
        yield np.asarray(value)


def models(model_file, pixels, folder, path):
    model = load(model_file)
    double, half = load(model_file, dtype="float64"), load(model_file, dtype="bfloat16")
    scores, again = model.score(pixels), model.reconstruct(pixels)
    latents = model.latents(folder, path / "latents")
    c = check.check(model, folder, samples=8)
    stream = [(s.latents, s.log_prob, s.digests) for s in model.stream(folder, batch=5, log_prob=True)]
    return {
        "encoded": [m.encode(pixels) for m in (model, double, half)],
        "drawn": [m.pictures(m.prior, 3, seed=1) for m in (model, double, half)],
        "scores": (scores.log_prob, scores.bits_per_dim, scores.radius),
        "again": (again.pictures, again.decoded, again.errors),
        "streamed": stream,
        "kept": [(s.latents, s.log_prob) for s in latents.parts(model)],
        "features": model.features_of(pixels),
        "check": [c.moved, c.density, c.temperature, c.broken, [r.error for r in c.round_trips]],
    }


def posteriors(model_file, pixels, folder, path):
    model, found = load(model_file), {}
    for name, options in LEARN.items():
        made = model.condition(pixels[:8], **options)
        file = path / f"{name}.safetensors"
        made.save(file)
        opened = load_posterior(file, model)
        more = opened.add(pixels[8:]).remove(pixels[:2])
        found[name] = [p.pictures(3, seed=0) for p in (made, opened, more)]
        other = model.condition(pixels[4:], **options)
        found[name + " strip"] = made.strip(other, 3, 2, seed=0)
    found["varied"] = model.condition(pixels).vary(2, 2, seed=0).latents
    found["sweep"] = model.sweep(pixels, ["0.3m", "0.7m"], 2, seed=0)
    return found


def changed(model_file, pixels, folder, path):
    model = load(model_file)
    posterior = model.condition(pixels, noise="0.5m")
    mask = torch.zeros(16, 16, dtype=torch.bool, device="cpu")
    mask[:, :8] = True
    completed = model.complete(pixels[:1], mask, n=2, seed=0, prior=posterior, refine=1)
    return {
        "towards": edits.towards(posterior).strip(pixels[:2], [0.0, 0.5]),
        "between": edits.between(model, pixels[:1], pixels[1:2], 3),
        "completed": completed.pictures,
    }


def classifier(model_file, pixels, folder, path):
    model, labels, found = load(model_file), np.arange(12) % 3, {}
    vectors = np.random.default_rng(0).normal(size=(12, 5))
    for noise in ("auto", "0.5m", "shared", "student", "levels", "pooled"):
        few = FewShotClassifier(model, noise=noise, augment=2).fit(pixels, labels)
        file = path / f"{noise}.safetensors"
        few.save(file)
        found[noise] = [f.predict_proba(pixels) for f in (few, FewShotClassifier.load(file, model))]
    few = FewShotClassifier().fit(vectors, labels).partial_fit(vectors + 0.1, labels).forget(vectors[:1], labels[:1])
    found["vectors"] = few.predict_proba(vectors), few.p_values(vectors)
    return found


def wrapped(model_file, pixels, folder, path):
    double = wrap(encode=lambda x: 2 * x.flatten(1), decode=lambda z: z.view(-1, 3, 16, 16) / 2, shape=(3, 16, 16))
    base = Independent(Normal(torch.zeros(12, device="cpu", dtype=torch.float32), 1), 1)
    flow = wrap(TransformedDistribution(base, [AffineTransform(0.2, 1.5), SigmoidTransform()]), shape=(3, 2, 2))
    search = wrap(decode=lambda z: (z @ WEIGHT).sigmoid().view(-1, 3, 2, 2), latent=4, shape=(3, 2, 2))
    moving = wrap(velocity=lambda x, t: -x * t.view(-1, 1, 1, 1), shape=(3, 2, 2), steps=5)
    some = flow.preprocess(folder)
    return {
        "encoded": double.encode(pixels),
        "drawn": [m.condition(m.preprocess(folder)).pictures(2, seed=0) for m in (double, flow, search, moving)],
        "scores": [flow.log_prob(some), moving.log_prob(some)],
    }


def families(model_file, pixels, folder, path):
    base, found = FlowMatchingConfig((1, 4, 4), **{**BASE, "steps": 2}), {}
    for name, config in {
        "flow-matching": base,
        "pyramid": PyramidConfig("flow-matching", base, (DetailConfig(channels=1, **LEVEL),)),
    }.items():
        with OwnRandom(0):
            flow = FAMILIES[name].build(config)
        save_model(path / f"{name}.safetensors", PictureModel(flow.eval().requires_grad_(False), PixelFormat(8)))
        model = load(path / f"{name}.safetensors")
        some = model.preprocess(folder)[:5]
        found[name] = [model.encode(some), model.condition(some).pictures(2, seed=0), model.log_prob(some[:2])]
    return found


TASKS = {task.__name__: task for task in (models, posteriors, changed, classifier, wrapped, families)}


@pytest.fixture(scope="module")
def plain():
    return {}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("task", TASKS)
def test_the_same_bits(task, around, plain, model_file, pixels, folder, tmp_path):
    if task not in plain:
        plain[task] = list(parts_of(TASKS[task](model_file, pixels, folder, tmp_path)))
    (tmp_path / "within").mkdir()
    with AROUND[around]():
        found = list(parts_of(TASKS[task](model_file, pixels, folder, tmp_path / "within")))
    assert len(found) == len(plain[task]) > 1
    for here, there in zip(found, plain[task], strict=True):
        assert here.dtype == there.dtype
        np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("run", RUNS)
def test_training_takes_the_same_steps(run, around, plain, folder, tmp_path):
    if run not in plain:
        plain[run] = train(folder, tmp_path / "plain.safetensors", RUNS[run]).fingerprint
    output = tmp_path / "m.safetensors"
    with AROUND[around]():
        train(folder, output, RUNS[run], stop_after=1e-9)
        model = train(folder, output, resume=True)
    assert model.fingerprint == plain[run]


def test_what_is_loaded_in_inference_mode_has_gradients_outside(model_file, pixels):
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[:8] = True
    with torch.inference_mode():
        model = load(model_file)
        posterior = model.condition(pixels)
    assert isinstance(model, Model)
    assert not model.complete(pixels[:1], mask, n=1, seed=0, prior=posterior).pictures.is_inference()
