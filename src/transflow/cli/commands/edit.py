"""``transflow edit``: one's own pictures changed: towards evidence, in an attribute, into others, by arithmetic."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from transflow.cli.arguments import NOISE, add_align, add_model, add_output, add_pictures, positive_integer
from transflow.cli.messages import note, say
from transflow.library.names import DEFAULT

if TYPE_CHECKING:
    from torch import Tensor

    from transflow.base_model import BaseModel
    from transflow.cli.output import Output
    from transflow.conditioning.edits import Edit
    from transflow.conditioning.model import Model
    from transflow.conditioning.posterior import Posterior

HELP = "change pictures: towards evidence, in an attribute, into others, or by a - b + c"
GOES_WITH = {  # an option, and the one without which it means nothing
    "start": "towards",
    "learn": "towards",
    "noise": "towards",
    "less": "more",
    "keep": "more",
    "plain": "more",
    "steps": "to",
    "path": "to",
    "minus": "plus",
}
LEARN = '"covariance" (how it varies; "covariance:0.5" for half of that) or "mean" (what it has in common)'
LEARNT = "covariance; the mean with --noise"
FLAGS = {"start": "from"}  # options whose name is a word of Python
STEPS = 8


class Frames(NamedTuple):
    """Pictures to lay out: (F, n, C, H, W), with a word for each of the F, and for each of the n, if any."""

    pictures: Tensor
    heads: list[str]
    rows: list[str]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_pictures(parser)
    add_align(parser)
    evidence = "pictures or a posterior file"
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--towards", metavar="EVIDENCE", help=f"change PICTURES towards these, {evidence}")
    way.add_argument("--more", metavar="SET", help="give PICTURES more of what these have and those of --less have not")
    way.add_argument("--to", metavar="OTHERS", help="go from PICTURES to these, as many")
    way.add_argument("--plus", metavar="SET", help="a - b + c: the mean of PICTURES, less --minus, and these")
    parser.add_argument("--from", dest="start", metavar="EVIDENCE", help=f"with --towards, where from, {evidence}")
    parser.add_argument("--learn", metavar="WHAT", help=f"with --towards and pictures, {LEARN} (default: {LEARNT})")
    parser.add_argument("--noise", help=f"with --towards and pictures, the paper's way: {NOISE}")
    parser.add_argument("--less", metavar="SET", help="with --more, pictures otherwise alike")
    words = "with --more, what stays: a set with it and one without, or one otherwise like --less; repeatable"
    parser.add_argument("--keep", nargs="+", action="append", metavar="SET", help=words)
    words = "with --more, the plain difference of the sets' means, instead of Fisher's direction"
    parser.add_argument("--plain", action="store_true", help=words)
    parser.add_argument("--minus", metavar="SET", help="with --plus, what is taken away")
    words = "with --towards and --more, 0 the picture itself, 1 the whole change; several by commas (default: 1)"
    parser.add_argument("--strength", metavar="NUMBERS", help=words)
    words = f"with --to, pictures from one to the other, both included (default: {STEPS})"
    parser.add_argument("--steps", type=positive_integer, metavar="N", help=words)
    words = "with --to, ways by commas: straight, spherical, corrected, pixels (default: all; into a folder, spherical)"
    parser.add_argument("--path", metavar="WAYS", help=words)
    add_model(parser, None, f"the one named in a posterior file, else {DEFAULT}")
    add_output(parser, "picture file; .gif for an animation; or a folder, ending in /, for one file each")


def run(options: argparse.Namespace) -> None:
    """Write the changed pictures."""
    from transflow.cli.inputs import files_of
    from transflow.cli.output import Output
    from transflow.pictures.grids import animation, encode_image, grid

    _check(options)
    named = [options.towards, options.start, options.more, options.less, options.to, options.plus, options.minus]
    kept = [path for paths in options.keep or [] for path in paths]
    sets = [path for path in [*named, *kept] if path]
    posteriors = [path for path in (options.towards, options.start) if path and _is_posterior(path)]
    reads = [*options.pictures, *sets, *files_of(*posteriors, options.model or DEFAULT)]
    one_each = options.output.endswith("/") or Path(options.output).is_dir()
    output = (Output.folder if one_each else Output.picture)(options.output, reads, overwrite=options.overwrite)
    sheet = None if one_each else output
    if options.to or options.plus:
        frames = (_between if options.to else _arithmetic)(options, sheet)
    else:
        frames = _strip(options, sheet)
    pictures, heads, rows = frames
    if one_each:
        each = pictures.transpose(0, 1).flatten(0, 1)
        output.write_numbered(encode_image(grid(picture[None], zoom=1, gap=0), ".png") for picture in each)
    elif options.output.lower().endswith(".gif") and len(pictures) > 1:
        output.write(animation([grid(frame, 1 if rows else None, rows=rows) for frame in pictures]))
    else:
        output.write_picture(grid(pictures.transpose(0, 1).flatten(0, 1), len(pictures), heads=heads, rows=rows))
    say(f"{output}: {pictures.shape[1]} by {len(pictures)} pictures{' (' + ', '.join(heads) + ')' if heads else ''}")


def _check_sheet(
    options: argparse.Namespace, sheet: Output | None, model: BaseModel, heads: list[str], frames: int, ways: int = 1
) -> None:
    """Refuse a sheet of so many frames, or ways of each picture, that is too large to write, before it is made."""
    from transflow.cli.inputs import total_of

    n = ways * (total_of(options.pictures) or 1)
    if sheet and options.output.lower().endswith(".gif") and frames > 1:
        sheet.check_sheet(model.shape, n, 1 if ways > 1 else None, frames=frames)
    elif sheet:
        sheet.check_sheet(model.shape, n * frames, frames, heads=heads)


def _strip(options: argparse.Namespace, sheet: Output | None) -> Frames:
    """Each picture at every strength; at 0, too, for comparison, where all are on one sheet."""
    from transflow.cli.inputs import stream

    strengths = _numbers(options.strength or "1")
    if sheet and 0 not in strengths:
        strengths = [0.0, *strengths]
    heads = [f"{strength:g}" for strength in strengths]
    model, posteriors = _model(options)
    _check_sheet(options, sheet, model, heads, len(strengths))
    edit = _towards(options, model, posteriors) if options.towards else _attribute(options, model)
    found, known = edit.strip_and_quality(stream(options, edit.model), strengths)
    for strength, quality in zip(strengths, known, strict=True):
        if quality.broken:
            some = f"{quality.broken:.0%} of the pictures at strength {strength:g}"
            note(f"note: {some} are broken: the model never saw such latents. Less strength helps.")
    return Frames(found, heads, [])


def _model(options: argparse.Namespace) -> tuple[Model, list[str]]:
    """The model to edit with, and those of --towards and --from that are posterior files."""
    from transflow.cli.inputs import load_model, load_posterior
    from transflow.conditioning.model import Model

    files = [path for path in (options.towards, options.start) if path and _is_posterior(path)]
    if not files:
        return load_model(options, options.model or DEFAULT), files
    known = load_posterior(options, files[0]).model
    return Model(known.source, known.name, known.file), files


def _towards(options: argparse.Namespace, model: Model, files: list[str]) -> Edit:
    from transflow.cli.inputs import stream
    from transflow.conditioning import edits
    from transflow.conditioning.notes import notes
    from transflow.library import load as library

    paths = [path for path in (options.towards, options.start) if path]
    for word in ("noise", "learn"):
        if getattr(options, word) and len(files) == len(paths):
            raise ValueError(f"Expected no --{word} with posterior files; got one. A posterior keeps its own.")
    ends: list[Posterior] = []
    for path in paths:
        if path in files:
            ends.append(library.load_posterior(path, model))
        else:
            learn = options.learn or (None if options.noise else "covariance")
            ends.append(model.condition(stream(options, model, [path]), options.noise, learn=learn))
            for text in notes(ends[-1]):
                note(f"note: {text}")
    return edits.towards(*ends)


def _attribute(options: argparse.Namespace, model: Model) -> Edit:
    from transflow.cli.inputs import stream
    from transflow.conditioning import edits

    more, less = (stream(options, model, [path]) for path in (options.more, options.less))
    keep = [tuple(stream(options, model, [path]) for path in paths) for paths in options.keep or []]
    stay = [sets if len(sets) == 2 else sets[0] for sets in keep]
    return edits.attribute(model, more, less, stay, fisher=not options.plain)


def _between(options: argparse.Namespace, sheet: Output | None) -> Frames:
    """A row a way, where there are several; of the first pair, then of the second."""
    import torch

    from transflow.cli.inputs import load_model, read_pixels
    from transflow.conditioning import edits

    if options.skip_bad:
        raise ValueError("Expected no --skip-bad with --to, whose pictures go in pairs; got it. Take bad files out.")
    model = load_model(options, options.model or DEFAULT)
    default = edits.PATHS if sheet else ["spherical"]
    paths = options.path.split(",") if options.path else default
    _check_sheet(options, sheet, model, [], options.steps or STEPS, len(paths))
    first, last = (read_pixels(options, model, paths) for paths in (options.pictures, [options.to]))
    rows = [edits.between(model, first, last, options.steps or STEPS, path).cpu().float() for path in paths]
    words = [path for _ in first for path in paths] if len(paths) > 1 else []
    return Frames(torch.stack(rows, 2).flatten(1, 2), [], words)


def _arithmetic(options: argparse.Namespace, sheet: Output | None) -> Frames:
    """The sum of latents; on a sheet, that of pixels beside it."""
    import torch

    from transflow.cli.inputs import load_model, read_pixels
    from transflow.conditioning import edits

    model = load_model(options, options.model or DEFAULT)
    sets = (options.pictures, [options.minus], [options.plus])
    a, b, c = (read_pixels(options, model, paths) for paths in sets)
    ways = {"latents": False, "pixels": True} if sheet else {"latents": False}
    found = [edits.arithmetic(model, a, b, c, pixels=pixels) for pixels in ways.values()]
    return Frames(torch.stack([picture.cpu().float() for picture in found]), list(ways), [])


def _check(options: argparse.Namespace) -> None:
    """Refuse what does not go together, before anything is loaded."""
    for name, leader in GOES_WITH.items():
        if getattr(options, name) and not getattr(options, leader):
            raise ValueError(f"Expected --{leader} with --{FLAGS.get(name, name)}; got none.")
    for leader, name in (("more", "less"), ("plus", "minus")):
        if getattr(options, leader) and not getattr(options, name):
            raise ValueError(f"Expected --{name} with --{leader}; got none.")
    if options.strength and not (options.towards or options.more):
        raise ValueError("Expected --towards or --more with --strength; got neither.")
    if any(len(sets) > 2 for sets in options.keep or []):
        raise ValueError("Expected one or two sets after --keep; got more. Give --keep again for another attribute.")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"Expected strengths as numbers, separated by commas; got {text}.") from None


def _is_posterior(path: str) -> bool:
    from transflow.store.container import is_kind

    return is_kind(path, "posterior")
