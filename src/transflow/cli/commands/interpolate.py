"""``transflow interpolate``: pictures between two posteriors, through their parameters."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import add_draws, add_learn, add_model, add_output, positive_integer
from transflow.cli.messages import say

HELP = "show pictures between two posteriors"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("a", metavar="A", help="posterior file of the first pictures")
    parser.add_argument("b", metavar="B", help="posterior file of the last pictures")
    add_model(parser, None, "the one named in the file")
    words = "pictures from A to B, both included (default: 8)"
    parser.add_argument("--steps", type=positive_integer, default=8, help=words)
    words = "on straight lines between samples, for comparison"
    parser.add_argument("--direct", action="store_true", help=words)
    add_learn(parser, "as the posteriors were made")
    add_draws(parser, 4)
    add_output(parser, "picture file, one row a sample; .gif for an animation")


def run(options: argparse.Namespace) -> None:
    """Write the rows or the animation; print the seed."""
    from transflow.cli.inputs import files_of, load_posterior, seed_of
    from transflow.cli.learned import as_asked
    from transflow.cli.output import Output
    from transflow.library import load as library
    from transflow.pictures.grids import animation, grid

    output = Output.picture(options.output, files_of(options.a, options.b, options.model), overwrite=options.overwrite)
    first = as_asked(load_posterior(options, options.a), options)
    last = as_asked(library.load_posterior(options.b, first.model), options)
    seed, n, steps = seed_of(options), options.n, options.steps
    moving = options.output.lower().endswith(".gif")
    if moving:
        output.check_sheet(first.model.shape, n, n, frames=steps)
    else:
        output.check_sheet(first.model.shape, n * steps, steps)
    frames = first.strip(last, steps, n, seed=seed, temperature=options.temperature, direct=options.direct)
    if moving:
        output.write(animation([grid(frame, n) for frame in frames]))
    else:
        output.write_picture(grid(frames.transpose(0, 1).flatten(0, 1), steps))
    made = first.made_of_pictures or last.made_of_pictures
    way = ", drawn from pictures of both ends, about means on the way" if made and not options.direct else ""
    say(f"{output}: {steps} steps of {n} samples{way} (seed {seed})")
