"""The method shown: evidence made here, posteriors, pictures, an animation and a page about them.

No picture comes from anywhere: the evidence is the model's own samples, made grey, tinted or
partly covered, and faces drawn by a few lines of code.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from transflow.conditioning.model import Model
from transflow.conditioning.posterior import Posterior
from transflow.library import names as hub
from transflow.library.load import load
from transflow.pictures import grids as figures
from transflow.pictures.preprocess import greyscale, preprocess
from transflow.store import container as checkpoint

EVIDENCE = 24  # pictures of each kind
SHOWN = 8
PAPER_RANGE = ("0.2m", "0.4m", "0.6m", "0.8m", "1m")


@dataclass(frozen=True)
class Kind:
    """One kind of evidence: its file name, a title, and what to look for."""

    name: str
    title: str
    words: str


KINDS = (
    Kind(
        "grey",
        "Without colour",
        "The evidence is grey, so the new faces have little colour left. They are other people.",
    ),
    Kind("tinted", "Tinted red", "A tint is a direction in pixel space, and one the posterior mean follows at once."),
    Kind(
        "covered",
        "With a bar over the eyes",
        "A dark bar where the model never saw one. It comes back with every new face.",
    ),
    Kind(
        "drawn",
        "Drawn by code",
        "Flat ellipses and lines, far from any photograph: the new faces take on their flatness.",
    ),
)


def demo(
    folder: checkpoint.PathLike = "transflow-demo", *, seed: int = 0, report: Callable[[str], None] | None = None
) -> Path:
    """Write pictures, an animation and ``index.html`` that explains them; return the page's path.

    Args:
        folder: where to write; made if it is not there.
        seed: of everything random.
        report: told each file as it is written.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder = Path(folder)
    checkpoint.check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, content: bytes) -> None:
        checkpoint.write_bytes(folder / name, content)
        if report:
            report(f"transflow: {folder / name}")

    def write_picture(name: str, picture: Image.Image) -> None:
        write(name + ".png", figures.encode_image(picture, ".png"))

    name = next(iter(hub.bundled()))
    model = load(name)
    own = figures.to_uint8(model.pictures(model.prior, EVIDENCE, seed=seed, temperature=0.7))
    made = {kind.name: evidence(kind.name, own, seed) for kind in KINDS}
    write_picture("prior", figures.grid(own[: 2 * SHOWN], SHOWN))
    posteriors: dict[str, Posterior] = {}
    sections = []
    for kind in KINDS:
        pictures = made[kind.name]
        posterior = posteriors[kind.name] = model.condition(pictures)
        new = figures.to_uint8(posterior.pictures(2 * SHOWN, seed=seed + 1))
        rows = ("evidence", "new", "new")
        write_picture(kind.name, figures.grid(torch.cat([pictures[:SHOWN], new]), SHOWN, rows=rows))
        posterior.save(folder / f"{kind.name}.safetensors")
        sections.append(_section(kind, posterior))
    write_picture("sweep", _sweep(model, made["tinted"], seed))
    frames = posteriors["tinted"].strip(posteriors["grey"], 24, SHOWN, seed=seed + 2)
    write("interpolation.gif", figures.animation([figures.grid(frame, SHOWN) for frame in frames]))
    result = model.reconstruct(own[:SHOWN])
    write_picture("reconstruct", figures.pairs(result.pictures, result.decoded))
    strange, table = _scores(model, own, seed)
    write_picture("scores", strange)
    page = Template(resources.files("transflow.showcase").joinpath("demo.html").read_text("utf-8")).substitute(
        name=html.escape(name),
        evidence=EVIDENCE,
        dim=f"{model.dim:,}",
        sections="\n".join(sections),
        noises=", ".join(PAPER_RANGE),
        error=f"{result.errors.max():.0e}",
        scores=table,
        seed=seed,
    )
    write("index.html", page.encode())
    return folder / "index.html"


def evidence(kind: str, own: Tensor, seed: int) -> Tensor:
    """Return evidence pictures of a kind, uint8 (B, C, H, W), made from the model's own samples or by drawing."""
    if kind == "grey":
        return greyscale(own)
    if kind == "tinted":
        grey = greyscale(own).float()
        return (grey * torch.tensor([1.15, 0.55, 0.45])[:, None, None]).clamp(0, 255).to(torch.uint8)
    if kind == "covered":
        covered, size = own.clone(), own.shape[-1]
        covered[:, :, round(0.38 * size) : round(0.53 * size), round(0.15 * size) : round(0.85 * size)] = 20
        return covered
    rng = np.random.default_rng(seed)
    return preprocess([draw_face(rng) for _ in range(len(own))], (own.shape[1], own.shape[2], own.shape[3]))


