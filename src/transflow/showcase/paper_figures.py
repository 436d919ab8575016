"""The figures of faces: posteriors of evidence like and unlike the training data, ways between, edits.

Of each posterior two numbers are measured, on the pixels of its samples: how far their mean has come from the model's
own to the evidence's, s = <mean - mean_model, mean_evidence - mean_model> / |mean_evidence - mean_model|^2 (0 is the
model, 1 the evidence), and how much they differ from one another, as a share of what the evidence's pictures do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from transflow.conditioning import edits
from transflow.conditioning.posterior import Posterior
from transflow.gaussians.noise import NoiseSpec
from transflow.gaussians.paths import corrected
from transflow.pictures.grids import animation, encode_image, grid, to_uint8
from transflow.showcase.paper_pictures import PaperPictures

NOISE = "0.5m"  # the middle of the paper's range
NOISES = ("0.1m", "0.3m", "0.5m", "0.7m", "1m", "3m")
COLUMNS, MEASURED = 8, 64
STEPS, FRAMES, MAP = 7, 12, 7
GROWING = 6  # pictures of the animation


@dataclass(frozen=True)
class Made:
    """A figure.

    Attributes:
        content: of the file.
        suffix: of its name, such as ".png".
        words: what was measured, or is shown.
    """

    content: bytes
    suffix: str
    words: str


Maker = Callable[[PaperPictures], Made]


def way_through_parameters(p: PaperPictures) -> Made:
    """Interpolate between the parameters of two posteriors."""
    return _way(p, direct=False)


def way_through_samples(p: PaperPictures) -> Made:
    """Interpolate on straight lines between samples of two posteriors."""
    return _way(p, direct=True)


def like(p: PaperPictures) -> Made:
    """Condition on a kind that the model was trained on."""
    return _posteriors(p, {p.words("like"): p.of("like")})


def changed(p: PaperPictures) -> Made:
    """Condition on occluded, dark and noisy pictures."""
    return _posteriors(p, {how: p.changed(how) for how in ("covered", "dark", "noisy")})


def grey(p: PaperPictures) -> Made:
    """Condition on grey pictures, by the noise lambda."""
    evidence = p.changed("grey")
    first = paper_posterior(p, evidence, NOISES[0])
    posteriors = [replace(first, spec=noise) for noise in NOISES]
    rows = [posterior.pictures(COLUMNS, seed=p.seed + 3) for posterior in posteriors]
    seen = torch.cat([to_uint8(row) for row in rows])
    words = [f"{noise}: {measured(p, q, evidence)}" for noise, q in zip(NOISES, posteriors, strict=True)]
    return _sheet(torch.cat([_row(evidence), seen]), ("evidence", *NOISES), "; ".join(words))


def unlike(p: PaperPictures) -> Made:
    """Condition on a kind that the model never saw."""
    return _posteriors(p, {kind: p.of(name) for name in ("unlike", "other") for kind in [p.words(name)]})


def magnitude(p: PaperPictures) -> Made:
    """Go from the zero vector to pictures."""
    own = p.of("own")[:GROWING]
    latents = p.model.encode(own)
    shares = [i / (FRAMES - 1) for i in range(FRAMES)]
    frames = [grid(p.model.decode(share * latents), len(own), zoom=3) for share in shares]
    return Made(
        animation(frames), ".gif", f"t z for t = 0 .. 1 in {FRAMES} steps, of the latents z of {len(own)} pictures"
    )


def as_a_person(p: PaperPictures) -> Made:
    """Condition on one picture of a kind that the model never saw, by the noise lambda."""
    evidence = p.of("unlike")[:3]
    heads, columns = ["evidence"], [_row(evidence, len(evidence))]
    for noise in NOISES:
        one = [
            paper_posterior(p, picture[None], noise).pictures(1, seed=p.seed + 4 + i)
            for i, picture in enumerate(evidence)
        ]
        heads.append(noise)
        columns.append(to_uint8(torch.cat(one)))
    sheet = grid(torch.stack(columns, 1).flatten(0, 1), len(columns), heads=heads)
    return Made(encode_image(sheet, ".png"), ".png", "one picture a row is the whole evidence, m = 1")


def latent_map(p: PaperPictures) -> Made:
    """Draw the plane of latents through three pictures as a map."""
    a, b, c = p.model.encode(_row(p.of("own"), 3)).split(1)
    shares = [i / (MAP - 1) for i in range(MAP)]
    rows = [(corrected(a, b, v), corrected(a, c, v)) for v in shares]
    points = torch.cat([corrected(left, right, u) for left, right in rows for u in shares])
    seen = to_uint8(p.model.decode(points))
    return _sheet(
        seen, (), "the top row is one picture, the corners below the two others; latents keep their length", MAP
    )


def cross_fade(p: PaperPictures) -> Made:
    """Go from one picture to another through latents, and by a cross-fade of pixels."""
    own = p.of("own")
    first, last = own[:2], own[-2:]
    parts = [
        edits.between(p.model, first[i : i + 1], last[i : i + 1], STEPS + 1, path)[:, 0]
        for i in range(len(first))
        for path in ("spherical", edits.PIXELS)
    ]
    rows = ("latents", "pixels") * len(first)
    sharp = [part[STEPS // 2].diff(dim=-1).abs().mean().item() for part in parts]
    words = f"differences between neighbouring pixels halfway: {_mean(sharp[::2]):.3f} and {_mean(sharp[1::2]):.3f}"
    return _sheet(to_uint8(torch.cat(parts)), rows, words, STEPS + 1)


def arithmetic(p: PaperPictures) -> Made:
    """Compute a - b + c with means of latents, and with means of pixels."""
    a, own = p.of("like"), p.of("own")
    half = max(1, len(own) // 2)
    rows = []
    for i in range(4):
        c = own[half + i : half + i + 1] if half + i < len(own) else own[-1:]
        sums = [edits.arithmetic(p.model, a, own[:half], c, pixels=pixels) for pixels in (False, True)]
        rows.append(torch.cat([_row(a[:1], 1), _row(own[:1], 1), c, *map(to_uint8, sums)]))
    sheet = grid(torch.cat(rows), 5, heads=("a (one of)", "b (one of)", "c", "latents", "pixels"))
    words = f"a: {p.words('like')}, {len(a)}; b: {p.words('own')}, {half}; c: one of the others"
    return Made(encode_image(sheet, ".png"), ".png", words)


def paper_posterior(p: PaperPictures, evidence: Tensor, noise: NoiseSpec) -> Posterior:
    """Return the paper's posterior: of the mean alone."""
    return p.model.condition(evidence, noise, learn="mean")


