"""Pictures made of pictures: grids with words beside them, strips, animations."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from transflow.pictures.fonts import SIZE, drawable, fitting_font
from transflow.pictures.written import marks

SHRINKS = (".ico", ".cur", ".icns")  # to 256 pixels, or to squares, in silence
INK, PAPER = (40, 40, 40), (255, 255, 255)


def to_uint8(pictures: Tensor) -> Tensor:
    """Return float pictures in [0, 1] as uint8, rounded; NaN becomes black."""
    return (pictures.detach().nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def zoom_for(size: int, columns: int, target: int = 1000) -> int:
    """Return the whole factor that makes a row of pictures about ``target`` pixels wide, 1 to 8."""
    return max(1, min(8, target // (size * columns)))


def grid(
    pictures: Tensor,
    columns: int | None = None,
    *,
    zoom: int | None = None,
    gap: int = 3,
    rows: Sequence[str] = (),
    heads: Sequence[str] = (),
) -> Image.Image:
    """Lay pictures out as one, row by row, on white.

    Args:
        pictures: (B, C, H, W), C of 1 or 3, uint8 or float in [0, 1]; B of 1 or more.
        columns: pictures in a row; the default makes it about square.
        zoom: whole factor by which each is enlarged, without smoothing; the default fits the page.
        gap: white pixels around each.
        rows: words to the left of each row.
        heads: words above each column.
    """
    if pictures.ndim != 4 or not len(pictures):
        raise ValueError(f"Expected pictures of shape (B, C, H, W), B of 1 or more; got {tuple(pictures.shape)}.")
    if pictures.dtype != torch.uint8:
        pictures = to_uint8(pictures)
    count, _, high, wide = pictures.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    zoom = zoom or zoom_for(wide, columns)
    font = fitting_font([*rows, *heads], 15)
    left = gap + (max(int(font.getlength(word)) for word in rows) + 8 if rows else 0)
    top = gap + (24 if heads else 0)
    step_x, step_y = wide * zoom + gap, high * zoom + gap
    sheet = Image.new("RGB", (left + columns * step_x, top + -(-count // columns) * step_y), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, pixels in enumerate(pictures.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).cpu().numpy()):
        tile = Image.fromarray(np.ascontiguousarray(pixels)).resize(
            (wide * zoom, high * zoom), Image.Resampling.NEAREST
        )
        sheet.paste(tile, (left + (i % columns) * step_x, top + (i // columns) * step_y))
    for i, word in enumerate(rows):
        draw.text((left - 8, top + i * step_y + high * zoom // 2), word, INK, font, anchor="rm")
    for i, word in enumerate(heads):
        draw.text((left + i * step_x + wide * zoom // 2, 14), word, INK, font, anchor="mm")
    return sheet


def pairs(above: Tensor, below: Tensor, columns: int = 8) -> Image.Image:
    """Lay out pictures in rows of two: each of ``above`` over its twin of ``below``, both (B, C, H, W)."""
    columns = min(columns, len(above))
    blank = above.new_ones((-len(above)) % columns, *above.shape[1:])
    rows = [torch.cat([x, blank]).unflatten(0, (-1, columns)) for x in (above, below)]
    return grid(torch.stack(rows, 1).flatten(0, 2), columns)


def confusion(counts: Tensor, names: Sequence[str], cell: int = 44) -> Image.Image:
    """Draw a confusion matrix, true classes as rows, predicted ones as columns: shares of a row as shades, and counts.

    Args:
        counts: shape (C, C), whole numbers.
        names: of the classes, C of them; where no font has the letters of one, its number, from 1, is drawn.
        cell: pixels of a square's side.
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(names) != len(counts):
        raise ValueError(f"Expected counts (C, C) and C names; got {tuple(counts.shape)} and {len(names)} names.")
    font = fitting_font(names, SIZE)
    names = drawable(names, font)
    left = 12 + max(int(font.getlength(name)) for name in names)
    sheet = Image.new("RGB", (left + cell * len(names) + 4, left + cell * len(names) + 4), PAPER)
    draw = ImageDraw.Draw(sheet)
    shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    for i, name in enumerate(names):
        middle = left + i * cell + cell // 2
        draw.text((left - 6, middle), name, INK, font, anchor="rm")
        word = Image.new("RGB", (left - 6, 18), PAPER)
        ImageDraw.Draw(word).text((0, 9), name, INK, font, anchor="lm")
        sheet.paste(word.rotate(90, expand=True), (middle - 9, 0))
        for j in range(len(names)):
            share, count = shares[i, j].item(), int(counts[i, j])
            shade = tuple(round(255 - share * (255 - ink)) for ink in (31, 73, 125))
            corner = (left + j * cell, left + i * cell)
            draw.rectangle((*corner, corner[0] + cell - 2, corner[1] + cell - 2), fill=shade)
            if count:
                ink = PAPER if share > 0.5 else INK
                draw.text((corner[0] + cell // 2, corner[1] + cell // 2), str(count), ink, font, anchor="mm")
    return sheet


def encode_image(picture: Image.Image, suffix: str) -> bytes:
    """Return the bytes of a picture file of this suffix, such as ".png"."""
    buffer, picture_format = io.BytesIO(), Image.registered_extensions()[suffix.lower()]
    picture.save(buffer, picture_format, **marks(picture_format))
    return buffer.getvalue()


def check_picture_file(path: str) -> None:
    """Raise `ValueError` now if no picture could be written to a file of this name."""
    suffix = Path(path).suffix.lower()
    if suffix in SHRINKS:
        raise ValueError(f"Expected a picture file that keeps every pixel, such as grid.png; got an icon: {path}")
    try:
        encode_image(Image.new("RGB", (8, 8)), suffix)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"Expected a picture file to write, such as grid.png; got: {path}") from None


def animation(frames: Sequence[Image.Image], milliseconds: int = 90) -> bytes:
    """Return a GIF that plays the frames forth and back, for ever."""
    if max(frames[0].size) >= 2**16:
        raise ValueError(f"Expected frames of at most 65,535 pixels a side for a GIF; got {frames[0].size}.")
    there_and_back = [*frames, *reversed(frames[1:-1])]
    first, *rest = [frame.quantize(128, dither=Image.Dither.NONE) for frame in there_and_back]
    buffer = io.BytesIO()
    how = {"save_all": True, "append_images": rest, "duration": milliseconds, "loop": 0, "optimize": False}
    first.save(buffer, "GIF", **how, **marks("GIF"))
    return buffer.getvalue()
