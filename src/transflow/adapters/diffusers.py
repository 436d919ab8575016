"""Models of diffusers: pipelines of pictures, a network with its scheduler, an autoencoder; objects or saved.

    unet + DDIM or DDPM         epsilon, sample or v prediction: DDIM's steps with eta = 0, without clipping
    unet + FlowMatchEuler       flow matching: Euler's or Heun's steps
    AutoencoderKL               alone, or with a unet and a scheduler that work in its latents

The sampler is undone by its own steps (see `generative.ode`); diffusers' inverse schedulers are not used, since they
err by 0.1 to 2 of the range of pixels. Nothing here is stochastic, and no code of a repository is run.
"""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from transflow.adapters.autoencoder_kl import Autoencoder, LatentDiffusion
from transflow.adapters.diffusers_steps import DIFFUSION, FLOW, changed, steps_of
from transflow.adapters.flow import of_shape
from transflow.adapters.modules import is_a, still
from transflow.adapters.networks import try_once
from transflow.generative.ode import Sampler
from transflow.generative.ode_model import RANGE, TEMPERATURE, OdeModel, like
from transflow.pictures.pixels import PixelFormat
from transflow.store import identity

Source = OdeModel | Autoencoder | LatentDiffusion
GIVE = "Give a pipeline, (unet, scheduler), (vae, unet, scheduler) or an AutoencoderKL"
FILES = ["model_index.json", "*config.json", "*.safetensors"]
CONFIGS = {"unet": "config.json", "vae": "config.json", "vqvae": "config.json", "scheduler": "scheduler_config.json"}


def adapt(
    model: Any,
    shape: tuple[int, int, int] | None = None,
    *,
    steps: int = 20,
    method: str = "euler",
    power: float | None = 2.0,
    pixels: PixelFormat = RANGE,
    temperature: float = TEMPERATURE,
) -> Source:
    """Return a model of diffusers as a model of pictures.

    Args:
        model: a pipeline of pictures without conditions, (unet, scheduler), (vae, unet, scheduler) or an AutoencoderKL.
        shape: of a picture, (C, H, W); None is what the configuration says.
        steps: of the sampler. Their number and grid are part of the model: with others, latents are others.
        method: "euler", or "heun" for flow matching.
        power: of the time grid, see `diffusers_steps`; None is the scheduler's own grid.
        pixels: what the network sees of pictures.
        temperature: length of latents, over sqrt(D), at which its pictures look best: tau of the noise "typical".

    Raises:
        ValueError: an object or an option of another kind, or settings that have no inverse.
    """
    if shape is not None:
        shape = of_shape(shape)
    vae, unet, scheduler = _parts(model)
    first = None if vae is None else _autoencoder(vae, shape, unet, pixels, temperature)
    if unet is None:
        assert first is not None
        return first
    if not is_a(unet, "diffusers.UNet2DModel"):
        raise ValueError(f"Expected a UNet2DModel, without conditions; got {type(unet).__name__}. {GIVE} of it.")
    net, inner = still(unet), shape if first is None else first.latent_shape
    if inner is None:
        inner = (int(net.config.in_channels), *_sides(net.config.sample_size))
    made = steps_of(net, scheduler, steps, method, power)
    try_once(made[0].net, inner, made[0].t)  # type: ignore[arg-type]
    grid = {"steps": steps, "method": method, "power": power}
    settings = changed(scheduler)
    if power is not None and type(scheduler).__name__ == FLOW:  # of it nothing is used but the scale of its time
        settings = {name: value for name, value in settings.items() if name == "num_train_timesteps"}
    configuration: dict[str, Any] = {"class": type(net).__name__, "config": changed(net), "shape": inner, "grid": grid}
    configuration["scheduler"] = {"kind": "flow" if type(scheduler).__name__ == FLOW else "ddim", **settings}
    fingerprint = identity.fingerprint("diffusers", {**configuration, "pixels": pixels}, net.state_dict())
    card = {"family": "diffusers", "notes": _notes(scheduler, steps, method, power)}
    second = OdeModel(Sampler(made), net, inner, pixels, fingerprint, card, temperature)
    if first is None:
        return second
    return LatentDiffusion(first, second, {**card, "notes": [*card["notes"], *first.card["notes"]]})


