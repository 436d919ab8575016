"""The method on one page: synthetic evidence, posteriors, new pictures, an animation.

No picture comes from anywhere: the evidence is the model's own samples, made grey, tinted or
partly covered, and faces drawn by code (see `pictures.drawn`).
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from string import Template

import torch
from torch import Tensor

from transflow.conditioning.model import Model
from transflow.conditioning.posterior import Posterior
from transflow.gaussians.learn import PARENTS
from transflow.library.load import load
from transflow.library.names import DEFAULT, SHOWN
from transflow.pictures.drawn import KINDS, synthetic_pictures
from transflow.pictures.grids import animation, encode_image, grid, layout, pairs, to_uint8
from transflow.pictures.largest import check_fits
from transflow.pictures.preprocess import greyscale
from transflow.showcase.folder import Folder
from transflow.store.files import PathLike

PAPER_RANGE = ("0.2m", "0.4m", "0.6m", "0.8m", "1m")
NOVELTIES = (0.0, 0.2, 0.4, 0.6, 0.7, 1.0)


@dataclass(frozen=True)
class Counts:
    """How many pictures the page has.

    Attributes:
        evidence: pictures of each kind.
        columns: of a sheet.
        frames: of the animation.
        followed: faces of the animation.
    """

    evidence: int = 24
    columns: int = 8
    frames: int = 24
    followed: int = 8


LARGE = 10_000  # numbers of a latent from which on a page has fewer pictures
FEWER = Counts(evidence=12, columns=6, frames=16, followed=3)


@dataclass(frozen=True)
class Text:
    """What the page says of a kind of evidence: a title, and what to look for."""

    title: str
    words: str


TEXTS = {
    "grey": Text(
        "Without colour",
        "The evidence is grey, so the new faces have little colour left. They are other people.",
    ),
    "tinted": Text("Tinted red", "A tint is a direction in pixel space, and one that all of the evidence shares."),
    "covered": Text(
        "With a bar over the eyes",
        "A dark bar where the model never saw one. It comes back with every new face.",
    ),
    "drawn": Text(
        "Drawn by code",
        "Flat ellipses and lines, far from any photograph: the new faces are drawn like them.",
    ),
}


def demo(
    folder: PathLike = "transflow-demo",
    *,
    model: PathLike = SHOWN,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write pictures, an animation and ``index.html`` that explains them; return the page's path.

    Args:
        folder: where to write; created if it does not exist.
        model: a bundled model's name, or another of faces as `load` takes it; scores are of the default model.
        seed: seed of all random draws.
        report: called with the path of each file that is written.
        overwrite: write into a folder with other files than an earlier demo's, too.

    Raises:
        OSError: the folder cannot be created or written.
    """
    target = Folder(folder, report, overwrite)
    old, scoring = load(model), load(DEFAULT)
    counts = FEWER if old.dim > LARGE else Counts()
    columns = counts.columns
    check_fits("GIF", *layout(old.shape, counts.followed, counts.followed).size, counts.frames)
    own = to_uint8(_samples(old, counts.evidence, seed))
    target.write("prior.png", _png(own[: 2 * columns], columns))
    evidence = {kind: _evidence(kind, own, seed) for kind in KINDS}
    posteriors = {kind: old.condition(pictures) for kind, pictures in evidence.items()}
    for kind, posterior in posteriors.items():
        new = to_uint8(posterior.pictures(2 * columns, seed=seed + 1))
        rows = ("evidence", "new", "new")
        target.write(f"{kind}.png", _png(torch.cat([evidence[kind][:columns], new]), columns, rows))
        if kind == "drawn":
            first = torch.cat([evidence[kind][:columns], new[:columns]])
            target.write("first.png", _png(first, columns, ("evidence", "new")))
        posterior.save(target.path / f"{kind}.safetensors")
    drawn = [posteriors["drawn"].with_learn(novelty=novelty).pictures(columns, seed=seed + 3) for novelty in NOVELTIES]
    target.write("novelty.png", _png(torch.cat(drawn), columns, tuple(f"{novelty:g}" for novelty in NOVELTIES)))
    paper = replace(posteriors["tinted"].with_learn("mean"), kept=None)
    swept = [replace(paper, spec=noise).pictures(columns, seed=seed + 3) for noise in PAPER_RANGE]
    target.write("sweep.png", _png(torch.cat(swept), columns, PAPER_RANGE))
    frames = posteriors["tinted"].strip(posteriors["grey"], counts.frames, counts.followed, seed=seed + 2)
    target.write("interpolation.gif", animation([grid(frame, counts.followed) for frame in frames]))
    result = old.reconstruct(own[:columns])
    target.write("reconstruct.png", encode_image(pairs(result.pictures, result.decoded), ".png"))
    cases = _cases(to_uint8(_samples(scoring, 1, seed)), seed)
    scored = grid(torch.cat(list(cases.values())), len(cases), heads=tuple(cases), zoom=4)
    target.write("scores.png", encode_image(scored, ".png"))
    page = Template(resources.files("transflow.showcase").joinpath("demo.html").read_text("utf-8")).substitute(
        name=html.escape(old.name),
        scoring=html.escape(scoring.name),
        evidence=counts.evidence,
        dim=f"{old.dim:,}",
        sections="\n".join(_section(kind, posterior) for kind, posterior in posteriors.items()),
        noises=", ".join(PAPER_RANGE),
        novelties=", ".join(f"{novelty:g}" for novelty in NOVELTIES),
        parents=PARENTS,
        error=f"{result.errors.max():.0e}",
        scores=_score_rows(scoring, cases),
        seed=seed,
    )
    return target.write("index.html", page.encode())


