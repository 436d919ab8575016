"""What the server answers: the page and its own files, no path of the machine, and nothing of other places."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.request

import pytest

from transflow.app import bounds, serve
from transflow.app.gate import FILE, Gate
from transflow.app.sessions import Sessions

GIVEN = [
    "/", "/config", "/theme.css", "/assets/index-a1.js", "/static/img/x.svg", "/gradio_api/queue/data",
    "/gradio_api/heartbeat/abc123", "/gradio_api/startup-events",
]  # fmt: skip
REFUSED = [
    "/gradio_api/file=/etc/passwd", "/gradio_api/file=../../etc/passwd", "/gradio_api/file=http://127.0.0.1:22/",
    "/gradio_api/file=file:///etc/passwd", "/file=/etc/passwd", "/gradio_api/file/etc/passwd",
    "/gradio_api/proxy=http://example.org", "/gradio_api/vibe-code", "/monitoring", "/gradio_api/info", "/docs",
    "/gradio_api/openapi.json", "/gradio_api/runs", "/assets/../../etc/passwd", "/static/..%2f..%2fetc/passwd",
    "/gradio_api/component_server", "/gradio_api/call/x", "/custom_component/a/b/c/d", "/gradio_api/deep_link",
    "//etc/passwd", "/gradio_api/file=", "/gradio_api/file=/",
]  # fmt: skip


async def nothing(scope, receive, send):
    """An application that reads the whole request and answers with its size."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def ask(gate, path, method="GET", parts=(b"",), headers=()):
    """Ask as a server does; return status, body and headers."""
    sent = []

    async def run():
        left = list(parts)

        async def receive():
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message):
            sent.append(message)

        await gate({"type": "http", "method": method, "path": path, "headers": list(headers)}, receive, send)

    asyncio.run(run())
    return sent[0]["status"], sent[1]["body"], dict(sent[0]["headers"])


@pytest.fixture
def gate(sessions):
    return Gate(nothing, sessions.served, sessions.room)


@pytest.mark.parametrize("path", GIVEN)
def test_the_page_is_answered(gate, path):
    status, _, headers = ask(gate, path)
    assert status == 200
    assert b"default-src 'self'" in headers[b"content-security-policy"]


@pytest.mark.parametrize("path", REFUSED)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_all_else_is_refused(gate, path, method):
    assert ask(gate, path, method)[0] == 404


def test_only_files_that_it_made_are_served(gate, sessions, tmp_path):
    made, other = sessions.served / "ab" / "x.zip", sessions.of("abc").folder / "kept.png"
    made.parent.mkdir()
    for path in (made, other):
        path.write_bytes(b"x")
    link = sessions.served / "link"
    link.symlink_to(other)
    assert gate.allows("GET", f"{FILE}{made}")
    for path in (other, link, f"{sessions.served}/../{other.name}", f"{made.parent}/%2e%2e/%2e%2e/x", tmp_path):
        assert not gate.allows("GET", f"{FILE}{path}"), path
    assert not gate.allows("POST", f"{FILE}{made}")


def test_requests_are_bounded_as_they_say_and_as_they_come(sessions):
    gate = Gate(nothing, sessions.served, lambda: 10**9, most=100)
    upload = "/gradio_api/upload"
    assert ask(gate, upload, "POST", [b"x" * 60, b"x" * 40])[:2] == (200, b"100")
    assert ask(gate, upload, "POST", [b"x" * 60, b"x" * 41])[0] == 413
    assert ask(gate, upload, "POST", [b""], [(b"content-length", b"101")])[0] == 413
    full = Gate(nothing, sessions.served, lambda: 50, most=100)
    assert ask(full, upload, "POST", [b"x" * 51])[0] == 413
    assert ask(full, "/gradio_api/queue/join", "POST", [b" " * 51])[0] == 200


EVENTS = ["/gradio_api/queue/join", "/gradio_api/run/predict"]


def event(*files):
    return json.dumps({"data": [{"path": str(file), "meta": {"_type": "gradio.FileData"}} for file in files]}).encode()


@pytest.mark.parametrize("path", EVENTS)
def test_an_event_names_no_file_but_those_given_to_the_page(gate, sessions, tmp_path, path):
    given, other = sessions.served / "ab" / "x.png", tmp_path / "private.jpg"
    given.parent.mkdir()
    for file in (given, other):
        file.write_bytes(b"x")
    link = given.parent / "link.png"
    link.symlink_to(other)
    body = event(given)
    assert ask(gate, path, "POST", [body[:20], body[20:]])[:2] == (200, str(len(body)).encode())  # read whole
    for foreign in (other, link, "http://127.0.0.1:1/x.png", f"{sessions.served}/../private.jpg"):
        status, words, _ = ask(gate, path, "POST", [event(given, foreign)])
        assert (status, b"Expected files that were given to the page" in words) == (403, True), foreign
    for body in (b"{", b'{"data": {"value": [{"path": 3}]}}', b'[{"path": ["/a"]}]'):
        assert ask(gate, path, "POST", [body])[0] == 403
    assert ask(gate, path, "POST", [b'{"data": [{"path": null}, "path", 1]}'])[0] == 200


