"""Pictures made of pictures: grids with words beside them, strips, animations."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, UnidentifiedImageError
from torch import Tensor

from transflow.pictures.fonts import SIZE, drawable, fitting_font
from transflow.pictures.largest import check_fits
from transflow.pictures.written import marks

INK, PAPER = (40, 40, 40), (255, 255, 255)


def to_uint8(pictures: Tensor) -> Tensor:
    """Return float pictures in [0, 1] as uint8, rounded; NaN becomes black."""
    return (pictures.detach().nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def zoom_for(size: int, columns: int, target: int = 1000) -> int:
    """Return the whole factor that makes a row of pictures about ``target`` pixels wide, 1 to 8."""
    return max(1, min(8, target // (size * columns)))


@dataclass(frozen=True)
class Layout:
    """Where pictures lie on a sheet, row by row; in pixels.

    Attributes:
        columns: pictures in a row.
        zoom: whole factor by which each is enlarged.
        left: of the first picture.
        top: of the first picture.
        step_x: from one picture to the next.
        step_y: from one row to the next.
        size: width and height of the sheet.
    """

    columns: int
    zoom: int
    left: int
    top: int
    step_x: int
    step_y: int
    size: tuple[int, int]


def layout(
    shape: tuple[int, int, int],
    count: int,
    columns: int | None = None,
    *,
    zoom: int | None = None,
    gap: int = 3,
    rows: Sequence[str] = (),
    heads: Sequence[str] = (),
) -> Layout:
    """Return how `grid` lays out pictures.

    Args:
        shape: (C, H, W) of each.
        count: B of them.
        columns, zoom, gap, rows, heads: as `grid` takes them.
    """
    _, high, wide = shape
    columns = columns or math.ceil(math.sqrt(count))
    zoom = zoom or zoom_for(wide, columns)
    font = fitting_font([*rows, *heads], 15)
    left = gap + (max(int(font.getlength(word)) for word in rows) + 8 if rows else 0)
    top = gap + (24 if heads else 0)
    step_x, step_y = wide * zoom + gap, high * zoom + gap
    return Layout(
        columns, zoom, left, top, step_x, step_y, (left + columns * step_x, top + -(-count // columns) * step_y)
    )


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
    count, *shape = pictures.shape
    found = layout((shape[0], shape[1], shape[2]), count, columns, zoom=zoom, gap=gap, rows=rows, heads=heads)
    columns, zoom, left, top, step_x, step_y = (
        found.columns, found.zoom, found.left, found.top, found.step_x, found.step_y
    )  # fmt: skip
    high, wide, font = shape[1], shape[2], fitting_font([*rows, *heads], 15)
    sheet = Image.new("RGB", found.size, PAPER)
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
    font, size = fitting_font(names, SIZE), confusion_size(names, cell)
    names = drawable(names, font)
    left = size[0] - cell * len(names) - 4
    sheet = Image.new("RGB", size, PAPER)
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


def confusion_size(names: Sequence[str], cell: int = 44) -> tuple[int, int]:
    """Return width and height of what `confusion` draws of classes of these names, in pixels."""
    font = fitting_font(names, SIZE)
    side = 16 + max(int(font.getlength(name)) for name in drawable(names, font)) + cell * len(names)
    return side, side


def encode_image(picture: Image.Image, suffix: str) -> bytes:
    """Return the bytes of a picture file of this suffix, such as ".png"."""
    buffer, picture_format = io.BytesIO(), format_of(suffix)
    check_fits(picture_format, *picture.size)
    picture.save(buffer, picture_format, **marks(picture_format))
    return buffer.getvalue()


def format_of(suffix: str) -> str:
    """Return the name that Pillow has for the format of a suffix; `KeyError` for one that it does not know."""
    return Image.registered_extensions()[suffix.lower()]


def check_picture_file(path: str) -> None:
    """Raise `ValueError` now if no picture could be written to a file of this name, or only a smaller one (icons)."""
    suffix, tried = Path(path).suffix.lower(), Image.new("RGB", (40, 24))
    try:
        content = encode_image(tried, suffix)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"Expected a picture file to write, such as grid.png; got: {path}") from None
    with suppress(UnidentifiedImageError), Image.open(io.BytesIO(content)) as written:
        if written.size != tried.size:
            raise ValueError(f"Expected a format of pictures of any size, such as .png; got one of icons: {path}")


def animation(frames: Sequence[Image.Image], milliseconds: int = 90) -> bytes:
    """Return a GIF that plays the frames forth and back, for ever."""
    check_fits("GIF", *frames[0].size, len(frames))
    there_and_back = [*frames, *reversed(frames[1:-1])]
    first, *rest = [frame.quantize(128, dither=Image.Dither.NONE) for frame in there_and_back]
    buffer = io.BytesIO()
    how = {"save_all": True, "append_images": rest, "duration": milliseconds, "loop": 0, "optimize": False}
    first.save(buffer, "GIF", **how, **marks("GIF"))
    return buffer.getvalue()
