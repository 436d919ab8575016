"""What panels show, as HTML: pictures as data of the page itself, so that no file of them is served; tables; notes.

Every word that came from a browser is escaped here.
"""

from __future__ import annotations

import base64
import html

import torch
from torch import Tensor

from transflow.app.classifying import NONE, Classified
from transflow.app.gathering import Seen
from transflow.app.scoring import Scored
from transflow.pictures.grids import animation, encode_image, grid

SMALL = 64  # pixels of a side up to which enlarged pictures keep their squares
PAIR = 2  # pictures up to which a sheet is narrow, so that they are not enlarged beyond all measure


def escaped(text: str) -> str:
    """Return text as HTML."""
    return html.escape(text, quote=True)


def counted(count: int, noun: str) -> str:
    """Return a number and its noun.

    >>> counted(1, "picture"), counted(2, "picture")
    ('1 picture', '2 pictures')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def png(pictures: Tensor, columns: int | None = None, *, zoom: int = 1, gap: int = 1) -> bytes:
    """Return pictures (B, C, H, W) laid out as one PNG."""
    return encode_image(grid(pictures, columns, zoom=zoom, gap=gap), ".png")


def image(content: bytes, words: str, kind: str = "png", *, sharp: bool = False) -> str:
    """Return a picture as an element of the page; ``words`` say what is on it to who cannot see it."""
    data = base64.b64encode(content).decode()
    sharply = " tf-sharp" if sharp else ""
    return f'<img class="tf-picture{sharply}" alt="{escaped(words)}" src="data:image/{kind};base64,{data}">'


def sheet(pictures: Tensor, words: str, caption: str = "", columns: int | None = None, wanted: int = 0) -> str:
    """Return pictures as one figure.

    Args:
        pictures: (B, C, H, W), floats in [0, 1] or uint8.
        words: what is on it.
        caption: below it; may be empty.
        columns: pictures in a row; the default makes it about square.
        wanted: how many there will be; those that are not there yet are grey.
    """
    if len(pictures) < wanted:
        blank = torch.full_like(pictures[:1], 0.9).expand(wanted - len(pictures), -1, -1, -1)
        pictures = torch.cat([pictures, blank])
    shown = image(png(pictures, columns), words, sharp=pictures.shape[-1] <= SMALL)
    below = f"<figcaption>{escaped(caption)}</figcaption>" if caption else ""
    pair = " tf-pair" if len(pictures) <= PAIR else ""
    return f'<figure class="tf-figure{pair}">{shown}{below}</figure>'


def moving(frames: Tensor, words: str) -> str:
    """Return an animation of frames (F, n, C, H, W), or a sheet of them to who wants nothing to move."""
    steps, n = frames.shape[:2]
    sharp = frames.shape[-1] <= SMALL
    zoom = max(1, 128 // frames.shape[-1])
    film = image(animation([grid(frame, n, zoom=zoom, gap=2) for frame in frames]), words, "gif")
    still = png(frames.transpose(0, 1).flatten(0, 1), steps)
    data = base64.b64encode(still).decode()
    calm = f'<source media="(prefers-reduced-motion: reduce)" srcset="data:image/png;base64,{data}">'
    row = image(still, f"{words}, as a sheet", sharp=sharp)
    return f'<figure class="tf-figure"><picture>{calm}{film}</picture>{row}</figure>'


def evidence(some: Seen | None = None) -> str:
    """Return a set of pictures as the model sees it, each with its name to who points at it."""
    if some is None or not len(some):
        return '<p class="tf-empty">No picture yet.</p>'
    cells = "".join(
        f'<li title="{escaped(name)}">{_small(picture, name)}</li>'
        for name, picture in zip(some.names, some.pixels, strict=True)
    )
    _, height, width = some.pixels.shape[1:]
    return (
        f'<ul class="tf-strip">{cells}</ul><p class="tf-note">{counted(len(some), "picture")}, as the model sees them: '
        f"{width} x {height} pixels</p>"
    )


def note(text: str) -> str:
    """Return one line of text that a screen reader says when it changes."""
    return f'<p class="tf-note" role="status">{escaped(text)}</p>' if text else ""


def classes(found: Classified, query: Seen) -> str:
    """Return a table of what each picture was taken for."""
    heads = "".join(f"<th scope='col'>{escaped(name)}</th>" for name in found.classes)
    rows = []
    for i, name in enumerate(found.names):
        verdict = found.verdict(i)
        bars = "".join(_share(value) for value in found.probabilities[i])
        p = "?" if found.p_values is None else f"{found.p_values[i]:.2g}"
        none = f"<strong>{NONE}</strong> ({p})" if verdict == NONE else f"no ({p})" if p != "?" else "cannot be told"
        picture = _small(query.pixels[i], name)
        rows.append(
            f"<tr><th scope='row'>{picture}<span>{escaped(name)}</span></th>"
            f"<td><strong>{escaped(verdict)}</strong></td>{bars}<td>{none}</td></tr>"
        )
    head = f"<tr><th scope='col'>picture</th><th scope='col'>taken for</th>{heads}<th scope='col'>{NONE} (p)</th></tr>"
    return f'<div class="tf-scroll"><table class="tf-table">{head}{"".join(rows)}</table></div>'


def scores(found: Scored, some: Seen) -> str:
    """Return a table of scores."""
    heads = ["picture", "log likelihood (nats)", "bits/dim", "|z| / sqrt(D)"]
    columns = [found.log_prob, found.bits_per_dim, found.radius]
    forms = ["{:,.0f}", "{:.2f}", "{:.2f}"]
    for words, column in (("p by likelihood", found.by_likelihood), ("p by typicality", found.by_typicality)):
        if column is not None:
            heads.append(words)
            columns.append(column)
            forms.append("{:.3f}")
    head = "".join(f"<th scope='col'>{word}</th>" for word in heads)
    rows = []
    for i, name in enumerate(found.names):
        cells = "".join(f"<td>{form.format(column[i])}</td>" for form, column in zip(forms, columns, strict=True))
        picture = _small(some.pixels[i], name)
        rows.append(f"<tr><th scope='row'>{picture}<span>{escaped(name)}</span></th>{cells}</tr>")
    return f'<div class="tf-scroll"><table class="tf-table"><tr>{head}</tr>{"".join(rows)}</table></div>'


def _small(picture: Tensor, name: str) -> str:
    """One picture (C, H, W) beside its name."""
    return image(png(picture[None], gap=0), name, sharp=picture.shape[-1] <= SMALL)


def _share(value: float) -> str:
    """A probability as a cell with a bar."""
    return f'<td class="tf-share" style="--share:{value:.4f}">{value:.1%}</td>'
