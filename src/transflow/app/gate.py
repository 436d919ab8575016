"""What of the server may be asked for: the page, its own assets and events, and files that it made itself.

The framework answers many more addresses than the page needs, among them some that fetch from other places or write
code. Here everything is refused but a list. A request's bytes are counted as they come. What a request names as a file
is one that was uploaded, or that the server made: the framework would take any path, and fetch any address. A request
comes from the page itself: a browser says from where, and on an address of this machine alone, for which name. Each
answer says to the browser that the page loads nothing from anywhere else.
"""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

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


class Foreign(Exception):
    """A request names a file that is not the page's own."""


class Gate:
    """An application with only some of another's addresses.

    Args:
        app: the other application.
        served: the folder of the files that it made itself.
        room: returns how many bytes may still be uploaded.
        most: bytes of a request.
        hosts: names by which the page may be asked for; none for any.
    """

    def __init__(
        self,
        app: App,
        served: Path,
        room: Callable[[], int],
        most: int = bounds.REQUEST_BYTES,
        hosts: Collection[str] = (),
    ) -> None:
        self.app, self.served, self.room, self.most = app, Path(os.path.realpath(served)), room, most
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http" or not self.allows(scope["method"], scope["path"]):
            await refuse(send, 404, "There is nothing at this address.")
            return
        headers = dict(scope["headers"])
        if not self.is_own(scope["method"], headers):
            await refuse(send, 403, "Expected a request of the page itself; got one from elsewhere.")
            return
        upload = scope["path"] == f"{API}/upload"
        most = min(self.most, self.room()) if upload else min(self.most, bounds.EVENT_BYTES)
        length = headers.get(b"content-length", b"")
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
            checked = scope["method"] == "POST" and not upload
            await self.app(scope, await self._checked(counted) if checked else counted, with_headers)
        except Foreign:
            await refuse(send, 403, "Expected files that were given to the page; got another path or address.")
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

    def is_own(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a request comes from the page, as far as a browser says.

        >>> gate = Gate(None, Path("/tmp/served"), lambda: 0, hosts=("127.0.0.1",))
        >>> gate.is_own("GET", {b"host": b"127.0.0.1:7860"}), gate.is_own("GET", {b"host": b"elsewhere.org"})
        (True, False)
        >>> gate.is_own("POST", {b"host": b"127.0.0.1:7860", b"origin": b"https://elsewhere.org"})
        False
        """
        host = headers.get(b"host", b"").decode("latin-1")
        if self.hosts and urlsplit(f"//{host}").hostname not in self.hosts:
            return False
        if method != "POST":
            return True
        asked = {host, headers.get(b"x-forwarded-host", host.encode("latin-1")).decode("latin-1")}  # by a proxy
        origin = headers.get(b"origin")
        if origin is not None:
            return urlsplit(origin.decode("latin-1")).netloc in asked
        return headers.get(b"sec-fetch-site", b"same-origin") in (b"same-origin", b"none")

    async def _checked(self, receive: Receive) -> Receive:
        """Return a `receive` that gives the whole body once more, if all files that it names are served."""
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body, more = body + message.get("body", b""), message.get("more_body", False)
        try:
            content = json.loads(body) if body.strip() else None
        except (ValueError, RecursionError):
            raise Foreign from None
        if not all(self._is_file(path) for path in paths_of(content)):
            raise Foreign
        whole = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        return again

    def _is_file(self, path: Any) -> bool:
        return path is None or (isinstance(path, str) and self._is_served(path))

    def _is_served(self, path: str) -> bool:
        """Whether a path, however it is written, is that of a file in the served folder."""
        if "\0" in path or unquote(path) != path or not path.startswith("/"):
            return False
        return Path(os.path.realpath(path)).is_relative_to(self.served)


def paths_of(content: Any) -> Iterator[Any]:
    """Return what JSON names as files: the paths of all objects that have one.

    >>> list(paths_of({"data": [{"path": "/a", "meta": {}}, {"value": {"path": None}}, "path"]}))
    ['/a', None]
    """
    left = deque([content])
    while left:
        part = left.popleft()
        if isinstance(part, dict):
            if "path" in part:
                yield part["path"]
            left += part.values()
        elif isinstance(part, list):
            left += part


async def refuse(send: Send, status: int, words: str) -> None:
    """Answer with an error in one line."""
    body = json.dumps({"detail": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