def load(
    path_or_id: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Source:
    """Return the model in a pipeline's folder or of a hub id, such as "google/ddpm-celebahq-256".

    Only safetensors and JSON files are read. A hub id is taken from the local cache where it is there.

    Args:
        path_or_id: a folder with ``model_index.json``, or with an AutoencoderKL's ``config.json``; or a hub id.
        dtype: float32 or float64, in which all is computed.
        device: where it computes.
        options: as `adapt` takes them.

    Raises:
        ImportError: diffusers is not installed, or cannot be imported.
        FileNotFoundError: no such folder, or a hub that is not reachable.
        ValueError: a folder without its parts, or of a model of another kind.
    """
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"Expected dtype float32 or float64, since steps are undone to rounding; got {dtype}.")
    diffusers = library()
    folder = Path(path_or_id)
    if not folder.is_dir():
        folder = _downloaded(str(path_or_id))
    if (folder / "model_index.json").is_file():
        index = _json(folder / "model_index.json")
        names = {n: v[1] for n, v in index.items() if not n.startswith("_") and isinstance(v, list) and v[1]}
    else:
        kind = _json(folder / "config.json").get("_class_name") if (folder / "config.json").is_file() else None
        if kind != "AutoencoderKL":
            what = f"a {kind} alone" if kind else "one without"
            raise ValueError(
                f"Expected a folder with model_index.json, or of an AutoencoderKL; got {what}: {path_or_id}."
            )
        names = {"vae": kind}
    if strange := sorted(names.keys() - CONFIGS.keys()):
        raise ValueError(
            f"Expected a pipeline of pictures without conditions (unet, scheduler, vae); got one with "
            f"{', '.join(strange)}: {path_or_id}."
        )
    known = {"UNet2DModel", "AutoencoderKL", FLOW, *DIFFUSION}
    parts = {}
    for name, kind in names.items():
        if kind not in known:
            raise ValueError(f"Expected parts of {', '.join(sorted(known))}; got {kind} ({name}): {path_or_id}.")
        part = _part(folder, name, getattr(diffusers, kind), path_or_id, dtype)
        parts[name] = part.to(device) if isinstance(part, nn.Module) else part
    vae = parts.get("vae", parts.get("vqvae"))
    if "unet" not in parts and vae is not None:
        return adapt(vae, **options)
    if missing := {"unet", "scheduler"} - parts.keys():
        raise ValueError(
            f"Expected a pipeline with unet and scheduler; got one without {sorted(missing)[0]}: {path_or_id}."
        )
    both = (parts["unet"], parts["scheduler"])
    return adapt(both if vae is None else (vae, *both), **options)


def library() -> Any:
    """Return diffusers, imported.

    Raises:
        ImportError: it is not there, or it cannot be imported; the message says what to install.
    """
    try:
        found = importlib.import_module("diffusers")
        found.UNet2DModel  # noqa: B018 (what is imported on use fails on use)
    except ModuleNotFoundError as error:
        if error.name != "diffusers":
            raise
        raise ImportError(
            'Expected diffusers for its models; got none. Say: pip install "transflow[diffusers]"'
        ) from None
    except RuntimeError as error:
        if "torchvision" not in str(error):
            raise
        raise ImportError(
            f"Expected no torchvision, or one that fits torch {torch.__version__}; got one that diffusers cannot be "
            "imported beside. Say: pip uninstall torchvision, or install the build for this torch."
        ) from None
    return found


def _parts(model: Any) -> tuple[Any, Any, Any]:
    """The vae, the unet and the scheduler of what was given; None where there is none."""
    if is_a(model, "diffusers.AutoencoderKL"):
        return model, None, None
    if is_a(model, "diffusers.DiffusionPipeline"):
        parts = {name: part for name, part in model.components.items() if part is not None}
        if strange := sorted(parts.keys() - CONFIGS.keys()):
            raise ValueError(
                f"Expected a pipeline of pictures without conditions (unet, scheduler, vae); got "
                f"{type(model).__name__} with {', '.join(strange)}."
            )
        model = tuple(parts[name] for name in ("vae", "vqvae", "unet", "scheduler") if name in parts)
    if isinstance(model, tuple) and len(model) in (2, 3) and is_a(model[-1], "diffusers.SchedulerMixin"):
        vae = model[0] if len(model) == 3 else None
        if vae is None or is_a(vae, "diffusers.AutoencoderKL"):
            return vae, model[-2], model[-1]
        raise ValueError(
            f"Expected an AutoencoderKL as first stage; got {type(vae).__name__}, which rounds its latents."
        )
    raise ValueError(f"Expected a model of diffusers; got {type(model).__name__}. {GIVE}.")


