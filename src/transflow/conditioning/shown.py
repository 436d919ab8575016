"""How a posterior looks in a notebook: its evidence, samples of it, and its noise or novelty in words."""

from __future__ import annotations

import base64
import html

import torch

from transflow.conditioning.conditioned import Conditioned
from transflow.conditioning.tempered import tempered
from transflow.pictures.grids import encode_image, grid, to_uint8

COLUMNS = 8


def png(posterior: Conditioned, seed: int = 0) -> bytes:
    """Return a picture: a row of the evidence, where its latents are kept, and a row of samples.

    Args:
        posterior: what is shown; of models of few channels, 1 or 3.
        seed: of the samples, the same each time.
    """
    model, rows, parts = posterior.model, [], []
    if posterior.kept is not None and len(posterior.kept.rows):
        known = posterior.kept.rows[:COLUMNS]
        known = known[torch.arange(COLUMNS, device=known.device) % len(known)]
        parts.append(to_uint8(model.decode(known.float())))
        rows.append("evidence")
    samples = tempered(model, posterior.drawn.sample(COLUMNS, seed=seed), posterior.drawn.mean, posterior.newness)
    parts.append(to_uint8(model.decode(samples)))
    rows.append("new")
    return encode_image(grid(torch.cat(parts), COLUMNS, rows=rows), ".png")


def as_html(posterior: Conditioned, content: bytes) -> str:
    """Return a line of words over the picture that `png` gave."""
    words = [posterior.model.name, f"{posterior.evidence.count} pictures", f"learned: {posterior.learn}"]
    if posterior.chosen.drawn is None and posterior.evidence.count:
        words.append(str(posterior.noise))
    picture = base64.b64encode(content).decode()
    shown = html.escape(", ".join(words))
    return f'<div>{shown}</div>\n<img alt="evidence and samples" src="data:image/png;base64,{picture}">'
