"""One place decides how progress is shown: nothing is drawn over in a log, a line a minute is written there."""

import io
import sys

import pytest

from transflow.cli import progress
from transflow.cli.progress import Progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(progress.time, "monotonic", found)
    return found


def test_a_log_has_a_line_a_minute(clock, capsys):
    with Progress(1000) as shown:
        for _ in range(300):  # five minutes
            clock.now += 1.0
            shown.update(2)
    err = capsys.readouterr().err
    assert "\r" not in err
    assert err.splitlines() == [f"transflow: {120 * i} of 1000 pictures, 2 pictures/s" for i in (1, 2, 3, 4, 5)]


def test_a_log_of_a_share_ends_with_its_last_state(clock, capsys):
    with Progress(100.0, "%") as shown:
        for i in range(90):
            clock.now += 1.0
            shown.update(0.5, f"step {i}")
    assert capsys.readouterr().err.splitlines() == ["transflow: 30% step 59", "transflow: 45% step 89"]


def test_work_without_a_known_total_is_counted(clock, capsys):
    with Progress(None) as shown:
        clock.now = 61.0
        shown.update(61 * 20)
    assert capsys.readouterr().err == "transflow: 1220 pictures, 20 pictures/s\n"


def test_a_terminal_has_a_bar(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress(100.0, "%") as shown:
        shown.update(50.0, "half")
        shown.update(50.0, "whole")
    assert "\r" in screen.getvalue()
    assert "100%" in screen.getvalue()


def test_no_other_file_makes_a_bar():
    from pathlib import Path

    import transflow

    home = Path(transflow.__file__).parent
    users = [str(p.relative_to(home)) for p in home.rglob("*.py") if "import tqdm" in p.read_text()]
    assert users == ["cli/progress.py"]
