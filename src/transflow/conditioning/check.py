"""What a model is like, measured: the first thing to run with a model of one's own.

    round trip    max |decode(encode(x)) - x| on photographs, flat pictures and noise, black to white being 1
    length        |z| / sqrt(D), 1 for what the model takes for typical
    moved         max |encode(x) alone - encode(x) among others|: 0, unless latents depend on the neighbours in a batch
                  (batch norm in training mode) or are drawn at random
    gaussian      moments of the latents' numbers, correlation of neighbours, variance by frequency: 0, 1, 0, 0 and 1
                  where latents are N(0, I)
    density       log |det| against an autograd Jacobian
    temperature   the one at which samples are most like the photographs, by a Fréchet distance of small pictures
    few-shot      share of scikit-learn's digits classified correctly from ten examples a class

Without photographs the model's own samples stand for them, and no temperature is recommended.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transflow import metrics
from transflow.adapters import measure
from transflow.base_model import BaseModel
from transflow.conditioning import quality
from transflow.conditioning.gaussianity import Gaussianity, gaussianity
from transflow.conditioning.tempered import tempered
from transflow.gaussians.kept import Kept
from transflow.gaussians.learn import choose, parse_learn
from transflow.gaussians.parents import Parents
from transflow.pictures.decode import OnBad, read
from transflow.pictures.grids import to_uint8

TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
PICTURES = 64  # of each kind at most
FEWEST = 16  # photographs from which on a temperature can be recommended
MARGIN = 1.05  # of distances, from which on they tell temperatures apart
QUICK, THOROUGH = 256, 4096  # D up to which a Jacobian is made
SIDE = 8  # of the small pictures whose distance is measured


@dataclass(frozen=True)
class RoundTrip:
    """Pictures of one kind there and back.

    Attributes:
        kind: "photographs", "samples", "flat" or "noise".
        count: how many.
        error: the largest error of decode(encode(x)), of the range of pixels; NaN where it failed.
        length: mean of |z| / sqrt(D).
        spread: its standard deviation.
        failure: the error's text, where encoding or decoding failed.
    """

    kind: str
    count: int
    error: float = math.nan
    length: float = math.nan
    spread: float = math.nan
    failure: str = ""


@dataclass(frozen=True)
class Check:
    """What was measured of a model; `rows` is a table of it, `plain` what JSON can hold.

    Attributes:
        name: of the model.
        family: what it is.
        shape: (C, H, W).
        dim: D.
        round_trips: by kind of picture.
        encode_seconds: a picture, of a batch.
        decode_seconds: a picture, likewise.
        evaluations: of the network a picture, to encode and to decode, where a model of steps says it.
        gaussianity: of the latents of photographs (or samples); None where they could not be encoded.
        density: "exact", "none", or "off by N nats".
        temperature: the best of `TEMPERATURES`, or None where there are too few photographs, or they do not tell.
        distances: Fréchet distance at each temperature.
        broken: share of samples with values far beyond the range at T = 1, where the model shows them.
        notes: what its user must know.
        few_shot: share of digits classified correctly; None where it was not measured.
        renewed: what samples of a new model of the photographs are like; None where they are few.
        moved: how far a latent is from the one its picture has alone, in standard deviations; NaN where it failed.
    """

    name: str
    family: str
    shape: tuple[int, int, int]
    dim: int
    round_trips: tuple[RoundTrip, ...]
    encode_seconds: float
    decode_seconds: float
    evaluations: tuple[float, float] | None
    gaussianity: Gaussianity | None
    density: str
    temperature: float | None
    distances: Mapping[float, float]
    broken: float | None
    notes: tuple[str, ...] = ()
    few_shot: float | None = field(default=None)
    moved: float = math.nan
    renewed: quality.Quality | None = None

    def plain(self) -> dict[str, Any]:
        """Return all as plain values; NaN becomes None."""
        found: dict[str, Any] = _without_nan(asdict(self))
        return found

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield what was measured in words: (what, how much)."""
        yield "model", f"{self.name} ({self.family}), {' x '.join(map(str, self.shape))}, D = {self.dim:,}"
        for part in self.round_trips:
            length = f"|z|/sqrt(D) {part.length:.3f} +- {part.spread:.3f} (typical: 1)"
            yield f"round trip, {part.kind}", part.failure or f"{part.error:.1e} of the range, {length}"
        if not math.isnan(self.moved):
            word = "" if self.moved <= measure.LATENT_BOUND else ": not one latent a picture; is it in eval()?"
            yield "alone or in a batch", f"a latent differs by {self.moved:.1e} standard deviations{word}"
        cost = f"{self.encode_seconds:.3g} s to encode, {self.decode_seconds:.3g} s to decode"
        if self.evaluations:
            cost += f"; {self.evaluations[0]:.0f} and {self.evaluations[1]:.0f} evaluations"
        yield "cost a picture", cost
        if (g := self.gaussianity) is not None:
            moments = f"mean {g.mean:.3f}, deviation {g.deviation:.3f}, skewness {g.skewness:.2f}, "
            moments += f"excess kurtosis {g.kurtosis:.2f}, correlation of neighbours {g.neighbours:.3f}"
            yield "latents", f"{moments} (normal: 0, 1, 0, 0, 0)"
            yield "variance, fine to coarse", f"{', '.join(f'{v:.2f}' for v in g.by_frequency)} (normal: 1 each)"
        yield "density", self.density
        if self.temperature is not None:
            table = ", ".join(f"{t:g}: {d:.1f}" for t, d in self.distances.items())
            yield "best temperature", f"{self.temperature:g} (distances x 1000: {table})"
        if self.broken is not None:
            yield "broken samples at T = 1", f"{self.broken:.0%}"
        if self.renewed is not None and str(self.renewed):
            yield "samples of these photographs", str(self.renewed)
        if self.few_shot is not None:
            yield "digits, 10 a class", f"{self.few_shot:.1%} correct"
        for text in self.notes:
            yield "note", text


