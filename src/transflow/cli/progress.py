"""How work in progress is shown, decided once: a bar on a terminal, a widget in a notebook, a line a minute in a log.

A log has no line that is drawn over: what is written there stays, so it is little, and whole lines.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Self

from transflow.cli.messages import note, rate

EVERY = 60.0  # seconds between the lines of a log


class Progress:
    """Work in progress on standard error, with a total or without.

    Args:
        total: how much there is to do; None where it is not known.
        unit: what is counted, such as "pictures"; "%" for a share of 100 with words of its own.
    """

    def __init__(self, total: float | None, unit: str = "pictures") -> None:
        self.total, self.unit, self.done, self.words = total, unit, 0.0, ""
        self.begun = self.said = time.monotonic()
        self.fresh = False
        self._bar = _bar(total, unit) if has_screen() else None

    def update(self, more: float, words: str = "") -> None:
        """Count more that is done.

        Args:
            more: of the unit.
            words: how it goes, where the unit is "%".
        """
        self.done, self.words, self.fresh = self.done + more, words, True
        if self._bar is not None:
            if words:
                self._bar.set_postfix_str(words, refresh=False)
            self._bar.update(more)
        elif time.monotonic() - self.said >= EVERY:
            self._say()

    def close(self) -> None:
        """Leave the last state of a share; take away what was counted on a screen."""
        if self._bar is not None:
            self._bar.close()
        elif self.fresh and self.unit == "%":
            self._say()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _say(self) -> None:
        self.said, self.fresh = time.monotonic(), False
        if self.unit == "%":
            note(f"{self.done:.0f}% {self.words}")
            return
        of = "" if self.total is None else f" of {self.total:.0f}"
        speed = rate(int(self.done), max(self.said - self.begun, 1e-3)).replace("pictures", self.unit)
        note(f"{self.done:.0f}{of} {self.unit}, {speed}")


def has_screen() -> bool:
    """Return whether a line can be drawn over: on a terminal, or in a notebook."""
    return _in_notebook() or sys.stderr.isatty()


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this, not merely whether one is installed, or imported."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"


def _bar(total: float | None, unit: str) -> Any:
    if _in_notebook():
        from tqdm.auto import tqdm as bar  # a widget, where ipywidgets is there
    else:
        from tqdm import tqdm as bar  # type: ignore[assignment]
    if unit == "%":
        return bar(total=total, bar_format="{percentage:3.0f}% |{bar:20}| {postfix}")
    options: dict[str, Any] = {"delay": 1.0, "mininterval": 0.5, "maxinterval": 1.0, "smoothing": 0.1}
    return bar(total=total, unit=f" {unit}", leave=False, dynamic_ncols=True, **options)
