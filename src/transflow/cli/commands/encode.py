"""``transflow encode``: pictures to a folder of latents, which stands for them."""

from __future__ import annotations

import argparse
import time

from transflow.cli.arguments import add_model, add_pictures
from transflow.cli.messages import rate, say

HELP = "keep the latents of many pictures in a folder, which then stands for them"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_pictures(parser)
    add_model(parser)
    words = "folder of latents to write or to complete; condition, sweep and score take it as PICTURES"
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help=words)


def run(options: argparse.Namespace) -> None:
    """Write or complete the folder; print how many pictures are in it and how many were encoded now."""
    from transflow.cli.inputs import load_model, on_bad, total_of
    from transflow.cli.progress import Progress

    model = load_model(options, options.model)
    counts = {True: 0, False: 0}
    start = time.monotonic()
    with Progress(total_of(options.pictures)) as bar:

        def report(count: int, encoded_now: bool) -> None:
            counts[encoded_now] += count
            bar.update(count)

        latents = model.latents(options.pictures, options.output, on_bad=on_bad(options), report=report)
    speed = f", {rate(counts[True], time.monotonic() - start)}" if counts[True] else ""
    say(f"{options.output}: {len(latents)} pictures, {counts[True]} encoded now{speed}, {counts[False]} found there")
