"""``transflow check``: what a model is like, measured; the first command to run with a model of one's own."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import add_json, add_model, add_skip_bad
from transflow.cli.messages import say, say_json

HELP = "measure a model: round trip, latents, density, temperature, few-shot accuracy"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    words = "photographs of the kind it was trained on: a folder, a tar, or files (default: samples of the model)"
    parser.add_argument("pictures", nargs="*", metavar="PICTURES", help=words)
    add_skip_bad(parser)
    add_model(parser)
    words = "compare the density of larger models with autograd, too, which takes minutes"
    parser.add_argument("--thorough", action="store_true", help=words)
    words = "skip the few-shot accuracy on scikit-learn's digits, which takes 300 encodes"
    parser.add_argument("--no-digits", dest="digits", action="store_false", help=words)
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Print what was measured, a line each."""
    from dataclasses import replace

    from transflow.cli.inputs import load_model, on_bad
    from transflow.conditioning.check import check
    from transflow.estimators.digits import digits_accuracy

    model = load_model(options, options.model)
    found = check(model, options.pictures or None, on_bad=on_bad(options), thorough=options.thorough)
    if options.digits:
        found = replace(found, few_shot=digits_accuracy(model))
    if options.json:
        say_json(found.plain())
        return
    rows = list(found.rows())
    wide = max(len(name) for name, _ in rows)
    for name, words in rows:
        say(f"{name:<{wide}}  {words}")
