"""``transflow sweep``: samples of posteriors of several noises, of the same random draws."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import add_draws, add_model, add_output, add_pictures
from transflow.cli.messages import say

HELP = "show samples for several noises, of the same random draws"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_pictures(parser)
    add_model(parser)
    words = "noises, separated by commas (default: 0.2m to 1m)"
    parser.add_argument("--noise", default="0.2m,0.4m,0.6m,0.8m,1m", help=words)
    add_draws(parser, 8)
    add_output(parser, "picture file: one row a noise")


def run(options: argparse.Namespace) -> None:
    """Write the rows; print their noises and the seed."""
    from transflow.cli.inputs import files_of, load_model, seed_of, stream
    from transflow.cli.output import Output
    from transflow.pictures.grids import grid

    output = Output.picture(options.output, [*options.pictures, *files_of(options.model)], overwrite=options.overwrite)
    model, seed = load_model(options, options.model), seed_of(options)
    noises = options.noise.split(",")
    pictures = stream(options, model)
    rows = model.sweep(pictures, noises, options.n, seed=seed, temperature=options.temperature)
    output.write_picture(grid(rows.flatten(0, 1), options.n, rows=noises))
    say(f"{output}: one row a noise, {', '.join(noises)} (seed {seed})")
