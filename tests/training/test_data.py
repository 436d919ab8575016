"""What a step is shown: every picture once an epoch, groups held out whole."""

from dataclasses import replace

import pytest
import torch

from helpers import CONFIG
from transflow.pictures import decode as data
from transflow.training.data import draw_batch, read_groups, split
from transflow.training.state import TrainingState


def test_groups_are_held_out_whole(folder, tmp_path):
    read = data.read(folder, (3, 8, 8))
    path = tmp_path / "groups.csv"
    path.write_text("file,person\n" + "".join(f"{i:02d}.png,{i // 3}\n" for i in range(12)))
    table = read_groups(path)
    training, held_out = split(read, replace(CONFIG, held_out=0.25), table)
    assert (len(training), len(held_out)) == (9, 3)
    where = [i for i in range(12) if any(torch.equal(read.pixels[i], h) for h in held_out)]
    assert len({i // 3 for i in where}) == 1
    with pytest.raises(ValueError, match=r"got none for 01\.png"):
        split(read, CONFIG, {"00.png": "1"})
    path.write_text("00.png,1\n00.png,2\n")
    with pytest.raises(ValueError, match="in one group"):
        read_groups(path)


def test_every_picture_is_shown_once_an_epoch(folder):
    pixels = torch.arange(12, dtype=torch.uint8).mul(8)[:, None, None, None].expand(12, 3, 8, 8)
    run = TrainingState(replace(CONFIG, flip=False), torch.device("cpu"))
    shown = []
    for _ in range(3):
        shown += ((draw_batch(pixels, run)[:, 0, 0, 0] + 0.5) * 32).floor().int().tolist()
        run.seen += 8
    assert sorted(shown[:12]) == sorted(shown[12:]) == list(range(12))
    assert shown[:12] != shown[12:]
