"""One process writes an output; a dead one's lock does not block, and what it left is removed."""

import os
import subprocess
import sys
import threading

import pytest

from transflow.store.files import write_bytes
from transflow.store.locks import locked

HOLD = "import sys; from transflow.store.locks import Lock; lock = Lock(sys.argv[1]); print(flush=True); input()"


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of m.bin."""
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "m.bin"], stdin=-1, stdout=-1) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_the_second_is_told_in_one_line(other, tmp_path):
    with pytest.raises(BlockingIOError, match=r"nobody else is writing.*m\.bin"), locked(tmp_path / "m.bin"):
        pass
    with locked(tmp_path / "other.bin"):
        assert (tmp_path / ".m.bin.lock").exists()
    other.kill()
    other.wait()
    with locked(tmp_path / "m.bin"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_is_taken_again_in_its_thread_and_in_no_other(tmp_path):
    refused = []

    def try_it():
        try:
            with locked(tmp_path / "m.bin"):
                pass
        except BlockingIOError:
            refused.append(True)

    with locked(tmp_path / "m.bin"), locked(tmp_path / "m.bin"):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert refused == [True]
    assert not list(tmp_path.iterdir())
    try_it()
    assert refused == [True]


KILLED = """
import os, sys
from transflow.store import files
os.replace = lambda *_: os.kill(os.getpid(), 9)
files.write_bytes(sys.argv[1], b"new")
"""


def test_a_killed_write_leaves_the_old_file_and_its_part_goes_with_the_next_lock(tmp_path):
    target = tmp_path / "m.bin"
    write_bytes(target, b"old")
    assert subprocess.run([sys.executable, "-c", KILLED, target], check=False).returncode == -9
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".m.bin.mine").write_bytes(b"")
    with locked(tmp_path / "n.bin"):
        assert len(list(tmp_path.glob(".m.*"))) == 2
    with locked(target):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"m.bin", ".m.bin.mine"}


def test_a_file_system_without_locks_does_without(tmp_path, monkeypatch):
    def refuse(self):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("filelock.FileLock.acquire", lambda self: refuse(self))
    with locked(tmp_path / "m.bin"):
        pass


def test_a_write_is_on_the_disk_before_it_is_moved(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("os.fsync", lambda handle: done.append("fsync"))
    replace = os.replace
    monkeypatch.setattr("os.replace", lambda *paths: (done.append("replace"), replace(*paths)))
    write_bytes(tmp_path / "m.bin", b"new")
    assert done == ["fsync", "replace", "fsync"]


def test_modes_are_kept_and_a_system_without_them_is_no_failure(tmp_path, monkeypatch):
    target = tmp_path / "m.bin"
    before = os.umask(0o027)
    try:
        write_bytes(target, b"old")
        assert target.stat().st_mode & 0o777 == 0o640
        target.chmod(0o600)
        write_bytes(target, b"new")
        assert target.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.chmod", refuse)
    write_bytes(target, b"newer")
    assert target.read_bytes() == b"newer"
    monkeypatch.undo()
    target.chmod(0o400)
    with pytest.raises(OSError, match="read-only"):
        write_bytes(target, b"newest")


def test_a_name_as_long_as_a_file_system_takes(tmp_path):
    target = tmp_path / ("m" * 251 + ".bin")
    with locked(target):
        write_bytes(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_long_names_that_begin_alike_have_locks_of_their_own(tmp_path):
    first, second = (tmp_path / f"{'m' * 60}-{end}.bin" for end in "ab")
    refused = []

    def hold():
        try:
            with locked(second):
                write_bytes(second, b"b")
        except BlockingIOError:
            refused.append(True)

    with locked(first):
        thread = threading.Thread(target=hold)
        thread.start()
        thread.join()
    assert not refused
    assert [path.name for path in tmp_path.iterdir()] == [second.name]


def test_only_parts_of_its_own_are_removed(tmp_path):
    mine, theirs, yours = ".m.0123456789ab.part", ".m.bin.0123456789ab.part", ".notes.part"
    for name in (mine, theirs, yours):
        (tmp_path / name).write_bytes(b"")
    with locked(tmp_path / "m"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {theirs, yours}
    with locked(tmp_path):  # a folder whose outputs it holds
        pass
    assert {path.name for path in tmp_path.iterdir()} == {yours}
