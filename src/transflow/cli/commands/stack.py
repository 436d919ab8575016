"""``transflow stack``: a base and levels of details as one model of large pictures."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import add_output
from transflow.cli.messages import say

HELP = "put a pyramid together of a base and levels of details"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("base", metavar="BASE", help="model file of the base, such as one of the family flow-matching, or a name")
    add("levels", nargs="+", metavar="LEVEL", help="model files of the family details, the coarsest first")
    add_output(parser, "model file to write, .safetensors")
    words = "for the model's card, in place of what the parts say of their data"
    add("--data", dest="data_note", default="", help=words)
    add("--licence", default="", help="for the model's card, in place of the parts' licences")


def run(options: argparse.Namespace) -> None:
    """Write the pyramid; print its shape."""
    from pathlib import Path

    from transflow.cli.inputs import files_of
    from transflow.cli.output import Output
    from transflow.generative.model_file import load_model, save_model
    from transflow.generative.stack import stack
    from transflow.library.names import find_file

    parts = [options.base, *options.levels]
    output = Output.file(
        options.output, files_of(*parts), suffix=".safetensors", kind="model", overwrite=options.overwrite
    )
    base, *levels = (load_model(find_file(part)) for part in parts)
    model = stack(base, levels)
    given = {"name": Path(output.path).stem, "data": options.data_note, "licence": options.licence}
    model.card.update({key: value for key, value in given.items() if value})
    save_model(output.path, model)
    channels, height, width = model.shape
    parameters = model.card["parameters"]
    say(f"{output}: pictures of {height} x {width}, {channels} channels, {parameters / 1e6:.1f} million parameters")
