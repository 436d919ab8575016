"""Which folders are classes, and whose truth is known, is said before the work."""

import shutil
from pathlib import Path

import pytest

from transflow.cli import main
from transflow.pictures.labels import check_classes, why_no_truth


@pytest.fixture
def classify(folders, model_file, capsys, monkeypatch):
    monkeypatch.chdir(folders)

    def call(*more, support="support", query="query"):
        status = main(["classify", support, query, "-m", str(model_file), "-o", "p.csv", *more])
        return status, *capsys.readouterr()

    return call


def stray(folders):
    shutil.copy(next((folders / "query" / "dark").iterdir()), folders / "query" / "stray.png")
    return "stray.png is in no sub-folder"


def other(folders):
    shutil.copytree(folders / "query" / "dark", folders / "query" / "owl")
    return "owl is no class of the evidence"


@pytest.mark.parametrize("change", [stray, other])
def test_why_the_accuracy_is_left_out_is_said_before_the_work(folders, classify, change):
    words = change(folders)
    assert words in why_no_truth("query", ["dark", "light"])
    status, out, err = classify("--confusion", "c.png")
    assert (status, out, words in err, Path("p.csv").exists()) == (2, "", True, False)
    status, out, err = classify()
    assert (status, "nearest" in out) == (0, False)
    assert f"note: the accuracy is left out, since {words}" in err


def test_litter_and_an_empty_folder_in_the_query_change_nothing(folders, classify):
    (folders / "query" / ".DS_Store").write_bytes(b"")
    (folders / "query" / "empty").mkdir()
    status, out, err = classify("--confusion", "c.png")
    assert (status, "nearest" in out, err) == (0, True, "")


def test_a_query_without_classes_has_no_confusion(folders, classify):
    status, out, err = classify("--confusion", "c.png", query="query/dark")
    assert (status, out, "no folder of a class" in err) == (2, "", True)


def empty(folders):
    (folders / "support" / "owl").mkdir()
    return "empty folder, owl"


def linked(folders):
    (folders / "support" / "owl").symlink_to(folders / "support" / "dark")
    return "one for two, dark and owl"


def parts(folders):
    (folders / "support" / "dark").rename(folders / "support" / "train")
    (folders / "support" / "light").rename(folders / "support" / "test")
    return "parts of a set, test, train"


@pytest.mark.parametrize("change", [empty, linked, parts])
def test_folders_that_are_no_classes_are_refused(folders, classify, change):
    words = change(folders)
    with pytest.raises(ValueError, match=words):
        check_classes("support")
    status, out, err = classify()
    assert (status, out, words in err) == (2, "", True)


def test_a_name_that_begins_as_a_formula_does_is_text_in_the_table(folders, classify):
    for path in sorted((folders / "query" / "dark").iterdir())[:1]:
        path.rename(folders / "=1+1.png")
    assert classify(query="=1+1.png")[0] == 0
    assert Path("p.csv").read_text().splitlines()[1].startswith("'=1+1.png,")
