"""``transflow sweep``: samples of several novelties, or of several noises, of the same random draws."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import add_align, add_draws, add_model, add_output, add_pictures
from transflow.cli.messages import say

NOVELTIES = "0,0.2,0.4,0.6,0.7,1"
HELP = "show samples for several novelties or noises, of the same random draws"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_pictures(parser)
    add_align(parser)
    add_model(parser)
    words = "novelties from 0, the evidence itself, to 1, all of it mixed, separated by commas (default: 0 to 1)"
    parser.add_argument("--novelty", help=words)
    parser.add_argument("--learn", metavar="WHAT", help='"parents" or "mixture", with novelties (default: parents)')
    words = "noises of the paper's way instead, separated by commas, such as 0.2m,0.4m,0.6m,0.8m,1m"
    parser.add_argument("--noise", help=words)
    add_draws(parser, 8)
    add_output(parser, "picture file: one row a novelty or noise")


def run(options: argparse.Namespace) -> None:
    """Write the rows; print what they are of and the seed."""
    from transflow.cli.inputs import files_of, load_model, seed_of, stream
    from transflow.cli.output import Output
    from transflow.pictures.grids import grid

    output = Output.picture(options.output, [*options.pictures, *files_of(options.model)], overwrite=options.overwrite)
    model, seed = load_model(options, options.model), seed_of(options)
    if options.noise and (options.novelty or options.learn):
        raise ValueError("Expected --noise alone, or --novelty and --learn; got both.")
    kind, heads = ("noise", options.noise) if options.noise else ("novelty", options.novelty or NOVELTIES)
    names = heads.split(",")
    output.check_sheet(model.shape, len(names) * options.n, options.n, rows=names)
    ways = {"noise": names} if options.noise else {"novelty": novelties(names), "learn": options.learn}
    draws = {"seed": seed, "temperature": options.temperature}
    rows = model.sweep(stream(options, model), n=options.n, **ways, **draws)
    output.write_picture(grid(rows.flatten(0, 1), options.n, rows=names))
    say(f"{output}: one row a {kind}, {', '.join(names)} (seed {seed})")


def novelties(names: list[str]) -> list[float]:
    """Return numbers of their written forms."""
    try:
        return [float(name) for name in names]
    except ValueError:
        raise ValueError(f"Expected novelties from 0 to 1, separated by commas; got {','.join(names)}.") from None