def _autoencoder(vae: Any, shape: Any, unet: Any, pixels: PixelFormat, temperature: float) -> Autoencoder:
    net = still(vae)
    example, channels = like(net), int(net.config.latent_channels)
    with torch.no_grad():
        if shape is None and unet is not None:
            z = example.new_zeros(1, channels, *_sides(unet.config.sample_size))
            shape = tuple(net.decode(z).sample.shape[1:])
        shape = shape or (int(net.config.in_channels), *_sides(net.config.sample_size))
        inner = tuple(net.encode(example.new_zeros(1, *shape)).latent_dist.mean.shape[1:])
    notes = ["latents are the encoder's means, scaled as its pipelines do", "round trips err (see exactness)"]
    if unet is None:
        notes.append("latents are taken for N(0, I), which an autoencoder's are not exactly")
    return Autoencoder(net, shape, inner, pixels, {"family": "diffusers", "notes": notes}, temperature)


def _sides(size: Any) -> tuple[int, int]:
    """Height and width of a configuration's sample_size."""
    if isinstance(size, (list, tuple)):
        return int(size[0]), int(size[1])
    if size is None:
        raise ValueError(
            "Expected the shape of pictures, which this model's configuration leaves open; got none. "
            "Give shape=(C, H, W)."
        )
    return int(size), int(size)


def _notes(scheduler: Any, steps: int, method: str, power: float | None) -> list[str]:
    config, grid = scheduler.config, "the scheduler's own grid" if power is None else f"grid power {power:g}"
    if type(scheduler).__name__ == FLOW:
        return [f"{steps} steps of flow matching ({method}), {grid}: part of the model"]
    notes = [f"{steps} steps of DDIM (eta 0), {grid}: part of the model"]
    if type(scheduler).__name__ == "DDPMScheduler":
        notes.append("DDIM is used instead of DDPM, whose steps draw noise and have no inverse")
    for name in ("clip_sample", "thresholding"):
        if config.get(name):
            notes.append(f"{name} is switched off: a clipped step has no inverse")
    return notes


def _part(folder: Path, name: str, kind: Any, path_or_id: Any, dtype: torch.dtype) -> Any:
    place = folder / name if (folder / name).is_dir() else folder  # older repositories keep all at the top
    if not (place / CONFIGS[name]).is_file():
        raise ValueError(f"Expected a pipeline's folder with {name}/{CONFIGS[name]}; got one without: {path_or_id}.")
    loading: dict[str, Any] = {"use_safetensors": True, "low_cpu_mem_usage": False, "torch_dtype": dtype}
    loading = {} if name == "scheduler" else loading
    if loading and not list(place.glob("*.safetensors")):
        raise ValueError(
            f"Expected safetensors weights of the {name}; got none: {path_or_id}. Save the pipeline again."
        )
    try:
        return kind.from_pretrained(str(place), local_files_only=True, **loading)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        why = str(error).strip().splitlines()[0][:200].rstrip(".") if str(error).strip() else type(error).__name__
        raise ValueError(f"Expected a whole {name}; got a damaged one ({why}): {path_or_id}.") from error


def _downloaded(name: str) -> Path:
    """The folder of a hub id: of the local cache, or downloaded into it."""
    hub = importlib.import_module("huggingface_hub")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for offline in (True, False):
            try:
                found = Path(hub.snapshot_download(name, allow_patterns=FILES, local_files_only=offline))
            except hub.errors.HFValidationError:
                raise FileNotFoundError(f"Expected a pipeline's folder or a hub id; got neither: {name}.") from None
            except (OSError, hub.errors.HfHubHTTPError) as error:
                failed: Exception = error
                continue
            if not offline or list(found.glob("**/*.safetensors")):
                return found
    raise FileNotFoundError(
        f"Expected a pipeline's folder, or a hub id that is reachable; got {name}, which is neither "
        f"({type(failed).__name__}). Give a folder."
    ) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"Expected a JSON file of diffusers; got a damaged one: {path}.")
    return found
