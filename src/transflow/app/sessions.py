"""What one browser session has: sets of pictures, encoded pictures, own models, a folder; and all sessions together.

A session is found by the name that its browser made up, and by nothing else; what it was given lies in a folder of its
own that no address leads to. A set is a value: two windows of one session that change it at the same time leave one of
the two, whole. An idle session is forgotten after an hour, with its folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

from torch import Tensor

from transflow.app import bounds

PREFIX = "transflow-app-"  # of folders of a process, before its number


@dataclass(frozen=True)
class OnePicture:
    """A picture of a set: its name, and its file in the session's folder."""

    name: str
    file: Path


@dataclass(frozen=True)
class PictureSet:
    """Pictures that were given, or a sample set.

    Attributes:
        pictures: files, in the order in which they came.
        sample: kind of a sample set, made for whichever model sees it; "" where there are files.
        left_out: names of pictures that are passed over.
    """

    pictures: tuple[OnePicture, ...] = ()
    sample: str = ""
    left_out: frozenset[str] = frozenset()

    def with_more(self, pictures: tuple[OnePicture, ...]) -> PictureSet:
        """Return a set with more files, in place of a sample set; a name that is there already gets a number."""
        have = () if self.sample else self.pictures
        bounds.check_count(len(pictures), len(have))
        names = {picture.name for picture in have}
        found = list(have)
        for picture in pictures:
            name, number = picture.name, 2
            while name in names:
                name, number = f"{picture.name} ({number})", number + 1
            names.add(name)
            found.append(replace(picture, name=name))
        return PictureSet(tuple(found), "", self.left_out & names)


@dataclass(eq=False)
class Session:
    """What one browser session has.

    Attributes:
        folder: its files, which no address leads to.
        sets: pictures by the panel that they are for.
        models: own model files, by the name they came with.
        stops: for each panel, what stops each piece of its work.
        results: for each panel, what it made last.
        encoding: whether its evidence is being encoded.
        used: when it was last asked for something, in seconds of `time.monotonic`.
    """

    folder: Path
    sets: dict[str, PictureSet] = field(default_factory=dict)
    models: dict[str, Path] = field(default_factory=dict)
    stops: dict[str, WeakSet[threading.Event]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict, repr=False)
    encoding: bool = False
    used: float = field(default_factory=time.monotonic)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _latents: OrderedDict[tuple[str, str], Tensor] = field(default_factory=OrderedDict, repr=False)
    _made: OrderedDict[Any, Any] = field(default_factory=OrderedDict, repr=False)

    def set_of(self, key: str) -> PictureSet:
        """Return the pictures of a panel; an empty set where none were given."""
        return self.sets.get(key, PictureSet())

    def latents(self, model: str, digest: str) -> Tensor | None:
        """Return a picture's latent (D,), if it was encoded by this model."""
        with self.lock:
            return self._latents.get((model, digest))

    def keep_latents(self, model: str, digests: tuple[str, ...], latents: Tensor) -> None:
        """Keep latents (B, D); the oldest go where there is no room."""
        with self.lock:
            for key, row in zip(digests, latents, strict=True):
                self._latents[model, key] = row.clone()
            size = sum(row.numel() * row.element_size() for row in self._latents.values())
            while size > bounds.LATENT_BYTES and len(self._latents) > 1:
                _, row = self._latents.popitem(last=False)
                size -= row.numel() * row.element_size()

    def made(self, key: Any, make: Any, most: int = 8) -> Any:
        """Return what ``make()`` returned for this key before, or does now; so many are kept."""
        with self.lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        value = make()
        with self.lock:
            self._made[key] = value
            while len(self._made) > most:
                self._made.popitem(last=False)
        return value

    def begin(self, panel: str) -> threading.Event:
        """Return the event that stops a new piece of a panel's work; those of others stay as they are."""
        event = threading.Event()
        with self.lock:
            self.stops.setdefault(panel, WeakSet()).add(event)
        return event

    def stop(self, panel: str) -> None:
        """Stop all of a panel's work that has begun, before its next batch."""
        with self.lock:
            events = list(self.stops.get(panel, ()))
        for event in events:
            event.set()


class Sessions:
    """All sessions, by name, in a folder that is this process's own and goes with it.

    Args:
        seconds: after which an idle session, and any file, is deleted.
        most: how many there are at a time.
    """

    def __init__(self, seconds: float = bounds.SECONDS, most: int = bounds.SESSIONS) -> None:
        remove_left_behind()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))  # for this user alone
        self.served = self.folder / "served"  # what the framework uploads into, and serves
        self.served.mkdir()
        self.seconds, self.most = seconds, most
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def of(self, name: str | None) -> Session:
        """Return the session of a name, a new one for a new name.

        Raises:
            ValueError: there is no name.
        """
        if not name:
            raise ValueError("Expected a browser session; got a request without one. Load the page again.")
        with self._lock:
            found = self._sessions.get(name)
            if found is None:
                while len(self._sessions) >= self.most:
                    self._drop(min(self._sessions, key=lambda key: self._sessions[key].used))
                found = Session(Path(tempfile.mkdtemp(prefix="session-", dir=self.folder)))
                self._sessions[name] = found
            found.used = time.monotonic()
            return found

    def drop(self, name: str | None) -> None:
        """Forget a session, with its folder."""
        with self._lock:
            if name in self._sessions:
                self._drop(name)

    def sweep(self, now: float | None = None) -> None:
        """Forget idle sessions, and delete served files that are older than an hour.

        Args:
            now: seconds of `time.monotonic`.
        """
        here = time.monotonic()
        moment = here if now is None else now
        with self._lock:
            for name in [n for n, session in self._sessions.items() if moment - session.used > self.seconds]:
                self._drop(name)
        oldest = time.time() + (moment - here) - self.seconds
        for path in sorted(self.served.rglob("*"), reverse=True):
            with _gone_already():
                if path.is_dir():
                    path.rmdir()  # if it is empty
                elif path.stat().st_mtime < oldest:
                    path.unlink()

    def room(self) -> int:
        """Return how many bytes may still be uploaded, of all sessions together."""
        held = 0
        for path in self.folder.rglob("*"):
            with _gone_already():
                held += path.stat().st_size if path.is_file() else 0
        return bounds.UPLOADED_BYTES - held

    def close(self) -> None:
        """Delete everything."""
        with self._lock:
            self._sessions.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _drop(self, name: str) -> None:
        session = self._sessions.pop(name)
        for panel in list(session.stops):
            session.stop(panel)
        shutil.rmtree(session.folder, ignore_errors=True)


def remove_left_behind() -> None:
    """Delete the folders of servers that were killed, and so could not do it themselves."""
    if os.name == "nt":  # where asking for a process by signal 0 ends it
        return
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        number = path.name.removeprefix(PREFIX).partition("-")[0]
        if number.isdigit() and not _runs(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


@contextmanager
def _gone_already() -> Iterator[None]:
    """Pass over a file that another thread deleted, and a folder that is not empty."""
    with suppress(OSError):
        yield


def sweeper(sessions: Sessions, every: float = 60.0) -> threading.Event:
    """Sweep in a thread of its own until the event that is returned is set."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(every):
            sessions.sweep()

    threading.Thread(target=run, name="transflow-sweep", daemon=True).start()
    return stop
