"""How the page's functions hang on the web framework: their session, their progress, their errors.

A function of the page takes an `Asked` and the values of its inputs. What it raises of bad input becomes a line in the
page, and leaves what is shown as it was: the framework's own errors would be written over every output. What it raises
otherwise is a defect, is logged whole where the server runs, and becomes a line that says so.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transflow.app import bounds
from transflow.app.gathering import Work
from transflow.app.sessions import Session, Sessions
from transflow.app.shelf import Shelf
from transflow.app.uploads import Align
from transflow.app.watched import Stopped
from transflow.devices import OUT_OF_MEMORY as MEMORY

SECONDS = 12  # that a line stays
LOG = logging.getLogger("transflow.app")
BAD_INPUT = (ValueError, TypeError, OSError, FloatingPointError, ImportError)
OUT_OF_MEMORY = "Out of memory. Use fewer pictures, or a smaller model."
DEFECT = "Something went wrong in transflow itself. The terminal where it runs says what."


def gradio() -> Any:
    """Return the web framework.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import gradio
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("gradio", "gradio_client"):
            raise
        raise ImportError("Expected gradio for the page; it is not installed. pip install 'transflow[app]'") from None
    return gradio


@dataclass(frozen=True, eq=False)
class Asked:
    """Who asks.

    Attributes:
        session: of the browser.
        progress: shows a share of the work, and words.
    """

    session: Session
    progress: Callable[[float, str], None]

    def work(self, panel: str) -> Work:
        """Return how a panel's work reports, and is stopped by `stopper`."""
        return Work(self.progress, self.session.begin(panel))


@dataclass(frozen=True, eq=False)
class Wires:
    """The framework, and what the page's functions share.

    Attributes:
        gr: the module of gradio.
        shelf: models.
        sessions: of all browsers.
        align: finds faces and turns them upright; None where it is not installed.
    """

    gr: Any
    shelf: Shelf
    sessions: Sessions
    align: Align | None = None

    def on(
        self,
        triggers: Any,
        function: Callable[..., Any],
        inputs: Sequence[Any] = (),
        outputs: Sequence[Any] = (),
        *,
        group: str = "quick",
        shows: str = "hidden",
        failed: Any = None,
        **options: Any,
    ) -> Any:
        """Call a function when something happens.

        Args:
            triggers: events, such as ``button.click``.
            function: takes an `Asked` and the inputs' values; returns, or yields, those of the outputs.
            inputs: components.
            outputs: components.
            group: "quick", "encode", "prior" or "long", of each of which one computes at a time; or "at once".
            shows: how progress is shown: "full", "minimal" or "hidden".
            failed: values of the outputs where it fails; None to leave them as they are.
            options: of the framework.
        """
        options |= _place(group)
        handler = self._handler(function, len(inputs), failed)
        return self.gr.on(
            triggers, handler, list(inputs), list(outputs), show_progress=shows, api_visibility="private", **options
        )

    def then(
        self,
        event: Any,
        function: Callable[..., Any],
        inputs: Sequence[Any] = (),
        outputs: Sequence[Any] = (),
        *,
        group: str = "quick",
        shows: str = "hidden",
        **options: Any,
    ) -> Any:
        """Call a function once another event's has done its work; arguments as for `on`."""
        options |= _place(group)
        handler = self._handler(function, len(inputs), None)
        return event.success(
            handler, list(inputs), list(outputs), show_progress=shows, api_visibility="private", **options
        )

    def stopper(self, button: Any, panel: str) -> None:
        """Let a button stop a panel's work."""

        def stop(asked: Asked) -> None:
            asked.session.stop(panel)

        self.on(button.click, stop, group="at once")

    def _handler(self, function: Callable[..., Any], count: int, failed: Any) -> Callable[..., Any]:
        """The function as the framework calls it: the values, the request, the progress."""
        gr = self.gr
        nothing = gr.skip() if failed is None else failed

        def asked(values: tuple[Any, ...]) -> tuple[Any, ...]:
            request, progress = values[count], values[count + 1]

            def report(share: float, words: str) -> None:
                progress(share, desc=words)

            return (Asked(self.sessions.of(request.session_hash), report), *values[:count])

        def say(error: Exception) -> Any:
            line = line_of(error, self.sessions)
            if line == DEFECT:
                raise gr.Error(line, title="Not done", print_exception=False) from None
            if not isinstance(error, Stopped):
                gr.Warning(line, title="Not done", duration=SECONDS)
            return nothing

        if inspect.isgeneratorfunction(function):

            def handler(*values: Any) -> Any:
                try:
                    yield from function(*asked(values))
                except Exception as error:
                    yield say(error)

        else:

            def handler(*values: Any) -> Any:
                try:
                    return function(*asked(values))
                except Exception as error:
                    return say(error)

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(f"value_{i}", kind) for i in range(count)]
        parameters += [inspect.Parameter("request", kind), inspect.Parameter("progress", kind, default=gr.Progress())]
        handler.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        handler.__annotations__ = {"request": gr.Request}
        handler.__name__ = function.__name__
        return handler


def _place(group: str) -> dict[str, Any]:
    """Where an event waits: in one of the queues, or in none."""
    if group == "at once":
        return {"queue": False}
    return {"concurrency_id": group, "concurrency_limit": bounds.AT_A_TIME}


def line_of(error: Exception, sessions: Sessions) -> str:
    """Return what the page says of an error: its own line where it is of bad input; a defect is logged whole.

    No path of the server is in it: files are called by their names.
    """
    if isinstance(error, MemoryError) or any(words in str(error) for words in MEMORY):
        return OUT_OF_MEMORY
    if isinstance(error, BAD_INPUT) and str(error):
        line = " ".join(str(error).split())
        return re.sub(rf"{re.escape(str(sessions.folder))}[^\s:;,']*/", "", line)
    LOG.error("a defect", exc_info=error)
    return DEFECT
