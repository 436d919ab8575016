"""Other people's checkpoints as sources: opened without unpickling, recognised by the names of their weights.

    source = load("glow.pt", shape=(3, 64, 64))

What a file does not say, and the shapes of its weights do not either, is an option: the shape of a picture, how pixels
become floats, a class, a kind of coupling. What is missing is asked for in one line.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from transflow.adapters.checkpoint_formats import FORMATS, recognise
from transflow.adapters.checkpoint_source import CheckpointSource
from transflow.adapters.checkpoint_weights import Label
from transflow.adapters.layered_flow import ScaleMap
from transflow.pictures.pixels import PixelFormat
from transflow.pictures.preprocess import Shape
from transflow.store.files import PathLike
from transflow.store.foreign import read_tensors
from transflow.store.identity import fingerprint


def load(
    path: PathLike,
    *,
    format: str | None = None,
    shape: Shape | None = None,
    pixels: PixelFormat | None = None,
    label: Label = None,
    scale_map: ScaleMap | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> CheckpointSource:
    """Return the model in another program's checkpoint.

    Args:
        path: the file.
        format: one of `FORMATS`; without it, the one whose names the weights have.
        shape: of a picture, (C, H, W), where the weights do not say it.
        pixels: how the model sees pixels, where it is not as the format's training script has it.
        label: the class, or weights of classes, that a model which knows classes is taken for.
        scale_map: of the couplings of normflows: "sigmoid", "sigmoid_inv" or "exp".
        dtype: float32 or float64.
        device: where it is to compute.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it cannot be opened, is of no known format, is damaged, or an option is missing or too many.
    """
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"Expected dtype float32 or float64; got {dtype}.")
    if format is not None and format not in FORMATS:
        raise ValueError(f"Expected format {', '.join(FORMATS)}; got {format}.")
    weights = read_tensors(path)
    format = recognise(weights, path, FORMATS if format is None else (format,))
    found = FORMATS[format]
    given = {"label": label, "scale_map": scale_map}
    if refused := [name for name, value in given.items() if value is not None and name not in found.options]:
        raise ValueError(
            f"Expected options of a checkpoint of {format}; got {', '.join(refused)}, which it has not: {path}"
        )
    if (pixels := pixels or found.pixels) is None:
        raise ValueError(
            f"Expected pixels=PixelFormat(...), how pixels became floats in training, which a {format} file does not "
            f"say; got none: {path}"
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
        raise ValueError(f"Expected finite weights; got NaN or infinity: {path}")
    wanted = None if shape is None else tuple(shape)
    if wanted and (len(wanted) != 3 or not all(isinstance(side, int) and side > 0 for side in wanted)):
        raise ValueError(f"Expected shape=(channels, height, width); got {shape}.")
    taken = {name: given[name] for name in found.options}
    try:
        flow = found.build({name: tensor.double() for name, tensor in weights.items()}, wanted, **taken)
        flow.to(dtype).requires_grad_(False).eval()
        configuration = {"shape": flow.shape, "pixels": pixels} | {k: v for k, v in taken.items() if v is not None}
        source = CheckpointSource(
            flow=flow,
            shape=flow.shape,
            pixels=pixels,
            fingerprint=fingerprint(format, configuration, {k: t for k, t in weights.items() if found.uses(k)}),
            level_sizes=flow.level_sizes,
            card={"family": format, "name": Path(path).name, "notes": list(found.notes)},
            lacks={"features": "only the families of transflow give their hidden activations"} | dict(found.lacks),
        )
        exactness = None if "exactness" in source.lacks else round_trip_error(source)
    except KeyError as error:
        raise ValueError(f"Expected a whole checkpoint of {format}; got one without {error.args[0]}: {path}") from None
    except (RuntimeError, IndexError) as error:
        raise ValueError(
            f"Expected a checkpoint of {format} whose weights fit each other; got others "
            f"({' '.join(str(error).split())[:120]}): {path}"
        ) from None
    flow.to(device)
    return replace(source, exactness=exactness)


def round_trip_error(source: CheckpointSource) -> float:
    """Return the largest error of decode(encode(x)) of a grey picture and of noise, black to white being 1."""
    noise = torch.randint(
        0, 256, source.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0), device="cpu"
    )
    pictures = torch.stack([torch.full_like(noise, 128), noise])
    seen = source.pixels.unit_unclamped(source.pixels.centre(pictures))
    return float((source.decode_unclamped(source.encode(pictures)) - seen).abs().max())
