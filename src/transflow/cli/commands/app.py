"""``transflow app``: a page in the browser, to give pictures to a model and see what becomes of them."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import MODEL
from transflow.cli.messages import note, say

HELP = "serve a page for the browser: pictures in, new ones out, with sliders"
HOST, PORT = "127.0.0.1", 7860  # as `app.serve` has them


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    words = f"{MODEL}; the page offers it first, beside the bundled ones"
    parser.add_argument("-m", "--model", help=words)
    words = f"address of this machine to serve on (default: {HOST}, this machine alone)"
    parser.add_argument("--host", default=HOST, help=words)
    words = f"port (default: {PORT}); the next free one where it is in use; 0 for any"
    parser.add_argument("--port", type=int, help=words)


def run(options: argparse.Namespace) -> None:
    """Serve the page until it is interrupted; print its address."""
    from transflow.app.serve import HERE, serve

    def ready(address: str) -> None:
        wanted = PORT if options.port is None else options.port
        if wanted and f":{wanted}/" not in address:
            note(f"note: port {wanted} is in use; this is the next free one")
        if options.host not in HERE:
            note(f"note: whoever reaches {options.host} can use this page; it asks for no password")
        say(f"{address} (Ctrl-C ends it)")

    serve(options.host, options.port, (options.model,) if options.model else (), ready=ready)
