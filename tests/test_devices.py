"""Where a model computes: what is there, and, where there is a GPU, that it tells what the processor tells."""

import inspect
import subprocess
import sys

import pytest
import torch

from transflow import Evidence, FewShotClassifier, GlowConfig, TrainConfig, devices, load, train
from transflow.devices import full_float32
from transflow.gaussians import covariance
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.interpolation import interpolate
from transflow.library import load as library

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_a_device_that_is_not_there_is_refused(model_file):
    with pytest.raises(ValueError, match="device such as cpu or cuda; got toaster"):
        load(model_file, device="toaster")
    for name in ("mps", "meta"):
        with pytest.raises(ValueError, match="device such as cpu or cuda"):
            load(model_file, device=name)
    with pytest.raises(ValueError, match=r"torch sees .* CUDA devices"):
        load(model_file, device="cuda:99")


def test_the_default_is_the_same_to_load_and_to_train():
    assert str(devices.find_device(None)) == devices.DEFAULT_DEVICE == "cpu"
    parameters = [inspect.signature(function).parameters["device"].default for function in (load, train)]
    assert all(devices.find_device(default) == devices.find_device(None) for default in parameters)


def test_precisions_are_dtypes_by_name():
    assert [devices.dtype_of(name) for name in devices.PRECISIONS] == [torch.float32, torch.bfloat16, torch.float64]
    assert set(devices.TRAINING_PRECISIONS) - {"auto"} <= set(devices.PRECISIONS)
    with pytest.raises(ValueError, match="Expected precision float32, bfloat16, float64; got int8"):
        devices.dtype_of("int8")


@pytest.mark.parametrize(
    ("bfloat16", "amx", "vectors", "expected"),
    [
        (False, False, "AVX512", "float32"),
        (True, False, "AVX512", "bfloat16"),
        (False, True, "AVX512", "bfloat16"),
        (False, False, "AVX2", "float32"),
        (True, True, "AVX2", "float32"),  # torch is held to less than the processor has
    ],
)
def test_the_precision_is_asked_of_the_processor(bfloat16, amx, vectors, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(devices, "vector_set", lambda: vectors)
    before = torch.get_rng_state()
    assert devices.faster_precision(torch.device("cpu")) == expected
    assert devices.is_emulated("bfloat16", torch.device("cpu")) == (expected == "float32")
    assert not devices.is_emulated("float32", torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("vectors", "amx", "expected"), [("AVX2", False, True), ("AVX512", True, False)])
def test_products_are_in_float32_where_nothing_else_can_be(vectors, amx, expected, monkeypatch):
    monkeypatch.setattr(devices, "vector_set", lambda: vectors)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert devices.multiplies_in_float32.__wrapped__() == expected
    monkeypatch.setattr(devices, "vector_set", lambda: "DEFAULT")
    assert not devices.multiplies_in_float32.__wrapped__()


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_the_precision_is_asked_of_the_gpu(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert devices.faster_precision(torch.device("cuda")) == expected


@pytest.mark.parametrize(("run", "rank", "expected"), [("", "", True), ("x", "0", True), ("x", "1", False)])
def test_the_first_process_is_the_one_that_speaks(run, rank, expected, monkeypatch):
    for name, value in (("TORCHELASTIC_RUN_ID", run), ("RANK", rank)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    assert devices.is_first_process() == expected


def test_a_fresh_seed_is_another_each_time_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    seeds = [devices.fresh_seed() for _ in range(4)]
    assert len(set(seeds)) > 1
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_tables_are_read_without_torch():
    code = "import sys, transflow.devices; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_convolutions_on_cuda_are_not_rounded():
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.enabled, cudnn.benchmark
    with full_float32(torch.device("cuda")):
        assert (cudnn.allow_tf32, cudnn.enabled) == (False, True)
    assert (cudnn.allow_tf32, cudnn.enabled, cudnn.benchmark) == before


def test_closed_forms_stay_on_the_device(monkeypatch):
    """With tensors that have a device and no values, since the machine may have no such device."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    monkeypatch.setattr(covariance.DiagonalPlusLowRank, "__post_init__", lambda self: None)  # it looks at values
    with FakeTensorMode():
        prior = Gaussian.standard(8, "cuda")
        z = torch.empty(4, 8, device="cuda", dtype=torch.float64)
        posterior = prior.condition(Evidence(4, z.sum(0), z.square().sum(0)), 2.0)
        found = [Gaussian.of(prior.mean, 2.0).covariance.variances()]
        found += [posterior.mean, posterior.predictive(2.0).covariance.variances(), posterior.sample(3, seed=0)]
        found += [posterior.distribution().log_prob(z)]
        assert {tensor.device.type for tensor in found} == {"cuda"}


def test_a_stream_of_numbers_of_the_callers_own_goes_on():
    gaussian, generator = Gaussian.standard(5), torch.Generator().manual_seed(3)
    both = torch.cat([gaussian.sample(2, generator), gaussian.sample(2, generator)])
    assert torch.equal(both[:2], gaussian.sample(2, seed=3))
    assert not torch.equal(both[:2], both[2:])


@cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_cuda_tells_what_the_processor_tells(model_file, pixels, dtype, tmp_path):
    here, there = (load(model_file, dtype=dtype, device=device) for device in ("cpu", "cuda"))
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype != torch.bfloat16 else {"rtol": 0.05, "atol": 0.05}
    z = there.encode(pixels)
    assert z.is_cuda
    torch.testing.assert_close(z.cpu(), here.encode(pixels), **close)
    torch.testing.assert_close(there.score(pixels).log_prob.cpu(), here.score(pixels).log_prob, rtol=1e-2, atol=1e-2)
    a, b = (model.condition(pixels, "0.5m") for model in (here, there))
    torch.testing.assert_close(b.pictures(4, seed=0).cpu(), a.pictures(4, seed=0), **close)
    b.save(tmp_path / "p.safetensors")
    assert all(stop.mean.is_cuda for stop in interpolate(there.prior, b.gaussian, 3))  # it looks at values
    again = library.load_posterior(tmp_path / "p.safetensors", here)
    torch.testing.assert_close(again.gaussian.mean, a.gaussian.mean, **close)
    torch.testing.assert_close(b.remove(pixels[:2]).gaussian.mean.cpu(), a.remove(pixels[:2]).gaussian.mean, **close)


@cuda
def test_cuda_classifies(model_file, pixels):
    y = ["a", "b"] * (len(pixels) // 2)
    x = pixels[: len(y)]
    models = [load(model_file, device=device) for device in ("cpu", "cuda")]
    told = [FewShotClassifier(model, augment=3).fit(x, y).predict_proba(x) for model in models]
    assert abs(told[0] - told[1]).max() < 1e-2


@cuda
@pytest.mark.parametrize("reversible", [False, True])
def test_cuda_trains(folder, tmp_path, reversible):
    glow = GlowConfig(size=8, steps=(2, 2), width=(8, 8))
    config = TrainConfig(glow=glow, epochs=20, batch=8, warmup=10, reversible=reversible)
    model = train(folder, tmp_path / "m.safetensors", config, device="cuda")
    assert model.card["device"] == "cuda"
    assert model.card["bits_per_dim"] < 4.6  # 4.8 at the start
