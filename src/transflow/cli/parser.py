"""The parser of all commands: a table of them, each a file of `commands`.

A command's file has ``HELP``, ``arguments(parser)`` and ``run(options)``; it loads torch in ``run`` alone.
"""

from __future__ import annotations

import argparse
from typing import NoReturn, Protocol

from transflow._version import __version__
from transflow.cli.commands import (
    align,
    app,
    check,
    classify,
    complete,
    condition,
    demo,
    edit,
    encode,
    interpolate,
    models,
    paper,
    reconstruct,
    sample,
    score,
    stack,
    sweep,
    train,
)
from transflow.cli.messages import fail


class Command(Protocol):
    """What a command's file has.

    Attributes:
        HELP: what it does, beginning in lower case, without a full stop.
    """

    HELP: str

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments to its parser."""

    def run(self, options: argparse.Namespace) -> None:
        """Do what it does, with the arguments parsed.

        Raises:
            ValueError, TypeError, OSError, FloatingPointError, ImportError: bad input; `main` prints the message.
        """


COMMANDS: dict[str, Command] = {
    "demo": demo,
    "app": app,
    "models": models,
    "paper": paper,
    "check": check,
    "align": align,
    "condition": condition,
    "encode": encode,
    "sample": sample,
    "sweep": sweep,
    "interpolate": interpolate,
    "complete": complete,
    "edit": edit,
    "score": score,
    "classify": classify,
    "reconstruct": reconstruct,
    "train": train,
    "stack": stack,
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(fail(f"{message}. See: {self.prog} --help"))


def build_parser() -> Parser:
    """Return the parser of all commands; the result of parsing names one as ``command``."""
    top = Parser(
        prog="transflow",
        description="Repurpose an invertible generative model with a handful of pictures, without training.",
        epilog="Start with: transflow demo -o out/",
    )
    top.add_argument("--version", action="version", version=f"transflow {__version__}")
    table = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name, command in COMMANDS.items():
        words = command.HELP
        command.arguments(table.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}."))
    return top
