"""``transflow demo``: the method on the bundled model, as pictures and a page."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import add_overwrite, seed_number
from transflow.cli.messages import note, say
from transflow.library.names import DEFAULT, SHOWN

HELP = "show the method on the bundled model: pictures, an animation and a page"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "-o", "--output", default="transflow-demo", metavar="FOLDER", help="folder to write (default: transflow-demo)"
    )
    parser.add_argument(
        "-m", "--model", default=SHOWN, help=f"model of faces (default: {SHOWN}; {DEFAULT} is much faster)"
    )
    add_overwrite(parser)
    parser.add_argument("--seed", type=seed_number, default=0, help="seed of all random draws (default: 0)")


def run(options: argparse.Namespace) -> None:
    """Write the demo; print the page's path."""
    from transflow.showcase.demo import demo

    page = demo(options.output, model=options.model, seed=options.seed, report=note, overwrite=options.overwrite)
    say(f"{page} (seed {options.seed})")
