"""What a notebook shows of a posterior: evidence over samples, and what they are, in words."""

import base64
import io
import re

import numpy as np
import torch
from PIL import Image

from transflow import wrap
from transflow.conditioning import shown
from transflow.pictures.grids import grid, to_uint8


def test_evidence_over_samples(model, pixels):
    posterior = model.condition(pixels)
    with Image.open(io.BytesIO(posterior._repr_png_())) as picture:
        seen = np.array(picture.convert("RGB"))
    own, kept = model.encode(pixels), posterior.kept.rows.float()[:8]
    assert all((own == row).all(1).any() for row in kept)
    evidence = model.decode(kept)
    rows = torch.cat([to_uint8(evidence), to_uint8(posterior.pictures(8, seed=0))])
    expected = np.array(grid(rows, 8, rows=["evidence", "new"]))
    assert seen.shape == expected.shape
    assert (seen == expected).mean() > 0.99


def test_words_and_picture(model, pixels):
    said = model.condition(pixels, "0.5m")._repr_html_()
    assert "0.5m" in said
    assert f"{len(pixels)} pictures" in said
    inside = base64.b64decode(re.search(r"base64,([^\"]+)", said)[1])
    assert inside[1:4] == b"PNG"


def test_pictures_that_cannot_be_seen():
    model = wrap(encode=lambda x: 2 * x.flatten(1), decode=lambda z: z.view(-1, 2, 1, 1) / 2, shape=(2, 1, 1))
    posterior = model.condition(torch.zeros(3, 2, 1, 1, dtype=torch.uint8))
    assert posterior._repr_png_() is None
    assert posterior._repr_html_() is None


def test_pictures_are_drawn_once_for_all_forms(model, pixels, monkeypatch):
    drawn = []
    png = shown.png
    monkeypatch.setattr(shown, "png", lambda posterior: drawn.append(1) or png(posterior))
    posterior = model.condition(pixels)
    posterior._repr_html_()
    posterior._repr_png_()
    assert len(drawn) == 1
    more = posterior.add(pixels.flip(0) // 2)
    assert more._repr_png_() != posterior._repr_png_()
    assert len(drawn) == 2


def test_a_posterior_without_evidence_shows_the_models_own(model, pixels):
    posterior = model.condition(pixels, "0.5m").remove(pixels)
    assert "0 pictures" in posterior._repr_html_()
    assert posterior._repr_png_()[1:4] == b"PNG"
