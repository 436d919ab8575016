"""Folders are listed whole: without litter, however deep, what may not be read by name."""

import os
import subprocess
import sys
import tarfile

import pytest

from transflow.pictures.decode import read
from transflow.pictures.files import LITTER, BadPicture, is_litter
from transflow.pictures.sources import count, files

SHAPE = (3, 8, 8)
FOUND = [
    "@eaDir/00.png/SYNOPHOTO_THUMB_M.jpg", "Icon\r", "ehthumbs.db", ".AppleDouble/00.png", "$RECYCLE.BIN/x.png",
    "lost+found/x.png", "__MACOSX/._00.png", "Thumbs.db", ".DS_Store", "System Volume Information/x.png",
]  # fmt: skip


def test_litter_is_no_picture(folder):
    whole = [file.name for file in files(folder)]
    for name in FOUND:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((folder / "00.png").read_bytes())
    assert [file.name for file in files(folder)] == whole
    assert count(folder) == 12
    assert all(name == name.lower() and is_litter((name,)) for name in LITTER)


def test_latents_go_into_a_folder_of_litter_alone(model, folder, tmp_path):
    (tmp_path / "lat").mkdir()
    (tmp_path / "lat" / ".DS_Store").write_bytes(b"")
    assert len(model.latents(folder, tmp_path / "lat")) == 12


def test_a_folder_that_may_not_be_read_is_named_and_can_be_left_out(folder, monkeypatch):
    (folder / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(BadPicture, match=r"may not be: .*closed"):
        read(folder, SHAPE)
    bad = []
    assert len(read(folder, SHAPE, on_bad=bad.append)) == 12
    assert len(bad) == 1


def test_folders_deeper_than_pythons_stack(folder, tmp_path):
    deep = sys.getrecursionlimit() + 100
    content = (folder / "00.png").read_bytes()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(deep):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with open(os.open("deep.png", os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as file:
        file.write(content)
    os.close(here)
    try:
        assert count(folder) == 13
        assert sum(1 for _ in files(folder)) == 13
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)  # pytest's own cleaning recurses


def test_two_links_to_one_place_come_once(folder, tmp_path):
    (tmp_path / "top").mkdir()
    for name in "ab":
        (tmp_path / "top" / name).symlink_to(folder)
    assert count(tmp_path / "top") == 12


def test_a_file_that_a_tar_has_twice_is_an_error(folder, tmp_path):
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for _ in range(2):
            tar.add(folder / "00.png", "00.png")
    with pytest.raises(BadPicture, match=r"00\.png twice: .*set\.tar"):
        list(files(tmp_path / "set.tar"))


def test_odd_exif_leaves_a_picture_as_it_is(folder, tmp_path, monkeypatch):
    def fail(picture):
        raise ZeroDivisionError

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", fail)
    assert len(read(folder, SHAPE)) == 12