def _samples(model: Model, n: int, seed: int) -> Tensor:
    """Samples of the model itself, at the temperature at which they look best; 0.7 where it does not say."""
    return model.pictures(model.prior, n, seed=seed, temperature=model.temperature or 0.7)


def _png(pictures: Tensor, columns: int, rows: tuple[str, ...] = ()) -> bytes:
    return encode_image(grid(pictures, columns, rows=rows), ".png")


def _section(kind: str, posterior: Posterior) -> str:
    title = html.escape(TEXTS[kind].title)
    return (
        f"<h3>{title}</h3>\n<p>{html.escape(TEXTS[kind].words)} "
        f"<small>{posterior.evidence.count} pictures</small></p>\n"
        f'<img src="{kind}.png" alt="{title}: evidence above, new pictures below">'
    )


def _evidence(kind: str, own: Tensor, seed: int) -> Tensor:
    """Pictures of a kind, (B, C, H, W) as the model's own are."""
    made = synthetic_pictures(kind, own.expand(-1, 3, -1, -1), seed)
    return made if own.shape[1] == 3 else greyscale(made)[:, :1]


def _cases(own: Tensor, seed: int) -> dict[str, Tensor]:
    """Pictures, one each, for which likelihood alone misleads: smooth ones are likely, and have short latents."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, own[:1].shape, generator=generator, dtype=torch.uint8, device="cpu")
    return {
        "face": own[:1],
        "grey face": synthetic_pictures("grey", own[:1], seed),
        "drawn": synthetic_pictures("drawn", own[:1], seed),
        "blank": torch.full_like(own[:1], 128),
        "noise": noise,
    }


def _score_rows(model: Model, cases: Mapping[str, Tensor]) -> str:
    """The rows of the table of scores."""
    scores = model.score(torch.cat(list(cases.values())))
    columns = (scores.log_prob.tolist(), scores.bits_per_dim.tolist(), scores.radius.tolist())
    return "\n".join(
        f"<tr><td>{name}</td><td>{log_prob:,.0f}</td><td>{bits:.2f}</td><td>{radius:.2f}</td></tr>"
        for name, log_prob, bits, radius in zip(cases, *columns, strict=True)
    )
