"""``transflow sample``: pictures drawn from a posterior, or from a model's prior."""

from __future__ import annotations

import argparse
from pathlib import Path

from transflow.cli.arguments import MODEL, add_draws, add_model, add_output
from transflow.cli.messages import say

HELP = "draw new pictures from a posterior, or from a model itself"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("posterior", metavar="POSTERIOR", help=f"a posterior file; or a model: {MODEL}")
    add_model(parser, None, "the one named in the file")
    add_draws(parser, 16)
    add_output(parser, "picture file of all samples; or a folder, ending in /, for one file each")


def run(options: argparse.Namespace) -> None:
    """Write the samples; print their seed."""
    from transflow.cli.inputs import files_of, load_model, load_posterior, seed_of
    from transflow.cli.output import Output
    from transflow.pictures.grids import encode_image, grid
    from transflow.store.container import is_kind

    one_each = options.output.endswith("/") or Path(options.output).is_dir()
    kind = Output.folder if one_each else Output.picture
    output = kind(options.output, files_of(options.posterior, options.model), overwrite=options.overwrite)
    seed = seed_of(options)
    if is_kind(options.posterior, "posterior"):
        posterior = load_posterior(options, options.posterior)
        pictures = posterior.pictures(options.n, seed=seed, temperature=options.temperature)
    else:
        model = load_model(options, options.posterior)
        pictures = model.pictures(model.prior, options.n, seed=seed, temperature=options.temperature)
    if one_each:
        output.write_numbered(encode_image(grid(picture[None], zoom=1, gap=0), ".png") for picture in pictures)
    else:
        output.write_picture(grid(pictures))
    say(f"{output}: {options.n} samples (seed {seed})")
