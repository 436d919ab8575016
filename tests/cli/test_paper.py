"""``transflow paper``: which figures, and what is refused in one line before anything is written."""

import pytest


@pytest.mark.parametrize("names", [",", "figure-2,", "figure-2,,gaussians", " "])
def test_a_list_with_an_empty_name(run, tmp_path, names):
    status, out, err = run("paper", "--only", names)
    assert status
    assert not out
    assert "Expected" in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("work/*"))


def test_names_are_given_as_people_write_lists(run, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, _ = run("paper", "--only", "gaussians, figure-2", "--evidence", "2", "-o", "out")
    assert not status
    assert "(seed 0)" in out
    assert sorted(path.name for path in (tmp_path / "work" / "out").iterdir()) == [
        "figure-2.png", "gaussians.png", "index.html",
    ]  # fmt: skip


def test_a_folder_of_one_picture(run, tmp_path, folder):
    (tmp_path / "one").mkdir()
    first = next(path for path in folder.iterdir() if path.is_file())
    (tmp_path / "one" / first.name).write_bytes(first.read_bytes())
    status, _, err = run("paper", "--own", tmp_path / "one", "--only", "figure-5")
    assert status
    assert "Expected two or more pictures; got 1" in err
    assert not list(tmp_path.glob("work/*"))