def measured(p: PaperPictures, posterior: Posterior, evidence: Tensor) -> str:
    """Return how far a posterior's samples have come, and how much they differ, in words."""
    made = posterior.pictures(MEASURED, seed=p.seed + 5).double()
    seen, own = evidence.double() / 255, p.samples.double() / 255
    towards = seen.mean(0) - own.mean(0)
    share = ((made.mean(0) - own.mean(0)) * towards).sum() / towards.square().sum().clamp(min=1e-12)
    spread = made.std(0).mean() / seen.std(0).mean().clamp(min=1e-12)
    return f"{share:.2f} of the way, spread {spread:.2f}"


def _posteriors(p: PaperPictures, kinds: dict[str, Tensor]) -> Made:
    """Rows of evidence, of the paper's posterior and of parents, and their measures."""
    rows, seen, words = [], [], []
    for kind, evidence in kinds.items():
        ways = {NOISE: paper_posterior(p, evidence, NOISE), "parents": p.model.condition(evidence)}
        rows += ["evidence", *ways]
        seen += [_row(evidence), *(to_uint8(way.pictures(COLUMNS, seed=p.seed + 2)) for way in ways.values())]
        words += [f"{kind}, {name}: {measured(p, way, evidence)}" for name, way in ways.items()]
    return _sheet(torch.cat(seen), rows, "; ".join(words))


def _way(p: PaperPictures, direct: bool) -> Made:
    ends = [paper_posterior(p, p.of(kind), NOISE) for kind in ("unlike", "other")]
    strip = ends[0].strip(ends[1], STEPS + 1, 3, seed=p.seed + 6, direct=direct)
    latents = [end.sample(MEASURED, seed=p.seed + 6 + i).double() for i, end in enumerate(ends)]
    halfway = (
        (latents[0] + latents[1]) / 2
        if direct
        else ends[0].interpolate(ends[1], 3)[1].sample(MEASURED, seed=1).double()
    )
    radii = [part.norm(dim=1).mean().item() / p.model.dim**0.5 for part in (latents[0], halfway, latents[1])]
    words = f"|z| / sqrt(D) at one end, halfway and at the other: {', '.join(f'{radius:.2f}' for radius in radii)}"
    return _sheet(to_uint8(strip.transpose(0, 1).flatten(0, 1)), (), words, STEPS + 1)


def _sheet(pictures: Tensor, rows: Sequence[str], words: str, columns: int = COLUMNS) -> Made:
    return Made(encode_image(grid(pictures, columns, rows=rows), ".png"), ".png", words)


def _row(evidence: Tensor, count: int = COLUMNS) -> Tensor:
    """The first pictures of the evidence, repeated where it has fewer."""
    return evidence[torch.arange(count, device=evidence.device) % len(evidence)]


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