def check(
    model: BaseModel,
    pictures: Any = None,
    *,
    on_bad: OnBad | None = None,
    samples: int = PICTURES,
    thorough: bool = False,
) -> Check:
    """Return what a model is like.

    Args:
        model: any.
        pictures: photographs of the kind it was trained on, as `Model.encode` takes pixels and paths; at most
            `PICTURES` of them are used.
        on_bad: as `pictures.decode.read` takes it.
        samples: how many are drawn at each temperature.
        thorough: also compare log-determinants of larger models with autograd, which takes minutes.
    """
    own = to_uint8(model.decode(model.prior.sample(min(16, samples), seed=0)))
    photographs = own if pictures is None else read(pictures, model.shape, on_bad=on_bad).pixels[:PICTURES]
    word = "samples" if pictures is None else "photographs"
    kinds = {word: photographs, "flat": _flat(model), "noise": _noise(model)}
    trips, latents, seconds = [], None, (math.nan, math.nan)
    for kind, pixels in kinds.items():
        trip, z, took = _round_trip(model, kind, pixels)
        trips.append(trip)
        if kind == word and z is not None:
            latents, seconds = z, took
    distances: dict[float, float] = {}
    if pictures is not None and len(photographs) >= FEWEST:
        for temperature in TEMPERATURES:
            sample = tempered(model, model.prior.sample(samples, seed=1, temperature=temperature), model.prior.mean)
            drawn = model.decode(sample)
            distances[temperature] = 1000 * metrics.frechet_distance(_small(drawn), _small(model.quantise(photographs)))
    broken = None
    if model.can("unclamped"):
        sample = tempered(model, model.prior.sample(min(16, samples), seed=2), model.prior.mean)
        values = model.decode_unclamped(sample)
        broken = quality.broken_ones(values).double().mean().item()
    renewed = None
    if pictures is not None and latents is not None and len(latents) >= FEWEST:
        new = choose(parse_learn(), Kept.of(latents), model.level_sizes, model.shape).drawn
        if isinstance(new, Parents):
            made = tempered(model, new.sample(samples, seed=3), new.mean, new.novelty)
            renewed = quality.decode(model, made, Kept.of(latents))[1]
    evaluations: tuple[float, float] | None = None
    if model.can("evaluations"):
        to_encode, to_decode = model.source.evaluations(photographs[:8])
        evaluations = float(to_encode), float(to_decode)
    return Check(
        model.name,
        model.family,
        model.shape,
        model.dim,
        tuple(trips),
        *seconds,
        evaluations,
        None if latents is None else gaussianity(latents, model),
        _density(model, THOROUGH if thorough else QUICK),
        _best(distances),
        distances,
        broken,
        (*map(str, model.card.get("notes", ())), *_beyond(model)),
        moved=_moved(model, photographs[:3]),
        renewed=renewed,
    )


