"""``transflow align``: faces of photographs, found and turned to where the face models saw them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from transflow.cli.arguments import add_overwrite, positive_integer
from transflow.cli.messages import note, say
from transflow.cli.progress import Progress

if TYPE_CHECKING:
    from transflow.cli.output import Output
    from transflow.faces.align import AlignedFile
    from transflow.pictures.turned import Picture

HELP = "find the faces in photographs and turn them as the face models saw theirs"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("pictures", metavar="PHOTOS", nargs="+", help="a folder, a tar, or picture files")
    words = "folder of the faces: name.png, or name-1.png, name-2.png, ... of several, the largest first"
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help=words)
    words = (
        "ask for the eyes in pictures in which none is found, on a page of this machine: two clicks, or the keyboard"
    )
    parser.add_argument("--by-hand", action="store_true", help=words)
    words = "CSV of eyes, file,left_x,left_y,right_x,right_y, or of boxes, file,left,top,right,bottom, in pixels"
    parser.add_argument("--box", metavar="TABLE", help=words)
    words = "find no faces: of --box and --by-hand alone, for which the extra align is not needed"
    parser.add_argument("--no-detector", dest="detector", action="store_false", help=words)
    words = "pixels of a face's side (default: 256, which models of 32 to 256 average down)"
    parser.add_argument("--side", type=positive_integer, default=256, metavar="PIXELS", help=words)
    words = "picture file that shows what was found, turned and left out (default: FOLDER-sheet.png)"
    parser.add_argument("--sheet", metavar="FILE", help=words)
    add_overwrite(parser)


def run(options: argparse.Namespace) -> None:
    """Write the faces and the sheet; name what is left out."""
    from contextlib import nullcontext

    from transflow.cli.inputs import total_of
    from transflow.cli.output import Output
    from transflow.faces.align import align_files
    from transflow.faces.by_hand import AskByHand
    from transflow.faces.detector import usual_detector
    from transflow.faces.table import read_table
    from transflow.pictures.face_sheet import MOST, cell, face_sheet

    if not options.detector and not (options.box or options.by_hand):
        raise ValueError("Expected --box or --by-hand with --no-detector; got neither.")
    reads = [*options.pictures, *filter(None, [options.box])]
    output = Output.named_folder(options.output, reads, overwrite=options.overwrite)
    path = options.sheet or f"{options.output.rstrip('/')}-sheet.png"
    sheet = Output.picture(path, reads, overwrite=options.overwrite)
    known = read_table(options.box) if options.box else None
    detector = usual_detector() if options.detector else None
    cells: list[Picture] = []
    left_out = more = 0
    names: set[str] = set()
    with AskByHand(_show) if options.by_hand else nullcontext() as ask, Progress(total_of(options.pictures)) as bar:
        for found in align_files(options.pictures, detector, known, ask=ask, side=options.side):
            bar.update(1)
            _write(output, found, names)
            left_out += not found.faces
            if found.problem:
                note(f"left out: {found.problem}")
            if len(cells) < MOST:
                cells.append(cell(Path(found.name).name, found.small, found.scale, found.eyes, found.faces))
            else:
                more += 1
    if not names:
        some = "none at all" if not left_out else f"none in {left_out} files"
        way_out = "" if options.by_hand else " Give the eyes with --by-hand or --box."
        if cells:
            sheet.write_picture(face_sheet(cells, more))
        raise ValueError(f"Expected a face in some picture; got {some}.{way_out}")
    sheet.write_picture(face_sheet(cells, more))
    photographs = len(cells) + more
    say(f"{output}: {len(names)} faces of {photographs - left_out} pictures; {left_out} left out; sheet: {sheet}")


def _write(output: Output, found: AlignedFile, names: set[str]) -> None:
    """Write the faces of a picture, each under a name that no other has."""
    from transflow.pictures.grids import encode_image

    for number, face in enumerate(found.faces, 1):
        stem = str(found.place) + (f"-{number}" if len(found.faces) > 1 else "")
        name, again = f"{stem}.png", 1
        while name.lower() in names:
            again += 1
            name = f"{stem}_{again}.png"
        names.add(name.lower())
        output.write_named(name, encode_image(face, ".png"))


def _show(address: str, opened: bool) -> None:
    if opened:
        note(f"the eyes are asked for in your browser: {address}")
    else:
        note(f"no browser can be opened here; open this address on this machine to give the eyes: {address}")
