"""What of the server may be asked for: the page, its own assets and events, and files that it made itself.

The framework answers many more addresses than the page needs, among them some that fetch from other places or write
code. Here everything is refused but a list. A request's bytes are counted as they come. Each answer says to the browser
that the page loads nothing from anywhere else.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from transflow.app import bounds

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
GET = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/[\w.@/-]+|{API}/("
    r"queue/data|upload_progress|heartbeat/[\w-]+|startup-events|app_id/?|theme\.css)"
)
POST = re.compile(rf"{API}/(queue/join|run/predict/?|upload|cancel|reset/?)")
FILE = f"{API}/file="
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-ancestors 'self'; base-uri 'self'; form-action 'self'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class TooLarge(Exception):
    """A request has more bytes than it may."""


class Gate:
    """An application with only some of another's addresses.

    Args:
        app: the other application.
        served: the folder of the files that it made itself.
        room: returns how many bytes may still be uploaded.
        most: bytes of a request.
    """

    def __init__(self, app: App, served: Path, room: Callable[[], int], most: int = bounds.REQUEST_BYTES) -> None:
        self.app, self.served, self.room, self.most = app, Path(os.path.realpath(served)), room, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http" or not self.allows(scope["method"], scope["path"]):
            await refuse(send, 404, "There is nothing at this address.")
            return
        upload = scope["path"] == f"{API}/upload"
        most = min(self.most, self.room()) if upload else self.most
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > most:
            await refuse(
                send, 413, f"Expected at most {max(0, most) / 1e6:.0f} MB at once; got more. Give fewer files."
            )
            return
        count, begun = 0, False

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > most:
                raise TooLarge
            return message

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message["headers"], *HEADERS]}
            await send(message)

        try:
            await self.app(scope, counted, with_headers)
        except TooLarge:
            if not begun:
                await refuse(send, 413, "Expected fewer bytes in a request; got too many.")

    def allows(self, method: str, path: str) -> bool:
        """Return whether an address may be asked for.

        >>> gate = Gate(None, Path("/tmp/served"), lambda: 0)
        >>> gate.allows("GET", "/"), gate.allows("GET", "/gradio_api/file=/etc/passwd")
        (True, False)
        """
        if method in ("GET", "HEAD"):
            if path.startswith(FILE):
                return self._is_served(path[len(FILE) :])
            return GET.fullmatch(path) is not None and ".." not in path
        return method == "POST" and POST.fullmatch(path) is not None

    def _is_served(self, path: str) -> bool:
        """Whether a path, however it is written, is that of a file in the served folder."""
        if "\0" in path or unquote(path) != path or not path.startswith("/"):
            return False
        return Path(os.path.realpath(path)).is_relative_to(self.served)


async def refuse(send: Send, status: int, words: str) -> None:
    """Answer with an error in one line."""
    body = json.dumps({"detail": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
