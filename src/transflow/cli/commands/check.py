"""``transflow check``: what a model is like, measured; the first command to run with a model of one's own."""

from __future__ import annotations

import argparse
import math

from transflow.cli.arguments import add_json, add_model, add_skip_bad
from transflow.cli.messages import note, say, say_json

HELP = "measure a model: round trip, latents, density, best temperature, few-shot accuracy"
PATIENCE = 60.0  # seconds of encoding above which digits are left to --thorough


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    words = "photographs of the kind it was trained on: a folder, a tar, or files (default: its own samples)"
    parser.add_argument("pictures", nargs="*", metavar="PICTURES", help=words)
    add_model(parser)
    add_json(parser)
    words = "with what takes minutes: log-determinants of larger models against autograd, digits of slow models"
    parser.add_argument("--thorough", action="store_true", help=words)
    add_skip_bad(parser)


def run(options: argparse.Namespace) -> None:
    """Print the table."""
    from dataclasses import replace

    from transflow.cli.inputs import load_model, on_bad
    from transflow.conditioning.check import check
    from transflow.estimators.digits import EXAMPLES, QUERIES, digit_accuracy

    model = load_model(options, options.model)
    pictures = options.pictures or None
    found = check(model, pictures, on_bad=on_bad(options), thorough=options.thorough)
    needed = found.encode_seconds * (10 * EXAMPLES + QUERIES)
    if model.shape[0] not in (1, 3):
        note(f"digits are left out: they are for 1 or 3 channels, and {model.name} has {model.shape[0]}")
    elif math.isnan(needed):
        note("digits are left out, since no picture could be encoded")
    elif not options.thorough and not needed <= PATIENCE:
        note(f"digits are left out, about {needed:.0f} s of encoding; give --thorough for them")
    else:
        found = replace(found, few_shot=digit_accuracy(model))
    if options.json:
        say_json(found.plain())
        return
    rows = list(found.rows())
    wide = max(len(what) for what, _ in rows)
    for what, much in rows:
        say(f"{what:<{wide}}  {much}")
