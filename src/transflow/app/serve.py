"""The page served: on this machine alone unless another address is given, on the next free port, offline.

Nothing is asked of the network: no analytics, no fonts, no version check. The framework's files lie in a folder of this
process, which is deleted with it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

from transflow.app import bounds
from transflow.app.aligning import aligner
from transflow.app.gate import Gate
from transflow.app.page import FONT, MONO, build
from transflow.app.sessions import Sessions, sweeper
from transflow.app.shelf import Shelf
from transflow.app.wiring import Wires, gradio

HOST = "127.0.0.1"
PORT = 7860
TRIES = 100  # ports
HERE = ("127.0.0.1", "::1", "localhost")
OFFLINE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_RUN_HISTORY": "False",
}


@dataclass(frozen=True, eq=False)
class Served:
    """A page that can be asked for.

    Attributes:
        application: answers requests.
        sessions: of all browsers.
    """

    application: Any
    sessions: Sessions


def application(shelf: Shelf, sessions: Sessions, hosts: Collection[str] = ()) -> Served:
    """Return the page as an application of ASGI.

    Args:
        shelf: the models.
        sessions: of all browsers; theirs is the folder of the framework's files, too.
        hosts: names by which it may be asked for; none for any.

    Raises:
        ImportError: the framework is not installed.
    """
    os.environ.update(OFFLINE)
    os.environ["GRADIO_TEMP_DIR"] = str(sessions.served)
    gr = gradio()
    from fastapi import FastAPI

    page = build(Wires(gr, shelf, sessions, aligner()))
    page.queue(max_size=bounds.QUEUE, api_open=False, default_concurrency_limit=1)
    theme = gr.themes.Default(font=FONT, font_mono=MONO)
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mounted = gr.mount_gradio_app(
        outer,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=bounds.MODEL_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme,
        css=resources.files("transflow.app").joinpath("page.css").read_text("utf-8"),
    )
    return Served(Gate(mounted, sessions.served, sessions.room, hosts=hosts), sessions)


def listen(host: str, port: int | None, tries: int = TRIES) -> socket.socket:
    """Return a socket that listens: on a port, or the next one that is free.

    Args:
        host: an address of this machine, or a name.
        port: where to begin; None for `PORT`.
        tries: how many ports.

    Raises:
        OSError: the address is none of this machine, or no port is free.
    """
    first = PORT if port is None else port
    if not 0 <= first < 2**16:
        raise ValueError(f"Expected a port from 0 to 65535; got {first}.")
    try:
        family, *_, address = socket.getaddrinfo(host, first, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise OSError(f"Expected an address of this machine to serve on; got {host}.") from None
    problem: OSError | None = None
    for number in range(first, min(first + tries, 2**16)):
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            if sys.platform != "win32":  # there it would let two servers have one port
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((address[0], number, *address[2:]))
            found.listen(128)
        except OSError as error:
            found.close()
            problem = error
            if error.errno not in (98, 48, 10048, 13):  # in use, by Linux, macOS and Windows; not permitted
                raise OSError(f"Expected an address of this machine to serve on; got {host} ({error}).") from None
        else:
            return found
    raise OSError(f"Expected a free port from {first} to {first + tries - 1}; got none ({problem}). Give --port.")


def address_of(found: socket.socket, host: str) -> str:
    """Return the address that a browser asks for."""
    port = found.getsockname()[1]
    shown = HOST if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"


@contextmanager
def opened(names: tuple[str, ...] = (), hosts: Collection[str] = ()) -> Iterator[Served]:
    """Open a page for the time of a block; then everything that it was given is deleted.

    Args:
        names: of the models, as `Shelf` takes them.
        hosts: as `application` takes them.
    """
    shelf = Shelf(names)
    shelf.load_given()
    sessions = Sessions()
    stop = sweeper(sessions)
    try:
        yield application(shelf, sessions, hosts)
    finally:
        stop.set()
        sessions.close()


def serve(
    host: str = HOST,
    port: int | None = None,
    names: tuple[str, ...] = (),
    *,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        host: on which address of this machine.
        port: on which port; the next free one where it is in use.
        names: of models to offer first, as `load` takes them.
        ready: called with the address, once the page can be asked for.

    Raises:
        ImportError: the framework is not installed.
        OSError: the address is none of this machine, or no port is free.
    """
    gradio()
    listening = listen(host, port)
    import uvicorn

    try:
        with _ended_by_signal(), opened(names, HERE if host in HERE else ()) as page:
            if ready is not None:
                ready(address_of(listening, host))
            configuration = uvicorn.Config(page.application, log_level="warning", timeout_graceful_shutdown=2)
            uvicorn.Server(configuration).run(sockets=[listening])
    finally:
        listening.close()


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let a request to end the process be an interrupt: what was given is deleted, too."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
