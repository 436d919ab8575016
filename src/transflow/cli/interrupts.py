"""Ctrl-C ends a command with status 130, at whatever moment it comes.

Python raises `KeyboardInterrupt` wherever the program is. While a module is imported, in a destructor or in a callback
of C, it may be swallowed, or come out as another exception; there the program ends at once, as nothing is half done:
files are written whole, and the system drops locks.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, Self

STATUS = 130


class Interrupts:
    """Ctrl-C within a command.

    Args:
        program: whether the process ends with the command; then Ctrl-C goes on to be ours until it has ended.

    Attributes:
        running: whether there is work that is to be left by an exception.
        seen: whether Ctrl-C came.
    """

    def __init__(self, *, program: bool) -> None:
        self.program, self.running, self.seen, self.ours = program, False, False, False

    def __enter__(self) -> Self:
        with suppress(ValueError):  # in a thread
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the caller's, or ignored
                signal.signal(signal.SIGINT, self._handle)
                self.ours = True
                sys.unraisablehook, self.hook = self._unraisable, sys.unraisablehook
        return self

    def __exit__(self, *_: object) -> None:
        self.running = False
        if self.ours and not self.program:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = self.hook

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.seen or not self.running or _importing(frame):
            leave()
        self.seen = True
        raise KeyboardInterrupt

    def _unraisable(self, unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            leave()
        self.hook(unraisable)


def leave() -> None:
    """End the process now."""
    with suppress(Exception):
        if locks := sys.modules.get("transflow.store.locks"):
            locks.release_all()
    with suppress(OSError):
        os.write(2, b"transflow: interrupted\n")
    os._exit(STATUS)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
