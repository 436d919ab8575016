"""Pictures made by code, to show and to test with: changed samples of a model, and drawn faces.

None comes from a photograph: the evidence that they make is free to publish.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from transflow.pictures.preprocess import greyscale, preprocess
from transflow.pictures.turned import EYES_APART, EYES_HEIGHT

KINDS = ("grey", "tinted", "covered", "drawn")


def synthetic_pictures(kind: str, own: Tensor, seed: int) -> Tensor:
    """Return pictures of a kind, uint8 (B, 3, H, W).

    Args:
        kind: "grey", "tinted" (red), "covered" (a dark bar over the eyes), all made of ``own``; or "drawn" faces.
        own: pictures to change, such as a model's samples, uint8 (B, 3, H, W); "drawn" takes their number and size.
        seed: seed of the drawn faces.

    Raises:
        ValueError: there is no such kind.
    """
    if kind == "grey":
        return greyscale(own)
    if kind == "tinted":
        grey = greyscale(own).float()
        tint = torch.tensor([1.15, 0.55, 0.45], dtype=torch.float32, device="cpu")
        return (grey * tint[:, None, None]).clamp(0, 255).to(torch.uint8)
    if kind == "covered":
        covered, size = own.clone(), own.shape[-1]
        covered[:, :, round(0.38 * size) : round(0.53 * size), round(0.15 * size) : round(0.85 * size)] = 20
        return covered
    if kind == "drawn":
        rng = np.random.default_rng(seed)
        return preprocess([draw_face(rng) for _ in range(len(own))], (own.shape[1], own.shape[2], own.shape[3]))
    raise ValueError(f"Expected a kind of pictures, one of {', '.join(KINDS)}; got {kind}.")


def draw_face(rng: np.random.Generator, side: int = 128) -> Image.Image:
    """Return a drawn face, its eyes where `pictures.turned` has them: a quarter of the width apart, at 45 % height."""
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
    for x in (0.5 - EYES_APART / 2, 0.5 + EYES_APART / 2):
        oval(x, EYES_HEIGHT, 0.055, 0.035, "white")
        oval(x, EYES_HEIGHT, 0.026, 0.03, "#2a2a3a")
        draw.line([side * (x - 0.06), side * 0.38, side * (x + 0.06), side * 0.38], fill=hair, width=3)
    draw.line([side * 0.5, side * 0.48, side * 0.48, side * 0.6, side * 0.52, side * 0.6], fill="#6b4226", width=2)
    bend = rng.uniform(0.02, 0.09)
    box = [side * 0.4, side * (0.7 - bend), side * 0.6, side * (0.7 + bend)]
    draw.chord(box, 0, 180, fill="#a03030")
    return picture
