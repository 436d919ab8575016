"""``transflow reconstruct``: pictures after encode and decode, beside the originals."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import add_model, add_output, add_pictures
from transflow.cli.messages import say

HELP = "encode and decode pictures, and show both side by side"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_pictures(parser)
    add_model(parser)
    add_output(parser, "picture file: originals above, decoded pictures below")


def run(options: argparse.Namespace) -> None:
    """Write the pairs; print the largest error."""
    from transflow.cli.inputs import files_of, load_model, on_bad, total_of
    from transflow.cli.output import Output
    from transflow.pictures.grids import pairs

    output = Output.picture(options.output, [*options.pictures, *files_of(options.model)], overwrite=options.overwrite)
    model = load_model(options, options.model)
    count = total_of(options.pictures) or 1
    output.check_sheet(model.shape, 2 * 8 * -(-count // 8) if count > 8 else 2 * count, min(count, 8))
    result = model.reconstruct(model.preprocess(options.pictures, on_bad=on_bad(options)))
    output.write_picture(pairs(result.pictures, result.decoded))
    error = result.errors.max().item()
    say(f"{output}: {len(result.errors)} pictures, largest error {error:.2e} of the range [0, 1]")
