"""The class of a picture by its sub-folder, at any depth."""

from pathlib import Path

import pytest

from transflow.pictures.labels import labels_among, labels_of, subfolder


def test_the_first_folder_below_is_the_class():
    assert subfolder("birds", "birds/robin/1.png") == "robin"
    assert subfolder(Path("/a/birds"), "/a/birds/robin/2019/may/1.png") == "robin"
    assert subfolder("birds", "birds/1.png") is None
    assert labels_of("birds", ["birds/robin/1.png", "birds/wren/x/2.png"]) == ["robin", "wren"]


def test_a_picture_in_no_sub_folder_is_named():
    with pytest.raises(ValueError, match=r"birds/1\.png"):
        labels_of("birds", ["birds/robin/1.png", "birds/1.png"])


def test_labels_are_known_only_if_all_are():
    names = ["birds/robin/1.png", "birds/wren/2.png"]
    assert labels_among("birds", names, ("wren", "robin")) == ["robin", "wren"]
    assert labels_among("birds", names, ("robin",)) is None
    assert labels_among("birds", [*names, "birds/3.png"], ("wren", "robin")) is None
