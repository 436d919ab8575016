"""Doctests as examples: an extension of griffe, by which MkDocs reads docstrings.

A docstring of ours ends with its doctest; the page shows it as code, under "Examples".
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Puts the doctest of each docstring into a section of its own."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite an object's docstring."""
        if obj.docstring is None or ">>>" not in obj.docstring.value:
            return
        before, doctest = re.split(r"^(?=>>>)", obj.docstring.value, maxsplit=1, flags=re.M)
        obj.docstring.value = before + "Examples:\n" + re.sub("^", "    ", doctest, flags=re.M)
