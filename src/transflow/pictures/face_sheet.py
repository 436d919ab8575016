"""One picture that shows what became of photographs: each with its eyes and cut-outs marked, and the faces turned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from transflow.pictures.grids import INK, PAPER
from transflow.pictures.turned import Eyes, Picture

TILE, GAP, WORDS = 96, 4, 16  # pixels
MARK, LEFT_OUT = (220, 40, 40), (150, 150, 150)
FACES = 3  # of one photograph that are shown
MOST = 300  # photographs on one sheet


def cell(name: str, picture: Picture | None, scale: float, eyes: Sequence[Eyes], faces: Sequence[Picture]) -> Picture:
    """Return a photograph beside its faces, its name below; one without faces is crossed out.

    Args:
        name: of the photograph.
        picture: itself, made smaller; None where it cannot be read.
        scale: the smaller one's side by the photograph's.
        eyes: of its faces, in pixels of the photograph.
        faces: cut out and turned.
    """
    wide = TILE + (TILE + GAP) * min(FACES, len(faces))
    sheet = Image.new("RGB", (wide, TILE + WORDS), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    tile = Image.new("RGB", (TILE, TILE), (225, 225, 225))
    if picture is not None:
        shrink = TILE / max(picture.size)
        size = [max(1, round(side * shrink)) for side in picture.size]
        left, top = (TILE - size[0]) // 2, (TILE - size[1]) // 2
        tile.paste(picture.resize((size[0], size[1])), (left, top))
        marks = ImageDraw.Draw(tile)
        for each in eyes:
            corners = [(left + x * scale * shrink, top + y * scale * shrink) for x, y in each.corners()]
            marks.polygon(corners, outline=MARK)
            for x, y in (each.left, each.right):
                x, y = left + x * scale * shrink, top + y * scale * shrink
                marks.ellipse((x - 2, y - 2, x + 2, y + 2), outline=MARK)
    if not faces:
        tile = Image.blend(tile, Image.new("RGB", tile.size, PAPER), 0.4)
        ImageDraw.Draw(tile).line((0, 0, TILE, TILE), fill=LEFT_OUT, width=3)
    sheet.paste(tile, (0, 0))
    for i, face in enumerate(faces[:FACES]):
        sheet.paste(face.resize((TILE, TILE), Image.Resampling.BOX), ((i + 1) * (TILE + GAP), 0))
    more = f" and {len(faces) - FACES} more" if len(faces) > FACES else ""
    words = (name if faces else f"left out: {name}") + more
    while words and font.getlength(words) > wide:
        words = words[:-1]
    draw.text((0, TILE + 2), words, INK, font)
    return sheet


def face_sheet(cells: Sequence[Picture], more: int = 0, width: int = 1200) -> Picture:
    """Lay cells out in lines of at most ``width`` pixels; ``more`` photographs are named by their number alone."""
    lines: list[list[Picture]] = [[]]
    for each in cells:
        if lines[-1] and sum(c.width + 3 * GAP for c in lines[-1]) + each.width > width:
            lines.append([])
        lines[-1].append(each)
    step = TILE + WORDS + 2 * GAP
    sheet = Image.new("RGB", (width, GAP + step * len(lines) + (20 if more else 0)), PAPER)
    for i, line in enumerate(lines):
        lefts = np.cumsum([GAP, *(c.width + 3 * GAP for c in line)])
        for each, left in zip(line, lefts, strict=False):
            sheet.paste(each, (int(left), GAP + i * step))
    if more:
        font = ImageFont.load_default(size=14)
        ImageDraw.Draw(sheet).text((GAP, GAP + step * len(lines)), f"and {more} more photographs", INK, font)
    return sheet
