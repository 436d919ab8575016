"""The parser of all commands: a table of them, each a file of `commands`.

A command's file has ``HELP``, ``arguments(parser)`` and ``run(options)``; it loads torch in ``run`` alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, NoReturn, Protocol

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
    """A parser whose errors are one line, which names what is near to a word that it does not know.

    Attributes:
        commands: the parsers of commands, by name.
    """

    commands: Mapping[str, Parser] = MappingProxyType({})

    def parse_args(  # type: ignore[override]  # which has overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Return what is parsed; what is not known is an error of the command that does not know it."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = self.commands.get(found.command, self)
            known = command._option_string_actions
            options = [word.partition("=")[0] for word in unknown if word.startswith("--")]
            near = [name for option in options for name in get_close_matches(option, known, 2)]
            command.error(f"unrecognized arguments: {' '.join(unknown)}{_near(near)}")
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            near = get_close_matches(str(value), [str(choice) for choice in action.choices or ()], 2)
            raise argparse.ArgumentError(action, f"{error.message}{_near(near)}") from None

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(fail(f"{message}. See: {self.prog} --help"))


def _near(names: Sequence[str]) -> str:
    return f"; near it: {', '.join(dict.fromkeys(names))}" if names else ""


def build_parser() -> Parser:
    """Return the parser of all commands; the result of parsing names one as ``command``."""
    top = Parser(
        prog="transflow",
        description="Repurpose an invertible generative model with a handful of pictures, without training.",
        epilog="Start with: transflow demo -o out/",
    )
    top.add_argument("--version", action="version", version=f"transflow {__version__}")
    table = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    top.commands = table.choices
    for name, command in COMMANDS.items():
        words = command.HELP
        command.arguments(table.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}."))
    return top