def draw_face(rng: np.random.Generator, side: int = 128) -> Image.Image:
    """Return a drawn face: eyes a quarter of the width apart, centred at 45 % of the height."""
    skins = ["#f6d5b8", "#eebd95", "#d9a066", "#b07a4a", "#8d5a35"]
    hairs = ["#2b1d14", "#5a3a1e", "#a5692f", "#d9b35b", "#8f8f8f", "#9c3b1b"]
    backs = ["#8fb7d9", "#d9cf8f", "#b5d98f", "#d9a08f", "#c4b5dd", "#e8e4dc"]
    picture = Image.new("RGB", (side, side), str(rng.choice(backs)))
    draw = ImageDraw.Draw(picture)

    def oval(x: float, y: float, rx: float, ry: float, fill: str) -> None:
        draw.ellipse([side * (x - rx), side * (y - ry), side * (x + rx), side * (y + ry)], fill=fill)

    skin, hair = str(rng.choice(skins)), str(rng.choice(hairs))
    wide, long = rng.uniform(0.24, 0.29), rng.uniform(0.33, 0.38)
    if rng.random() < 0.5:
        draw.rectangle([side * (0.5 - wide - 0.08), side * 0.35, side * (0.5 + wide + 0.08), side * 0.85], fill=hair)
    oval(0.5, 0.42, wide + 0.07, long + 0.02, hair)
    draw.rectangle([side * 0.41, side * 0.75, side * 0.59, side], fill=skin)
    oval(0.5, 1.06, 0.42, 0.18, str(rng.choice(backs)))
    oval(0.5, 0.53, wide, long, skin)
    if rng.random() < 0.5:
        draw.pieslice([side * (0.5 - wide), side * 0.12, side * (0.5 + wide), side * 0.52], 180, 360, fill=hair)
    for x in (0.375, 0.625):
        oval(x, 0.45, 0.055, 0.035, "white")
        oval(x, 0.45, 0.026, 0.03, "#2a2a3a")
        draw.line([side * (x - 0.06), side * 0.38, side * (x + 0.06), side * 0.38], fill=hair, width=3)
    draw.line([side * 0.5, side * 0.48, side * 0.48, side * 0.6, side * 0.52, side * 0.6], fill="#6b4226", width=2)
    bend = rng.uniform(0.02, 0.09)
    box = [side * 0.4, side * (0.7 - bend), side * 0.6, side * (0.7 + bend)]
    draw.chord(box, 0, 180, fill="#a03030")
    return picture


def _section(kind: Kind, posterior: Posterior) -> str:
    noise = posterior.noise
    return (
        f"<h3>{html.escape(kind.title)}</h3>\n<p>{html.escape(kind.words)} "
        f"<small>&lambda; = {noise.per_count:.2f}m</small></p>\n"
        f'<img src="{kind.name}.png" alt="{html.escape(kind.title)}: evidence above, new pictures below">'
    )


def _sweep(model: Model, pictures: Tensor, seed: int) -> Image.Image:
    rows = model.sweep(pictures, PAPER_RANGE, SHOWN, seed=seed + 3)
    return figures.grid(rows.flatten(0, 1), SHOWN, rows=PAPER_RANGE)


def _scores(model: Model, own: Tensor, seed: int) -> tuple[Image.Image, str]:
    """Show that a likelihood alone calls smooth pictures likely, which have short latents, and noise unlikely."""
    noise = torch.randint(0, 256, own[:1].shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    cases = {
        "face": own[:1],
        "grey face": greyscale(own[:1]),
        "drawn": evidence("drawn", own[:1], seed),
        "blank": torch.full_like(own[:1], 128),
        "noise": noise,
    }
    scores = model.score(torch.cat(list(cases.values())))
    rows = "\n".join(
        f"<tr><td>{name}</td><td>{log_prob:,.0f}</td><td>{bits:.2f}</td><td>{radius:.2f}</td></tr>"
        for name, log_prob, bits, radius in zip(
            cases, scores.log_prob.tolist(), scores.bits_per_dim.tolist(), scores.radius.tolist(), strict=True
        )
    )
    return figures.grid(torch.cat(list(cases.values())), len(cases), heads=tuple(cases), zoom=4), rows
