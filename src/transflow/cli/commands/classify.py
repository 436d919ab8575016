"""``transflow classify``: classes of pictures, from a few examples of each."""

from __future__ import annotations

import argparse
from pathlib import Path

from transflow.cli.arguments import CLASS_NOISE, add_align, add_model, add_output, add_skip_bad
from transflow.cli.messages import note, say

HELP = "classify pictures from a few examples of each class, without training"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("support", metavar="SUPPORT", help="a folder with a sub-folder of pictures for each class")
    parser.add_argument(
        "query", metavar="QUERY", help="a folder of pictures to classify; sub-folders give their true classes"
    )
    add_model(parser)
    parser.add_argument("--noise", default="auto", help=CLASS_NOISE)
    words = "without randomly moved copies of SUPPORT"
    parser.add_argument("--no-augment", dest="augment", action="store_false", help=words)
    words = "share of ordinary pictures to reject (default: 0.01)"
    parser.add_argument("--reject", type=float, default=0.01, help=words)
    words = "picture file of the confusion matrix, where the true classes are known"
    parser.add_argument("--confusion", metavar="FILE", help=words)
    add_align(parser)
    add_skip_bad(parser)
    add_output(parser, "table to write, .csv: class, rejected or not, and probabilities of each picture")


def run(options: argparse.Namespace) -> None:
    """Write the predictions; print what they come from, and the accuracy where the true classes are known."""
    from transflow.cli.inputs import files_of, load_model, on_bad, turn_of
    from transflow.cli.output import Output
    from transflow.estimators.base import check_rejection_rate
    from transflow.estimators.folders import classify
    from transflow.pictures import grids
    from transflow.pictures.fonts import drawn_names
    from transflow.pictures.labels import check_classes, class_folders, why_no_truth

    reads = [options.support, options.query, *files_of(options.model)]
    output = Output.file(options.output, reads, suffix=".csv", kind="table", overwrite=options.overwrite)
    confusion = Output.picture(options.confusion, reads, overwrite=options.overwrite) if options.confusion else None
    check_rejection_rate(options.reject)
    reason = unknown = ""
    if Path(options.support).is_dir():
        classes = check_classes(options.support)
        reason = why_no_truth(options.query, classes)
        there = class_folders(options.query) if Path(options.query).is_dir() else []
        why = reason or f"there is no folder of a class: {options.query}"
        unknown = f"Expected pictures in folders of their classes for --confusion; got others, since {why}"
        if options.confusion and (reason or not set(there) & set(classes)) and not options.skip_bad:
            raise ValueError(unknown)
        if confusion:
            confusion.check_fits(grids.confusion_size(classes))
        if reason and not options.skip_bad:  # else it may be among what is skipped
            note(f"note: the accuracy is left out, since {reason}")
    model = load_model(options, options.model)
    found = classify(
        model,
        options.support,
        options.query,
        noise=options.noise,
        augment=options.augment,
        on_bad=on_bad(options),
        turn=turn_of(options),
    )
    if confusion and found.truth is None:  # of files of which some were skipped
        raise ValueError(unknown)
    if reason and options.skip_bad and found.truth is None:
        note(f"note: the accuracy is left out, since {reason}")
    output.write(found.csv(options.reject))
    say(f"{found.choice}")
    if found.choice.note:
        note(f"note: {found.choice.note}")
    rejected = "too few examples to reject any"
    if found.p_values is not None:
        rejected = f"{sum(found.rejected(options.reject))} rejected"
    say(f"{output}: {len(found.names)} pictures, {len(found.classes)} classes, {rejected}")
    for name, share in found.accuracies.items():
        say(f"  {name:<28}{share:.1%}")
    if found.calibration_error is not None:
        say(f"  {'calibration error':<28}{found.calibration_error:.1%}")
    if confusion:
        confusion.write_picture(grids.confusion(found.confusion(), found.classes))
        numbers = zip(found.classes, drawn_names(found.classes), strict=True)
        legend = ", ".join(f"{number} is {name}" for name, number in numbers if name != number)
        if legend:
            note(f"note: no font here has the letters of all classes; in {confusion} {legend}")
