"""``transflow paper``: every figure of the paper, beside what it shows."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import add_overwrite, positive_integer, seed_number
from transflow.cli.messages import note, say
from transflow.library.names import DEFAULT

HELP = "make the figures of the paper with your model and pictures, or with stand-ins"
FOLDERS = {
    "like": "of a kind that the model was trained on",
    "unlike": "of a kind that it never saw",
    "other": "of another kind again, at the other end of a way",
    "own": "of the model's own kind",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "-o", "--output", default="transflow-paper", metavar="FOLDER", help="folder to write (default: transflow-paper)"
    )
    parser.add_argument("-m", "--model", default=DEFAULT, help=f"model's name or file (default: {DEFAULT})")
    for kind, words in FOLDERS.items():
        parser.add_argument(f"--{kind}", metavar="PICTURES", help=f"pictures {words} (default: stand-ins)")
    parser.add_argument(
        "--digits", metavar="DIGITS", help="folder of classes, or mnist.npz (default: scikit-learn's digits)"
    )
    parser.add_argument("--only", metavar="NAMES", help="figures, such as figure-7,table-1 (default: all)")
    parser.add_argument(
        "--evidence", type=positive_integer, default=24, metavar="N", help="stand-ins of a kind (default: 24)"
    )
    parser.add_argument(
        "--queries", type=positive_integer, default=500, metavar="N", help="digits to classify (default: 500)"
    )
    add_overwrite(parser)
    parser.add_argument("--seed", type=seed_number, default=0, help="seed of all random draws (default: 0)")


def run(options: argparse.Namespace) -> None:
    """Write the figures; print the page's path."""
    from transflow.showcase.paper import paper

    only = [name.strip() for name in (options.only or "").split(",")]
    if options.only and not all(only):
        raise ValueError(f"Expected names of figures, such as figure-7,table-1; got {options.only!r}.")
    page = paper(
        options.output,
        model=options.model,
        pictures={kind: path for kind in FOLDERS if (path := getattr(options, kind)) is not None},
        digits=options.digits,
        only=only if options.only else (),
        evidence=options.evidence,
        queries=options.queries,
        seed=options.seed,
        report=note,
        overwrite=options.overwrite,
    )
    say(f"{page} (seed {options.seed})")
