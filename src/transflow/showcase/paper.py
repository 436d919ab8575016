"""Every figure of the paper, of its blog post and of the lecture on it, by one command: ``transflow paper``.

Each figure is made with the model at hand and the pictures at hand, or with stand-ins, and stands on a page beside what
the paper shows there.

Reference: Gambardella, Baydin and Torr 2019, *Transflow Learning: Repurposing Flow Models Without Retraining*.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transflow.library.load import load
from transflow.library.names import DEFAULT
from transflow.showcase import paper_digits, paper_figures, paper_planes
from transflow.showcase.folder import Folder
from transflow.showcase.paper_figures import Made, Maker
from transflow.showcase.paper_pictures import KINDS, PaperPictures
from transflow.store.files import PathLike


@dataclass(frozen=True)
class Figure:
    """A figure to be made.

    Attributes:
        title: what it is, in a line.
        paper: what is shown there.
        make: makes it.
    """

    title: str
    paper: str
    make: Maker


FIGURES = {
    "figure-2": Figure(
        "Prior, evidence and posterior in two dimensions",
        "The posterior lies between prior and evidence; with a larger lambda its mean is closer to the prior's and its "
        "covariance larger.",
        paper_planes.plane,
    ),
    "figure-3": Figure(
        "From one kind to another, through the parameters of two posteriors",
        "Faces on the way between two kinds of art, all of them faces.",
        paper_figures.way_through_parameters,
    ),
    "figure-4": Figure(
        "From one kind to another, on straight lines between samples",
        "The same way between samples of both posteriors.",
        paper_figures.way_through_samples,
    ),
    "figure-5": Figure(
        "Evidence like the training data",
        "New faces with what the evidence has in common.",
        paper_figures.like,
    ),
    "figure-6": Figure(
        "Occluded, dark and noisy evidence",
        "New faces that are occluded, dark or noisy too.",
        paper_figures.changed,
    ),
    "figure-7": Figure(
        "Grey evidence, by lambda",
        "From the evidence's mean back to coloured faces as lambda grows.",
        paper_figures.grey,
    ),
    "figure-8": Figure(
        "Evidence unlike the training data",
        "Faces with attributes of art that the model never saw.",
        paper_figures.unlike,
    ),
    "figure-9": Figure(
        "Digits of a model of faces, from 1, 5 and 30 examples",
        "Samples come to look like the digits as examples are added.",
        paper_digits.samples,
    ),
    "table-1": Figure(
        "Few-shot classification of digits",
        "Accuracy from 1 to 30 examples of a class, beside nearest neighbours.",
        paper_digits.accuracy,
    ),
    "gaussians": Figure(
        "Prior, likelihood, posterior and predictive, as evidence comes",
        "The blog post's Gaussians.",
        paper_planes.line,
    ),
    "magnitude": Figure(
        "From the zero vector to a picture", "The blog post's animation of a latent's length.", paper_figures.magnitude
    ),
    "as-a-person": Figure(
        "One picture of another kind, as a picture of the model's kind",
        "The blog post's anime character as a real person.",
        paper_figures.as_a_person,
    ),
    "latent-map": Figure("A map of latents", "The lecture's map of a latent space.", paper_figures.latent_map),
    "cross-fade": Figure(
        "Interpolation against cross-fade",
        "The lecture's two ways from one picture to another: sharp pictures, and two on top of each other.",
        paper_figures.cross_fade,
    ),
    "arithmetic": Figure("Semantic arithmetic", "The lecture's sums of latents: a - b + c.", paper_figures.arithmetic),
}


def paper(
    folder: PathLike = "transflow-paper",
    *,
    model: PathLike = DEFAULT,
    pictures: Mapping[str, PathLike] | None = None,
    digits: PathLike | None = None,
    only: Sequence[str] = (),
    evidence: int = 24,
    queries: int = 500,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the paper's figures, and ``index.html`` beside what the paper shows; return the page's path.

    Args:
        folder: where to write; created if it does not exist.
        model: a model's name or file, as `load` takes it. The paper's is a Glow, as the default is.
        pictures: folders of pictures by kind: "like", "unlike", "other", "own" (see `paper_pictures`); of the kinds
            that are missing, stand-ins are made.
        digits: a folder of classes, or an ``.npz`` file as MNIST is distributed; None for scikit-learn's digits.
        only: names of figures, such as "figure-7"; all by default.
        evidence: how many stand-ins of a kind there are, 2 or more.
        queries: how many digits are classified.
        seed: of all random draws.
        report: called with the path of each file that is written.
        overwrite: write into a folder with other files than earlier figures, too.

    Raises:
        ValueError: there is no such figure or kind, or pictures that cannot be used.
        OSError: the folder cannot be created or written.
    """
    if isinstance(only, str):
        raise TypeError(f"Expected a list of figures; got {only!r}. Give [{only!r}].")
    for names, known, what in ((only, FIGURES, "figures"), (pictures or {}, KINDS, "kinds of pictures")):
        for name in names:
            if name not in known:
                raise ValueError(f"Expected {what} among {', '.join(known)}; got {name}.")
    if evidence < 2:
        raise ValueError(f"Expected two or more pictures of evidence; got {evidence}.")
    chosen = {name: figure for name, figure in FIGURES.items() if not only or name in only}
    if any(figure.make in (paper_planes.plane, paper_planes.line) for figure in chosen.values()):
        paper_planes.matplotlib()
    given = PaperPictures(load(model), pictures or {}, digits, evidence, queries, seed)
    given.check()
    target = Folder(folder, report, overwrite)
    sections = []
    for name, figure in chosen.items():
        made = figure.make(given)
        target.write(name + made.suffix, made.content)
        sections.append(_section(name, figure, made))
    return target.write("index.html", _page(given, sections).encode())


def _section(name: str, figure: Figure, made: Made) -> str:
    title = html.escape(figure.title)
    if made.suffix == ".csv":
        rows = csv.reader(io.StringIO(made.content.decode()))
        cells = "\n".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        shown = f"<table>\n{cells}\n</table>"
    else:
        shown = f'<img src="{name}{made.suffix}" alt="{title}">'
    return (
        f"<h2>{name}: {title}</h2>\n<p><b>There:</b> {html.escape(figure.paper)}<br>\n"
        f"<b>Here:</b> {html.escape(made.words)}.</p>\n{shown}"
    )


def _page(given: PaperPictures, sections: Sequence[str]) -> str:
    kinds = "\n".join(f"<li>{kind}: {html.escape(given.words(kind))}</li>" for kind in KINDS)
    style = (
        "body { font: 17px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto;"
        " padding: 0 1rem } img { max-width: 100%; image-rendering: pixelated }"
        " td { padding: .2rem .8rem .2rem 0; text-align: right } td:first-child { text-align: left }"
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="generator" content="transflow">\n'
        f"<title>The figures of Transflow Learning</title>\n<style>{style}</style>\n"
        f"<h1>The figures of <i>Transflow Learning</i>, with {html.escape(given.model.name)}</h1>\n"
        "<p>Beside what Gambardella, Baydin and Torr show (arXiv 1911.13270, 2019). "
        f"Seed {given.seed}; the pictures:</p>\n"
        f"<ul>\n{kinds}\n</ul>\n" + "\n".join(sections) + "\n</html>\n"
    )
