"""Models of diffusers: their own samplers to the digit, undone exactly; saved pipelines; autoencoders; refusals."""

import json
import pickle
import shutil
import sys
import types

import pytest
import torch

from transflow.adapters import diffusers as adapter
from transflow.adapters.diffusers_steps import steps_of, timestep_grid
from transflow.base_model import BaseModel
from transflow.gaussians.evidence import Evidence
from transflow.generative.ode import Sampler
from transflow.library.load import load
from transflow.library.wrap import wrap

diffusers = pytest.importorskip("diffusers")

SHAPE = (3, 8, 8)


def shaken(net, seed=0, size=0.05):
    """Weights moved away from where they begin, so that nothing is zero."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p += size * torch.randn(p.shape, generator=draw)
    return net


def unet(channels=3, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return shaken(diffusers.UNet2DModel(
            sample_size=8, in_channels=channels, out_channels=channels, layers_per_block=1, block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4, attention_head_dim=8, **options,
        ))  # fmt: skip


def vae(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return shaken(diffusers.AutoencoderKL(
            block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=2, sample_size=16, **options,
        ), size=0.02)  # fmt: skip


def ddim(**options):
    """Of little noise, so that a network that nobody trained does not blow signals up."""
    return diffusers.DDIMScheduler(**{"clip_sample": False, "beta_end": 0.002, **options})


def schedulers():
    return {
        "ddim": ddim(),
        "sample": ddim(prediction_type="sample"),
        "v": ddim(prediction_type="v_prediction", beta_schedule="scaled_linear"),
        "trailing": ddim(timestep_spacing="trailing"),
        "linspace": ddim(timestep_spacing="linspace"),
        "offset": ddim(steps_offset=1, set_alpha_to_one=False),
        "ddpm": diffusers.DDPMScheduler(beta_end=0.002),
        "flow": diffusers.FlowMatchEulerDiscreteScheduler(),
        "shift": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


NAMES = ["ddim", "sample", "v", "trailing", "linspace", "offset", "ddpm", "flow", "shift"]
SOURCES = {
    "diffusers, ddim": lambda: adapter.adapt((unet(), schedulers()["ddim"]), steps=4),
    "diffusers, ddpm": lambda: adapter.adapt(diffusers.DDPMPipeline(unet(), schedulers()["ddpm"]), steps=4),
    "diffusers, flow": lambda: adapter.adapt((unet(), schedulers()["flow"]), steps=6, method="heun"),
    "diffusers, autoencoder": lambda: adapter.adapt(vae(shift_factor=0.3)),
    "diffusers, latent": lambda: adapter.adapt((vae(), unet(2), schedulers()["ddim"]), steps=8),
}


def pictures(shape=SHAPE):
    draw = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (1, *shape), generator=draw, dtype=torch.uint8)
    flat = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, *shape)
    return torch.cat([noise, flat, noise // 8 + 100])


def latents(dim, n=2):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", NAMES)
def test_on_the_scheduler_s_own_grid_it_draws_what_the_pipeline_draws(name):
    net, scheduler = unet().eval(), schedulers()[name]
    z = latents(192).view(-1, *SHAPE)
    expected = z
    own = diffusers.DDIMScheduler.from_config(scheduler.config, clip_sample=False) if name == "ddpm" else scheduler
    own.set_timesteps(10)
    with torch.no_grad():
        for t in own.timesteps:
            expected = own.step(net(expected, t).sample, t, expected).prev_sample
    found = adapter.adapt((net, schedulers()[name]), steps=10, power=None).to_floats(z.flatten(1))
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sample"])
def test_every_sampler_is_undone(name):
    net, x = unet(), pictures()
    made = adapter.adapt((net, schedulers()[name]), steps=5)
    z, solved = made.encode_and_solved(x)
    solved.check()
    exact = (x.double() + 0.5) / 256
    assert (made.decode_unclamped(z) - exact).abs().max() <= 1e-5
    if name in ("ddim", "flow"):
        double = adapter.adapt((net.double(), schedulers()[name]), steps=5)
        assert (double.decode_unclamped(double.encode(x[:2])) - exact[:2]).abs().max() <= 1e-10


def test_the_steps_of_a_grid_are_those_of_the_paper():
    """Equation (12) of DDIM, from each timestep to the next and from the last to the picture."""
    scheduler = diffusers.DDPMScheduler()
    steps = steps_of(unet(), scheduler, 7, "euler", 2.0)
    assert tuple(step.t for step in steps) == timestep_grid(7, 2.0)
    signal = [scheduler.alphas_cumprod[step.t].double().item() for step in steps] + [1.0]
    for step, now, after in zip(steps, signal, signal[1:], strict=False):
        a = (after / now) ** 0.5
        assert abs(step.a / a - 1) < 1e-6
        assert abs(step.b - ((1 - after) ** 0.5 - a * (1 - now) ** 0.5)) < 1e-6 * a


class Field(torch.nn.Module):
    """One field of noise in any parametrisation."""

    def __init__(self, kind, alphas):
        super().__init__()
        self.kind, self.alphas = kind, alphas.double()

    def forward(self, x, t):
        signal, noise = self.alphas[t].sqrt(), (1 - self.alphas[t]).sqrt()
        epsilon = noise * (0.6 * x + 0.2 * x.flip(3).sin())
        picture = (x - noise * epsilon) / signal
        return {"epsilon": epsilon, "sample": picture, "v_prediction": signal * epsilon - noise * picture}[self.kind]


@pytest.mark.parametrize("power", [None, 2.0])
def test_a_network_that_predicts_the_picture_or_v_is_the_one_that_predicts_noise(power):
    z, drawn = latents(192).double().view(-1, *SHAPE), {}
    for kind in ("epsilon", "sample", "v_prediction"):
        scheduler = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False)
        made = Sampler(steps_of(Field(kind, scheduler.alphas_cumprod), scheduler, 10, "euler", power))
        drawn[kind] = made.decode(z)
        back, solved = made.encode(drawn[kind])
        solved.check()
        assert (back - z).abs().max() < 1e-9
        torch.testing.assert_close(drawn[kind], drawn["epsilon"], rtol=0, atol=1e-4)  # its table is in float32


def test_timesteps_are_different_and_end_near_the_picture():
    for steps, power in ((1, 1), (10, 2), (50, 2), (100, 3), (1000, 1), (999, 2)):
        times = timestep_grid(steps, power)
        assert len(set(times)) == len(times) == steps
        assert times[0] == 999
        assert list(times) == sorted(times, reverse=True)
        assert times[-1] >= 0
    with pytest.raises(ValueError, match="at most 1000 steps"):
        timestep_grid(1001, 1)


@pytest.mark.parametrize("source", SOURCES)
def test_it_is_a_model(source):
    made = SOURCES[source]()
    x = pictures(made.shape)
    z = made.encode(x)
    assert (z.shape, z.dtype) == ((4, made.prior.dim), torch.float32)
    assert (made.bits, made.precision, made.device, made.prior.is_standard) == (8, "float32", torch.device("cpu"), True)
    assert torch.equal(made.encode(x), z)
    assert (made.encode(x[1:2]) - z[1:2]).abs().max() < 1e-4
    posterior = made.prior.condition(Evidence.of(z), 3.0)
    drawn = made.decode(posterior.sample(2, seed=0))
    assert drawn.shape == (2, *made.shape)
    assert 0 <= drawn.min() <= drawn.max() <= 1
    copied = pickle.loads(pickle.dumps(made))
    assert torch.equal(copied.encode(x), z)
    assert copied.fingerprint == made.fingerprint
    assert made.card["notes"]
    assert made.encode(x[:0]).shape == (0, z.shape[1])
    for bad in (x.float(), x[0], x[:, :1], None):
        with pytest.raises(ValueError, match=r"^Expected uint8 pictures of shape"):
            made.encode(bad)
    with pytest.raises(ValueError, match=r"^Expected latents of shape"):
        made.decode(z[:, 1:])


@pytest.mark.parametrize("source", SOURCES)
def test_it_does_all_that_the_contract_asks(source):
    made = BaseModel(SOURCES[source](), source)
    for capability in ("shape", "pixels", "card", "exactness", "temperature", "unclamped", "fingerprint"):
        assert made.can(capability)
    first = "autoencoder" in source
    assert made.can("score") == (not first and "latent" not in source)
    assert made.can("evaluations") != first
    assert made.can("variance") == first
    assert made.source.exactness < 1e-4 or "ddim" not in source
    if not made.can("score"):
        with pytest.raises(TypeError, match="an autoencoder gives pictures no density"):
            made.require("score", "to score pictures")


def test_what_it_is_is_recognised():
    net, scheduler = unet(), schedulers()["ddim"]
    for thing in ((net, scheduler), diffusers.DDIMPipeline(net, scheduler), (vae(), unet(2), scheduler)):
        assert wrap(thing, steps=4).fingerprint
    assert wrap(vae()).can("variance")


def test_the_density_is_that_of_the_steps():
    net = diffusers.UNet2DModel(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
                                block_out_channels=(8,), down_block_types=("DownBlock2D",),
                                up_block_types=("UpBlock2D",), add_attention=False)  # fmt: skip
    made = adapter.adapt((shaken(net), schedulers()["ddim"]), steps=4)
    x = pictures((1, 8, 8))[:1]
    z, log_prob = made.encode_and_log_prob(x)
    double = adapter.adapt((shaken(net, size=0).double(), schedulers()["ddim"]), steps=4)
    j = torch.func.jacrev(lambda v: double.sampler.decode(v.view(1, 1, 8, 8)).flatten())(z.double().flatten())
    normal = torch.distributions.Normal(0, 1).log_prob(z.double()).sum()
    expected = normal - torch.linalg.slogdet(j)[1] + 64 * torch.tensor(2.0).double().log()
    assert abs(log_prob.item() - expected.item()) < 1e-6


def test_the_fingerprint_is_of_what_changes_the_map():
    net = unet()

    def of(scheduler="ddpm", net=net, **options):
        return adapter.adapt((net, schedulers()[scheduler]), **options).fingerprint

    same = ddim(clip_sample=True)
    assert of() == adapter.adapt((net, same)).fingerprint, "DDIM of the same noise schedule, unclipped"
    assert len({of(), of("flow"), of("v"), of("sample"), of(steps=19), of(power=None), of(net=shaken(unet(), 1))}) == 7
    assert of("flow") == of("shift") != of("shift", power=None), "a shift is of the scheduler's own grid alone"


def test_what_is_switched_off_is_said():
    notes = " ".join(adapter.adapt((unet(), diffusers.DDPMScheduler())).card["notes"])
    assert "DDIM is used instead of DDPM" in notes
    assert "clip_sample is switched off" in notes
    assert "20 steps" in notes


# Saved pipelines


@pytest.fixture
def saved(tmp_path):
    diffusers.DDPMPipeline(unet(), schedulers()["ddpm"]).save_pretrained(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def test_a_saved_pipeline_is_the_one_that_was_saved(saved, tmp_path):
    made = adapter.load(saved, steps=4)
    expected = SOURCES["diffusers, ddpm"]()
    assert made.fingerprint == expected.fingerprint
    assert torch.equal(made.decode(latents(192)), expected.decode(latents(192)))
    flat = tmp_path / "flat"  # as google/ddpm-celebahq-256 keeps it: all files at the top
    flat.mkdir()
    for file in saved.rglob("*.*"):
        shutil.copy(file, flat)
    assert adapter.load(str(flat), steps=4).fingerprint == expected.fingerprint
    double = load(f"diffusers:{saved}", dtype=torch.float64, steps=4)
    assert (double.precision, double.fingerprint) == ("float64", expected.fingerprint)
    with pytest.raises(ValueError, match="dtype float32 or float64"):
        adapter.load(saved, dtype=torch.bfloat16)


def test_other_saved_models(tmp_path):
    flow = diffusers.DDPMPipeline(unet(), schedulers()["flow"])
    flow.save_pretrained(tmp_path / "flow")
    assert "flow matching" in adapter.load(tmp_path / "flow").card["notes"][0]
    vae(shift_factor=0.3).save_pretrained(tmp_path / "vae")
    assert adapter.load(tmp_path / "vae").fingerprint == SOURCES["diffusers, autoencoder"]().fingerprint
    diffusers.LDMPipeline(vae(), unet(2), schedulers()["ddim"]).save_pretrained(tmp_path / "latent")
    assert adapter.load(tmp_path / "latent", steps=8).fingerprint == SOURCES["diffusers, latent"]().fingerprint


def broken(folder, how):
    index = json.loads((folder / "model_index.json").read_text())
    if how == "text":
        index["text_encoder"] = ["transformers", "CLIPTextModel"]
    if how == "kind":
        index["unet"] = ["diffusers", "UNet2DConditionModel"]
    if how == "module":
        index["unet"] = ["os", "system"]
    if how == "no scheduler":
        del index["scheduler"]
    (folder / "model_index.json").write_text(json.dumps(index) if how != "json" else "{")
    if how == "part":
        shutil.rmtree(folder / "unet")
    if how == "weights":
        next(folder.glob("unet/*.safetensors")).unlink()
    if how == "damaged":
        next(folder.glob("unet/*.safetensors")).write_bytes(b"nothing")
    if how == "index":
        (folder / "model_index.json").unlink()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("text", "without conditions .* text_encoder"), ("kind", "got UNet2DConditionModel"), ("module", "got system"),
        ("no scheduler", "without scheduler"), ("json", "a JSON file"), ("part", "unet/config.json; got one without"),
        ("weights", "safetensors weights of the unet; got none"), ("damaged", "a whole unet; got a damaged one"),
        ("index", "a folder with model_index.json"),
    ],
)  # fmt: skip
def test_a_folder_without_its_parts_is_refused(saved, how, message):
    broken(saved, how)
    with pytest.raises(ValueError, match=message) as error:
        adapter.load(saved)
    assert "\n" not in str(error.value)
    assert str(saved) in str(error.value)


def test_a_hub_that_is_not_reached(monkeypatch, tmp_path):
    import huggingface_hub

    def nothing(*args, **options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no way\nout")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", nothing)
    with pytest.raises(FileNotFoundError, match=r"a hub id that is reachable; got a/b, .* Give a folder\.") as error:
        adapter.load("a/b")
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError, match="got neither"):
        adapter.load(str(tmp_path / "not" / "there"))


def test_a_hub_id_is_opened_from_the_cache_and_else_downloaded(monkeypatch, saved, tmp_path):
    import huggingface_hub

    asked, empty = [], tmp_path / "empty"
    empty.mkdir()

    def snapshot(name, allow_patterns, local_files_only):
        asked.append(local_files_only)
        assert not any(pattern.endswith(("bin", "py", "pt")) for pattern in allow_patterns)
        return str(empty if local_files_only and name == "half/there" else saved)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert adapter.load("all/there", steps=4).shape == SHAPE
    assert asked == [True]
    assert adapter.load("half/there", steps=4).shape == SHAPE
    assert asked == [True, True, False]


def test_without_diffusers_its_extra_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(adapter.importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r'Say: pip install "transflow\[diffusers\]"'):
        adapter.load("a/b")


def test_a_torchvision_that_breaks_it_is_named(monkeypatch):
    class Broken(types.ModuleType):
        def __getattr__(self, name):
            raise RuntimeError("Failed to import diffusers.models: operator torchvision::nms does not exist")

    monkeypatch.setitem(sys.modules, "diffusers", Broken("diffusers"))
    with pytest.raises(ImportError, match="pip uninstall torchvision") as error:
        adapter.load("a/b")
    assert "\n" not in str(error.value)


# Autoencoders


def test_scaling_and_shift_are_those_of_its_pipelines():
    x = pictures((3, 16, 16))
    for options in ({}, {"shift_factor": 0.3}, {"scaling_factor": 2.0}, {"latents_mean": [0.1, -0.2],
                                                                       "latents_std": [2.0, 0.5]}):  # fmt: skip
        net = vae(**options).eval()
        made = adapter.adapt(net)
        with torch.no_grad():
            found = net.encode((x + 0.5) / 128 - 1).latent_dist
            expected = (found.mean - options.get("shift_factor", 0.0)) * options.get("scaling_factor", 0.18215)
            variance = found.var * options.get("scaling_factor", 0.18215) ** 2
            if "latents_mean" in options:
                mean, sd = (torch.tensor(options[k]).view(1, 2, 1, 1) for k in ("latents_mean", "latents_std"))
                expected, variance = (found.mean - mean) * 0.18215 / sd, found.var * (0.18215 / sd) ** 2
            plain = net.decode(found.mean).sample
        z = made.encode(x)
        torch.testing.assert_close(z, expected.flatten(1))
        torch.testing.assert_close(made.encode_variance(x), variance.flatten(1))
        torch.testing.assert_close(made.decode_unclamped(z), plain / 2 + 0.5, rtol=1e-4, atol=1e-4)
        assert "score" in made.lacks
        assert made.exactness > 0


def test_a_latent_diffusion_is_exact_but_for_its_first_stage():
    made, first = SOURCES["diffusers, latent"](), adapter.adapt(vae())
    assert made.shape == (3, 16, 16)
    x = pictures(made.shape)
    z, solved = made.encode_and_solved(x)
    solved.check()
    inner = made.second.to_floats(z).flatten(1)
    torch.testing.assert_close(inner, first.encode(x), rtol=0, atol=2e-5)
    torch.testing.assert_close(made.decode(z), first.decode(first.encode(x)), rtol=0, atol=1e-3)
    assert made.exactness > first.exactness


def bad():
    flow = diffusers.FlowMatchEulerDiscreteScheduler
    net = unet()
    return {
        "a scheduler of DDIM": lambda: adapter.adapt((net, diffusers.PNDMScheduler())),
        "with stochastic_sampling": lambda: adapter.adapt((net, flow(stochastic_sampling=True))),
        "with use_dynamic_shifting": lambda: adapter.adapt((net, flow(use_dynamic_shifting=True)), power=None),
        'the method "euler" under DDIM': lambda: adapter.adapt((net, schedulers()["ddim"]), method="heun"),
        "the method 'euler' or 'heun'": lambda: adapter.adapt((net, schedulers()["ddim"]), method="rk4"),
        "1 to 1000 steps": lambda: adapter.adapt((net, schedulers()["ddim"]), steps=0),
        "a power of 1": lambda: adapter.adapt((net, schedulers()["ddim"]), power=0),
        "timestep 999 is affine": lambda: adapter.adapt(
            (net, diffusers.DDIMScheduler(rescale_betas_zero_snr=True, clip_sample=False))
        ),
        "a UNet2DModel, without conditions; got Linear": lambda: adapter.adapt(
            (torch.nn.Linear(1, 1), schedulers()["ddim"])
        ),
        "a model of diffusers; got Linear": lambda: adapter.adapt(torch.nn.Linear(1, 1)),
        "a model of diffusers; got tuple": lambda: adapter.adapt((net, net)),
        "as first stage; got UNet2DModel": lambda: adapter.adapt((net, net, schedulers()["ddim"])),
        "a shape of .channels": lambda: adapter.adapt((net, schedulers()["ddim"]), (8, 8)),
        "an error from it": lambda: adapter.adapt((net, schedulers()["ddim"]), (1, 8, 8)),
        "class": lambda: adapter.adapt((unet(num_class_embeds=3), schedulers()["ddim"])),
    }


@pytest.mark.parametrize("message", list(bad()))
def test_bad_input_is_refused_in_one_line(message):
    with pytest.raises(ValueError, match=message) as error:
        bad()[message]()
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("Expected")
