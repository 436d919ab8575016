"""The page that asks for eyes: answers of the picture in turn are taken, and nobody without the token gets anything."""

import http.client
import json
import threading
from urllib.parse import urlsplit

import numpy as np
import pytest

from transflow.faces import by_hand
from transflow.faces.by_hand import AskByHand, open_browser
from transflow.pictures.turned import Eyes

PIXELS = np.full((200, 400, 3), 80, np.uint8)


class Page:
    """What the page in a browser does."""

    def __init__(self):
        self.there = threading.Event()
        self.address = ""

    def open(self, address):
        self.address = address
        self.there.set()
        return True

    def ask(self, method, path="", body=None, headers=None, base=None):
        assert self.there.wait(10)
        parts = urlsplit(self.address)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        connection.request(method, (parts.path if base is None else base) + path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def answer(self, number, eyes):
        return self.ask("POST", "eyes", json.dumps({"number": number, "eyes": eyes}))[0]


@pytest.fixture
def page():
    return Page()


def in_browser(page, work):
    """Run what the user does beside the program."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_two_clicks_give_the_eyes_and_none_leaves_out(page):
    shown, seen = [], {}

    def user():
        seen["page"] = page.ask("GET")
        seen["state"] = json.loads(page.ask("GET", "state")[1])
        seen["picture"] = page.ask("GET", "picture?1")
        seen["wrong"] = [
            page.answer(*each) for each in ((2, []), (1, [[0, 0]]), (1, [[0, 0], [0, 0]]), (1, [[0, 2], [1, 0]]))
        ]
        seen["broken"] = page.ask("POST", "eyes", b"{")[0]
        page.answer(1, [[0.25, 0.5], [0.5, 0.5]])
        while page.answer(2, []) != 200:
            pass

    with AskByHand(lambda *each: shown.append(each), page.open) as ask:
        in_browser(page, user)
        assert ask("a.png", PIXELS) == [Eyes((100, 100), (200, 100))]
        assert ask("b.png", PIXELS) == []
    assert shown == [(page.address, True)]
    assert seen["page"][0] == seen["picture"][0] == 200
    assert b"Where are the eyes" in seen["page"][1]
    assert b"http" not in seen["page"][1]  # nothing comes from elsewhere
    assert seen["picture"][1].startswith(b"\xff\xd8")
    assert seen["state"]["name"] == "a.png"
    assert set(seen["wrong"]) == {400}
    assert seen["broken"] == 400


def test_nobody_without_the_token_is_answered(page):
    seen = []

    def stranger():
        for path in ("/", "/x/", "/x/picture", "//picture", "/../etc/passwd", "/state"):
            seen.append(page.ask("GET", path, base="")[0])
        seen.append(page.ask("POST", "/x/eyes", b'{"number": 1, "eyes": []}', base="")[0])
        seen.append(page.ask("GET", "picture", headers={"Host": "elsewhere.example:80"})[0])
        seen.append(page.ask("POST", "eyes", b"x" * 20_000)[0])
        page.answer(1, [])

    with AskByHand(lambda *each: None, page.open) as ask:
        in_browser(page, stranger)
        assert ask("a.png", PIXELS) == []
    assert set(seen) <= {400, 404}
    assert len(seen) == 9


def test_where_there_is_no_display_no_browser_is_opened(monkeypatch):
    monkeypatch.setattr(by_hand.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(by_hand.webbrowser, "open", lambda address: pytest.fail("opened"))
    assert not open_browser("http://127.0.0.1:1/")


def test_a_server_is_there_only_while_it_is_asked(page):
    with AskByHand(lambda *each: None, page.open) as ask:
        in_browser(page, lambda: page.answer(1, []))
        ask("a.png", PIXELS)
    with pytest.raises(ConnectionRefusedError):
        page.ask("GET")
