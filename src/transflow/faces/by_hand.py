"""Eyes by hand: a page on this machine alone, on which each picture takes two clicks, or the arrow keys.

    browser  <-  http://127.0.0.1:PORT/TOKEN/            the page; nothing from outside
             <-  .../TOKEN/picture                       the picture in turn, made smaller
              -> .../TOKEN/eyes   {"number", "eyes"}     two points, in shares of width and height; none to leave it out

One picture is asked for at a time, so that any number may wait; the token, new every time, keeps other programs of
this machine and other pages of the browser from answering.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from types import TracebackType
from typing import Any

from transflow.pictures.grids import encode_image
from transflow.pictures.turned import EYES_APART, EYES_HEIGHT, Eyes, Pixels, from_array

LONGEST = 1000  # pixels of the picture shown
LARGEST = 10_000  # bytes of an answer


class AskByHand:
    """Asks for the eyes of pictures on a page; a context manager, whose server ends with it.

    Args:
        show: called once with the page's address and whether a browser was opened with it.
        browser: opens an address, and says whether it did; the default asks for none where there is no display.
    """

    def __init__(self, show: Callable[[str, bool], None], browser: Callable[[str], bool] | None = None) -> None:
        self.show, self.browser = show, browser or open_browser
        self.token = secrets.token_urlsafe(16)
        self.turn = threading.Condition()
        self.number, self.name = 0, ""
        self.picture = b""
        self.answer: list[list[float]] | None = None
        self.over = False
        self.server: ThreadingHTTPServer | None = None

    @property
    def address(self) -> str:
        """Of the page, with its token."""
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_address[1]}/{self.token}/"

    def __enter__(self) -> AskByHand:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self.turn:
            self.over, self.picture = True, b""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    def __call__(self, name: str, pixels: Pixels) -> list[Eyes]:
        """Return the eyes that are given for a picture, RGB (H, W, 3); none where it is left out. Waits for them."""
        high, wide = pixels.shape[:2]
        shown = encode_image(from_array(pixels, LONGEST / max(high, wide)), ".jpg")
        with self.turn:
            self.number, self.name, self.picture, self.answer = self.number + 1, name, shown, None
        if self.server is None:
            self._serve()
        answer = self._wait()
        left, right = ((x * wide, y * high) for x, y in answer or [[0, 0], [0, 0]])
        return [Eyes(left, right)] if answer else []

    def _wait(self) -> list[list[float]]:
        with self.turn:
            while self.answer is None:
                self.turn.wait(0.5)  # in parts, so that Ctrl-C is heard
            return self.answer

    def _serve(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True).start()
        self.show(self.address, self.browser(self.address))

    def take(self, text: bytes) -> bool:
        """Take an answer of the page; return whether it is one, of the picture in turn."""
        try:
            found = json.loads(text)
            number, eyes = found["number"], [[float(x), float(y)] for x, y in found["eyes"]]
        except (ValueError, TypeError, KeyError):
            return False
        inside = all(math.isfinite(x) and 0 <= x <= 1 for point in eyes for x in point)
        with self.turn:
            if number != self.number or not self.picture or not inside or len(eyes) not in (0, 2):
                return False
            if eyes and eyes[0] == eyes[1]:
                return False
            self.answer = eyes
            self.picture = b""
            self.turn.notify_all()
        return True

    def state(self) -> dict[str, Any]:
        """Return what the page shows: the number and name of the picture in turn, or that there is none."""
        with self.turn:
            where = {"apart": EYES_APART, "height": EYES_HEIGHT}
            return {"number": self.number, "name": self.name, "ready": bool(self.picture), "over": self.over} | where


def open_browser(address: str) -> bool:
    """Open an address in the user's browser where there is a display for one; return whether it was opened."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False  # a browser of the terminal would take it over
    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False


def _handler(asking: AskByHand) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            base, _, path = self.path.partition("?")[0].rpartition("/")
            if not self._is_known(base):
                self._send(404, "text/plain", b"not found")
            elif path == "":
                page = files("transflow.faces").joinpath("by_hand.html").read_bytes()
                self._send(200, "text/html; charset=utf-8", page)
            elif path == "state":
                self._send(200, "application/json", json.dumps(asking.state()).encode())
            elif path == "picture" and asking.picture:
                self._send(200, "image/jpeg", asking.picture)
            else:
                self._send(404, "text/plain", b"not found")

        def do_POST(self) -> None:
            base, _, path = self.path.rpartition("/")
            length = self.headers.get("Content-Length", "")
            fine = self._is_known(base) and path == "eyes" and length.isdecimal() and int(length) <= LARGEST
            taken = fine and asking.take(self.rfile.read(int(length)))
            self._send(200 if taken else 400, "application/json", b"{}")

        def _is_known(self, base: str) -> bool:
            host = (self.headers.get("Host") or "").rpartition(":")[0]
            return host in ("127.0.0.1", "localhost") and secrets.compare_digest(
                base.encode(), f"/{asking.token}".encode()
            )

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                ("Referrer-Policy", "no-referrer"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
