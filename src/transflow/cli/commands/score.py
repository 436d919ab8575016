"""``transflow score``: likelihood and latent radius of each picture, and p-values beside reference pictures."""

from __future__ import annotations

import argparse
import math

from transflow.cli.arguments import add_json, add_model, add_pictures
from transflow.cli.messages import printable, say, say_json

HELP = "print log-likelihood, bits per dimension and latent radius of each picture"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_pictures(parser)
    add_model(parser)
    add_json(parser)
    words = "a folder, tar or file of pictures to compare with: two p-values for each picture"
    parser.add_argument("--reference", metavar="PICTURES", help=words)


def run(options: argparse.Namespace) -> None:
    """Print the scores, a line for each picture."""
    from transflow.cli.inputs import load_model, stream
    from transflow.conditioning.typicality import compare

    model = load_model(options, options.model)
    names: list[str] = []
    encoded = stream(options, model, log_prob=True, names=names)
    p_values: dict[str, list[float]] = {}
    if options.reference:
        compared = compare(model, encoded, stream(options, model, options.reference, log_prob=True))
        scores = compared.scores
        p_values = {
            "p_likelihood": compared.by_likelihood.tolist(),
            "p_typicality": compared.by_typicality.tolist(),
        }
    else:
        scores = model.score(encoded)
    columns = {
        "log_prob": scores.log_prob.tolist(),
        "bits_per_dim": scores.bits_per_dim.tolist(),
        "radius": scores.radius.tolist(),
        **p_values,
    }
    for name, *numbers in zip(names, *columns.values(), strict=True):
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"Expected a finite log density of each picture; got none of {name}. Give another model.")
    if options.json:
        rows = zip(names, *columns.values(), strict=True)
        say_json([dict(zip(("picture", *columns), row, strict=True)) for row in rows])
    else:
        _print_table(names, columns)


def _print_table(names: list[str], columns: dict[str, list[float]]) -> None:
    names = [printable(name) for name in names]
    wide = max(len("picture"), *map(len, names))
    head = f"{'picture':<{wide}}  {'log p (nats)':>13}  {'bits/dim':>9}  {'|z|/sqrt(D)':>11}"
    say(head + (f"  {'p likely':>8}  {'p typical':>9}" if len(columns) > 3 else ""))
    for name, log_prob, bits, radius, *p in zip(names, *columns.values(), strict=True):
        line = f"{name:<{wide}}  {log_prob:>13.1f}  {bits:>9.3f}  {radius:>11.3f}"
        say(line + (f"  {p[0]:>8.3f}  {p[1]:>9.3f}" if p else ""))