def test_an_event_is_small(gate):
    assert ask(gate, EVENTS[0], "POST", [b""], [(b"content-length", str(bounds.EVENT_BYTES + 1).encode())])[0] == 413


OWN = [(b"host", b"127.0.0.1:7860")]


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", OWN, 200),
        ("GET", [(b"host", b"localhost:7860")], 200),
        ("GET", [(b"host", b"[::1]:7860")], 200),
        ("GET", [(b"host", b"elsewhere.org")], 403),
        ("GET", [], 403),
        ("POST", [*OWN, (b"origin", b"http://127.0.0.1:7860")], 200),
        ("POST", [*OWN, (b"origin", b"https://elsewhere.org")], 403),
        ("POST", [*OWN, (b"origin", b"http://127.0.0.1:8000")], 403),
        ("POST", [*OWN, (b"origin", b"null")], 403),
        ("POST", [*OWN, (b"sec-fetch-site", b"cross-site")], 403),
        ("POST", [*OWN, (b"sec-fetch-site", b"same-origin")], 200),
        ("POST", OWN, 200),
        ("POST", [*OWN, (b"origin", b"https://page.org"), (b"x-forwarded-host", b"page.org")], 200),
    ],
)
def test_requests_come_from_the_page_itself(sessions, method, headers, status):
    gate = Gate(nothing, sessions.served, sessions.room, hosts=serve.HERE)
    assert ask(gate, "/gradio_api/upload" if method == "POST" else "/", method, headers=headers)[0] == status


def test_a_page_that_others_reach_has_any_name(gate):
    assert ask(gate, "/", headers=[(b"host", b"page.org")])[0] == 200
    headers = [(b"host", b"page.org"), (b"origin", b"https://elsewhere.org")]
    assert ask(gate, "/gradio_api/upload", "POST", headers=headers)[0] == 403


def test_room_is_what_is_left(sessions):
    (sessions.of("abc").folder / "x").write_bytes(bytes(1000))
    assert sessions.room() == bounds.UPLOADED_BYTES - 1000


def test_the_next_free_port_is_taken():
    first = serve.listen(serve.HOST, 0)
    port = first.getsockname()[1]
    second = serve.listen(serve.HOST, port)
    try:
        assert second.getsockname()[1] > port
        assert serve.address_of(second, serve.HOST) == f"http://127.0.0.1:{second.getsockname()[1]}/"
        with pytest.raises(OSError, match="Expected a free port"):
            serve.listen(serve.HOST, port, tries=1)
    finally:
        first.close()
        second.close()


def test_it_is_served_on_this_machine_alone_unless_told_otherwise():
    found = serve.listen(serve.HOST, 0)
    assert found.getsockname()[0] == "127.0.0.1"
    found.close()


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_a_foreign_address_is_one_line(host):
    with pytest.raises(OSError, match="Expected an address of this machine to serve on"):
        serve.listen(host, 0)


def test_an_impossible_port_is_one_line():
    with pytest.raises(ValueError, match="Expected a port from 0 to 65535; got 70000"):
        serve.listen(serve.HOST, 70000)


def test_the_framework_is_told_to_stay_offline(shelf, monkeypatch):
    pytest.importorskip("gradio")
    for name, value in {**serve.OFFLINE, "GRADIO_TEMP_DIR": ""}.items():
        monkeypatch.setenv(name, value)
    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
    sessions = Sessions()

    async def built():
        return serve.application(shelf, sessions)

    page = asyncio.run(built())
    sessions.close()
    assert not asked
    assert isinstance(page.application, Gate)


def test_a_server_that_is_ended_leaves_nothing(tmp_path):
    pytest.importorskip("gradio")
    place = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "transflow", "app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=place) as server:
        address = server.stdout.readline().split()[0]
        assert list(tmp_path.glob("transflow-app-*"))
        with urllib.request.urlopen(address) as answer:
            assert b"transflow" in answer.read()
        server.terminate()
        assert "Traceback" not in server.communicate()[1]
    assert not list(tmp_path.glob("transflow-app-*"))


def test_what_a_killed_server_left_is_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    for number in (gone.pid, os.getpid()):
        (tmp_path / f"transflow-app-{number}-x").mkdir()
    sessions = Sessions()
    assert not (tmp_path / f"transflow-app-{gone.pid}-x").exists()
    assert (tmp_path / f"transflow-app-{os.getpid()}-x").exists()
    sessions.close()