def _round_trip(model: BaseModel, kind: str, pixels: Tensor) -> tuple[RoundTrip, Tensor | None, tuple[float, float]]:
    try:
        begin = time.perf_counter()
        latents = model.encode_pixels(pixels)
        middle = time.perf_counter()
        decoded = model.decode(latents)
        took = (middle - begin) / len(pixels), (time.perf_counter() - middle) / len(pixels)
    except (ValueError, RuntimeError) as failed:
        return RoundTrip(kind, len(pixels), failure=" ".join(str(failed).split())), None, (math.nan, math.nan)
    error = (decoded.cpu() - model.quantise(pixels)).abs().max().item()
    length = latents.double().norm(dim=1) / math.sqrt(model.dim)
    return RoundTrip(kind, len(pixels), error, length.mean().item(), length.std(correction=0).item()), latents, took


def _moved(model: BaseModel, pixels: Tensor) -> float:
    try:
        return measure.batch_error(model.encode_pixels, pixels, model.encode_pixels(pixels))
    except (ValueError, RuntimeError):  # round trips say so
        return math.nan


def _best(distances: Mapping[float, float]) -> float | None:
    """The temperature of least distance, where distances differ by more than what chance does."""
    if not distances or max(distances.values()) < MARGIN * min(distances.values()):
        return None
    return min(distances, key=distances.__getitem__)


def _beyond(model: BaseModel) -> list[str]:
    """A note, where decoded pictures are not cut to the range."""
    values = model.decode(model.prior.sample(4, seed=3))
    if values.min() >= -1e-6 and values.max() <= 1 + 1e-6:
        return []
    return [f"its decode gives values of {values.min():.2f} to {values.max():.2f}: have it give [0, 1], clamped"]


def _density(model: BaseModel, largest: int) -> str:
    if not model.can("score"):
        return f"none ({why})" if (why := model.why_not("score")) else "none"
    error = measure.density_error(model.source, largest)
    if error is None:
        why = f"D = {model.dim:,} is more than {largest:,}" if model.dim > largest else "it has no gradient"
        return f"stated; not compared with autograd, since {why}"
    return f"off by {error:.2g} nats from autograd"


def _flat(model: BaseModel) -> Tensor:
    """Black, grey, white, and a checkerboard of pixels, uint8 (4, C, H, W)."""
    _, height, width = model.shape
    board = (torch.arange(height, device="cpu")[:, None] + torch.arange(width, device="cpu")[None]) % 2 * 255
    plain = [torch.full((height, width), value, dtype=torch.long, device="cpu") for value in (0, 128, 255)]
    return torch.stack([*plain, board]).to(torch.uint8)[:, None].expand(-1, model.shape[0], -1, -1).contiguous()


def _noise(model: BaseModel) -> Tensor:
    return torch.randint(
        0, 256, (2, *model.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0), device="cpu"
    )


def _small(pictures: Tensor) -> Tensor:
    """Features of pictures (B, C, H, W): averages on a small grid, and deviations within its cells."""
    pictures = pictures.double().cpu()
    height, width = pictures.shape[2:]
    side = (min(SIDE, height), min(SIDE, width))
    means = F.adaptive_avg_pool2d(pictures, side)
    rough = (F.adaptive_avg_pool2d(pictures.square(), side) - means.square()).clamp(min=0).sqrt()
    return torch.cat([means.flatten(1), rough.flatten(1)], 1)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
