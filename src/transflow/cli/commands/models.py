"""``transflow models``: the cards of the bundled models."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import add_json
from transflow.cli.messages import say, say_json

HELP = "list the bundled models with their cards"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Print the cards."""
    from transflow.library.load import models

    cards = models()
    if options.json:
        say_json(cards)
        return
    for name, card in cards.items():
        say(name)
        for key, value in card.items():
            words = f"{value:.4g}" if isinstance(value, float) else value
            say(f"  {key.replace('_', ' '):<20}{words}")
