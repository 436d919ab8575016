"""The commands that judge pictures: score and classify."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

NOISE_HELP = (
    'how pictures of a class differ: "auto" (chosen by the evidence), "0.5m" or a number as in condition, "pooled", '
    '"levels", "shared" or "student". Default: auto'
)


def add(
    command: Callable[..., argparse.ArgumentParser],
    pictures: Callable[[argparse.ArgumentParser], None],
    model: Callable[..., None],
    out: Callable[..., None],
) -> None:
    """Add both to the parser of all commands, with the words that commands share."""
    made = command("score", _score, "print log-likelihood, bits per dimension and latent radius of each picture")
    pictures(made)
    model(made)
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument(
        "--reference", metavar="PICTURES", help="a folder, tar or file to compare with: two p-values a picture"
    )

    made = command("classify", _classify, "tell classes by a few pictures of each, without training")
    made.add_argument("support", metavar="SUPPORT", help="a folder with a sub-folder of pictures for each class")
    made.add_argument("query", metavar="QUERY", help="a folder of pictures to classify; sub-folders give the truth")
    model(made)
    made.add_argument("--noise", default="auto", help=NOISE_HELP)
    made.add_argument("--no-augment", dest="augment", action="store_false", help="do not move copies of SUPPORT about")
    made.add_argument("--reject", type=float, default=0.01, help="share of good pictures refused (default: 0.01)")
    made.add_argument("--confusion", metavar="FILE", help="picture file of the confusions, where the truth is known")
    made.add_argument("--skip-bad", action="store_true", help="leave out files that are no pictures, naming them")
    out(made, "table to write, .csv: class, rejected or not, and probabilities of each picture")


def _score(a: argparse.Namespace) -> None:
    from transflow import data
    from transflow.evaluation import compare
    from transflow.transfer import load

    model = load(a.model)
    channels, size, _ = model.shape
    read = data.read(a.pictures, channels, size, skip_bad=a.skip_bad)
    for message in read.bad:
        print(f"transflow: skipped: {message}", file=sys.stderr)
    found: dict[str, list[float]] = {}
    if a.reference:
        compared = compare(model, read.pixels, data.read(a.reference, channels, size, skip_bad=a.skip_bad).pixels)
        scores = compared.scores
        found = {
            "p_likelihood": compared.by_likelihood.tolist(),
            "p_typicality": compared.by_typicality.tolist(),
        }
    else:
        scores = model.score(read.pixels)
    columns = {
        "log_prob": scores.log_prob.tolist(),
        "bits_per_dim": scores.bits_per_dim.tolist(),
        "radius": scores.radius.tolist(),
        **found,
    }
    if a.json:
        rows = zip(*columns.values(), strict=True)
        named = zip(read.names, rows, strict=True)
        print(json.dumps([{"picture": n, **dict(zip(columns, row, strict=True))} for n, row in named], indent=2))
        return
    wide = max(len("picture"), *map(len, read.names))
    head = f"{'picture':<{wide}}  {'log p (nats)':>13}  {'bits/dim':>9}  {'|z|/sqrt(D)':>11}"
    print(head + (f"  {'p likely':>8}  {'p typical':>9}" if found else ""))
    for name, log_prob, bits, radius, *p in zip(read.names, *columns.values(), strict=True):
        line = f"{name:<{wide}}  {log_prob:>13.1f}  {bits:>9.3f}  {radius:>11.3f}"
        print(line + (f"  {p[0]:>8.3f}  {p[1]:>9.3f}" if p else ""))


def _classify(a: argparse.Namespace) -> None:
    from transflow import checkpoint, figures
    from transflow.evaluation import classify
    from transflow.transfer import load

    checkpoint.check_writable(a.output)
    if a.confusion:
        checkpoint.check_writable(a.confusion)
        figures.check_picture_file(a.confusion)
    if not 0 < a.reject < 1:
        raise ValueError(f"Expected a share to reject between 0 and 1; got {a.reject}.")
    found = classify(load(a.model), a.support, a.query, noise=a.noise, augment=a.augment, skip_bad=a.skip_bad)
    for message in found.bad:
        print(f"transflow: skipped: {message}", file=sys.stderr)
    checkpoint.write_bytes(a.output, found.csv(a.reject))
    print(f"{found.choice}")
    refused = f"{sum(found.rejected(a.reject))} rejected" if found.p_values is not None else "too few to reject any"
    print(f"{a.output}: {len(found.names)} pictures, {len(found.classes)} classes, {refused}")
    for name, share in found.accuracies.items():
        print(f"  {name:<28}{share:.1%}")
    if found.calibration_error is not None:
        print(f"  {'calibration error':<28}{found.calibration_error:.1%}")
    if a.confusion:
        picture = figures.confusion(found.confusion(), found.classes)
        checkpoint.write_bytes(a.confusion, figures.encode_image(picture, Path(a.confusion).suffix))
