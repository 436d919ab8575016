"""What commands print: results on standard output, notes and errors on standard error.

Every line goes through `printable`: file names and other foreign words may hold control characters, which would
break a table's lines or write to the terminal.
"""

from __future__ import annotations

import json
import math
import sys
import time
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transflow.devices import is_first_process

UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # categories: controls, undecodable bytes, separators of lines and paragraphs
DIRECTIONS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they turn a line around


def printable(text: str) -> str:
    r"""Return text on one line, with control characters as escapes.

    >>> print(printable("red\n\x1b[31m.png"))
    red\n\x1b[31m.png
    """
    broken = (c for c in set(text) if unicodedata.category(c) in UNPRINTABLE or c in DIRECTIONS)
    return text.translate({ord(c): repr(c)[1:-1] for c in broken})


def rate(count: int, seconds: float) -> str:
    """Return how fast pictures were worked on, with two digits where it was slow.

    >>> rate(3, 32), rate(600, 0.5)
    ('0.094 pictures/s', '1200 pictures/s')
    """
    found = count / seconds
    return f"{found:.0f} pictures/s" if found >= 10 else f"{found:.2g} pictures/s"


def say(line: str = "") -> None:
    """Print one line of a result."""
    print(printable(line))


def say_json(value: Any) -> None:
    """Print a result for scripts; JSON escapes what is not printable."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    """A value with null for what is not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def note(message: str) -> None:
    """Print one line that is not part of the result."""
    print(f"transflow: {printable(message)}", file=sys.stderr)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print each warning that is raised within on one line, those of our own classes once a class, as notes."""
    ours: set[type[Warning]] = set()

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        own = category.__module__.startswith("transflow.")
        if category not in ours:
            note(f"{'note' if own else 'warning'}: {message}")
        if own:
            ours.add(category)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def fail(message: str) -> int:
    """Print an error on one line; return the exit status of bad input."""
    if is_first_process():
        note(f"error: {message.strip()}")
    else:
        time.sleep(2)  # torchrun ends all processes once one has failed: the first must have printed by then
    return 2
