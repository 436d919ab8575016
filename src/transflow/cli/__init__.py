"""The command line: arguments and files to calls, results to files and text. It holds no mathematics.

torch is loaded once the arguments have been parsed, so ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from transflow.cli.interrupts import STATUS, Interrupts
from transflow.cli.messages import fail, note, warnings_as_notes
from transflow.cli.parser import COMMANDS, build_parser
from transflow.devices import OUT_OF_MEMORY

MAY_BE_EMPTY = ("data_note", "licence")  # words for a model's card


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 2 for bad input, 130 if interrupted."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, or of a program without a terminal
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    with Interrupts(program=argv is None) as interrupts:
        return _run(build_parser().parse_args(argv), interrupts)


def _run(options: argparse.Namespace, interrupts: Interrupts) -> int:
    for name, value in vars(options).items():
        if name not in MAY_BE_EMPTY:
            setattr(options, name, [_at_home(v) for v in value] if isinstance(value, list) else _at_home(value))
    try:
        _check_values(options)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # file names may be in any encoding
        interrupts.running = True
        try:
            with warnings_as_notes():
                COMMANDS[options.command].run(options)
            sys.stdout.flush()
        finally:
            if interrupts.seen:  # which may have come out as another exception, or not at all
                raise KeyboardInterrupt
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        note("interrupted")
        return STATUS
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError) as error:
        return fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise  # a defect, to be seen whole
        return fail("Out of memory. Use fewer samples or steps at a time.")
    finally:
        from transflow.store.locks import release_all

        release_all()
    return 0


def _at_home(value: Any) -> Any:
    """A path that begins with ~ as the user's own folder: no shell does it in --output=~/x."""
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~") else value  # noqa: PTH111


def _check_values(options: argparse.Namespace) -> None:
    for name, value in vars(options).items():
        several = value if isinstance(value, list) else []
        if (value == [] and name != "pictures") or [] in several:  # what argparse makes of --seed=--
            raise ValueError(f'Expected a value for {name.replace("_", " ")}; got "--"')
        if (value == "" and name not in MAY_BE_EMPTY) or "" in several:
            raise ValueError(f'Expected a value for {name.replace("_", " ")}; got an empty one, ""')
