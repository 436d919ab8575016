"""Numbers as they come in, of numpy and torch too, made Python's own where they come in; what is none is refused there.

A configuration, a seed or a noise may be worked out with numpy: ``np.int64(4)``, ``np.float32(1e-3)``, an array or a
tensor of no dimensions. All are taken; a number of another kind is an error before any work is done.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch

LONGEST = 200  # characters of a foreign word in a message


def scalar(value: Any) -> Any:
    """Return a number, truth value or word of numpy or torch as Python's own; anything else as it is.

    >>> scalar(np.float32(0.5)), scalar(torch.tensor(3)), scalar(np.array("0.5m")), scalar([1])
    (0.5, 3, '0.5m', [1])
    """
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)) and value.ndim == 0:
        return value.item()
    return value


def quoted(value: Any) -> str:
    r"""Return a foreign word for a message: as it is if short and printable, else as Python shows it, cut.

    >>> quoted("glow"), quoted("a\n\x1b[31mb"), quoted(0.5)
    ('glow', "'a\\n\\x1b[31mb'", '0.5')
    """
    text = str(value)
    return text if text.isprintable() and len(text) <= LONGEST else repr(value)[:LONGEST]


def one_line(value: Any, *facts: str, **more: Any) -> str:
    """Return what ``repr`` shows of a value: its class, and facts of it.

    >>> one_line(0.5, "3 x 32 x 32", count=8)
    'float(3 x 32 x 32, count=8)'
    """
    named = (f"{name}={part!r}" for name, part in more.items())
    return f"{type(value).__name__}({', '.join([*facts, *named])})"


def whole(value: Any, what: str, least: int | None = 0) -> int:
    """Return a whole number, of ``least`` or more where there is one.

    Raises:
        ValueError: it is none, in one line with ``what`` in words.
    """
    found = scalar(value)
    if isinstance(found, bool) or not isinstance(found, int) or (least is not None and found < least):
        span = "" if least is None else f" of {least} or more"
        raise ValueError(f"Expected {what} as a whole number{span}; got {_short(value)}.")
    return found


def real(value: Any, what: str) -> float:
    """Return a finite number.

    Raises:
        ValueError: it is none, in one line with ``what`` in words.
    """
    found = scalar(value)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        raise ValueError(f"Expected {what} as a number; got {_short(value)}.")
    return found


def seed_number(value: Any) -> int:
    """Return a seed as torch's generators take it.

    Raises:
        ValueError: it is no whole number of 64 bits.
    """
    found = whole(value, "a seed", None)
    if not -(2**63) <= found < 2**64:
        raise ValueError(f"Expected a seed of 64 bits; got {_short(value)}.")
    return found


def make_plain(config: Any) -> None:
    """Give the fields of a frozen dataclass the plain values of their types, when it is made.

    Fields of other types than numbers, truth values, words and tuples of whole numbers are left as they are.

    Raises:
        ValueError: a value is not of its field's type.
    """
    hints = get_type_hints(type(config))
    for part in fields(config):
        value, what = getattr(config, part.name), part.name.replace("_", " ")
        object.__setattr__(config, part.name, _of_type(value, hints[part.name], what))


def _of_type(value: Any, kind: Any, what: str) -> Any:
    choices = get_args(kind)
    if value is None and type(None) in choices:
        return None
    wanted = {kind} if get_origin(kind) is tuple or not choices else set(choices)
    if int in wanted and float not in wanted:
        return whole(value, what, None)
    if float in wanted:
        return real(value, what)
    if bool in wanted:
        found = scalar(value)
        if found not in (True, False) or not isinstance(found, int):
            raise ValueError(f"Expected {what} as True or False; got {_short(value)}.")
        return bool(found)
    if str in wanted or get_origin(kind) is Literal:
        found = scalar(value)
        if not isinstance(found, str):
            raise ValueError(f"Expected {what} as a word; got {_short(value)}.")
        return found
    if get_origin(kind) is tuple and set(choices) <= {int, Ellipsis}:
        if not isinstance(value, (list, tuple, np.ndarray, torch.Tensor)) or np.ndim(value) != 1:
            raise ValueError(f"Expected {what} as whole numbers; got {_short(value)}.")
        return tuple(whole(part, what, None) for part in value)
    return value


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:LONGEST]
