"""What a session is given is its own, bounded, and gone after an hour."""

import os
import threading
import time

import pytest
import torch

from transflow.app import bounds
from transflow.app.sessions import OnePicture, PictureSet, Sessions


def test_sessions_are_apart_and_found_again(sessions):
    first, other = sessions.of("one"), sessions.of("two")
    first.sets["evidence"] = PictureSet(sample="drawn")
    assert sessions.of("one") is first
    assert not other.set_of("evidence").sample
    assert first.folder != other.folder
    assert not first.folder.is_relative_to(sessions.served)  # so no address leads to it
    with pytest.raises(ValueError, match="Load the page again"):
        sessions.of(None)


def test_the_folder_is_for_this_user_alone(sessions):
    assert sessions.folder.stat().st_mode & 0o077 == 0


def test_an_idle_session_and_old_files_are_deleted(sessions):
    session = sessions.of("idle")
    kept = session.folder / "x.png"
    kept.write_bytes(b"x")
    old, new = sessions.served / "a" / "old.png", sessions.served / "b" / "new.png"
    for path in (old, new):
        path.parent.mkdir()
        path.write_bytes(b"x")
    os.utime(old, (time.time() - bounds.SECONDS - 5,) * 2)
    sessions.sweep()
    assert kept.exists()
    assert new.exists()
    assert not old.exists()
    sessions.sweep()
    assert not old.parent.exists()
    sessions.sweep(time.monotonic() + bounds.SECONDS + 60)
    assert not session.folder.exists()
    assert not new.exists()
    assert not len(sessions)


def test_the_longest_idle_session_makes_room():
    sessions = Sessions(most=2)
    first, _ = sessions.of("one"), sessions.of("two")
    sessions.of("one")
    sessions.of("three")
    assert len(sessions) == 2
    assert sessions.of("one") is first
    sessions.close()
    assert not sessions.folder.exists()


def test_a_forgotten_session_stops_its_work(sessions):
    session = sessions.of("one")
    event = session.begin("way")
    sessions.drop("one")
    assert event.is_set()


def test_latents_are_bounded(session, monkeypatch):
    monkeypatch.setattr(bounds, "LATENT_BYTES", 4 * 10 * 3)
    for i in range(5):
        session.keep_latents("model", (f"{i}",), torch.full((1, 10), float(i)))
    assert [session.latents("model", f"{i}") is not None for i in range(5)] == [False, False, True, True, True]
    assert session.latents("other", "4") is None


def test_a_set_grows_up_to_its_bound_and_names_differ(tmp_path):
    picture = OnePicture("a.png", tmp_path)
    some = PictureSet().with_more((picture, picture))
    assert [one.name for one in some.with_more((picture,)).pictures] == ["a.png", "a.png (2)", "a.png (3)"]
    with pytest.raises(ValueError, match=f"at most {bounds.PICTURES} pictures"):
        some.with_more((picture,) * bounds.PICTURES)
    assert not PictureSet(sample="drawn").with_more((picture,)).sample


def test_two_windows_of_one_session_leave_one_whole_set(session, tmp_path):
    sets = [PictureSet((OnePicture(str(i), tmp_path),) * 5) for i in range(8)]

    def change(some):
        for _ in range(200):
            session.sets["evidence"] = some
            assert len({picture.name for picture in session.set_of("evidence").pictures}) == 1

    threads = [threading.Thread(target=change, args=(some,)) for some in sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.set_of("evidence") in sets


def test_a_stop_is_of_all_that_has_begun_and_not_undone_by_what_begins_later(sessions):
    session = sessions.of("abc")
    encoding, redraw = session.begin("new"), session.begin("new")
    session.stop("new")
    later, elsewhere = session.begin("new"), session.begin("way")
    assert encoding.is_set()
    assert redraw.is_set()
    assert not later.is_set()
    assert not elsewhere.is_set()
