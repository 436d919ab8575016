"""Training: it learns, it goes on after a kill, and it is the same run however often it is stopped."""

import json
import math
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from helpers import CONFIG
from transflow import Model, load, train
from transflow.pictures import decode as data
from transflow.training.data import split
from transflow.training.loop import read_config
from transflow.training.output import held_out_bits


def test_training_learns_and_writes_what_it_says(folder, tmp_path):
    told = []
    model = train(folder, tmp_path / "m.safetensors", CONFIG, report=told.append, card={"data": "blobs"})
    lines = [json.loads(line) for line in (tmp_path / "m.metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["bits_per_dim"] < lines[0]["bits_per_dim"] < 5
    assert told[-1].share == 1
    assert told[-1].precision == model.card["precision"] == read_config(tmp_path / "m.safetensors").precision
    assert not told[-1].compiled
    assert told[-1].bits_per_dim == pytest.approx(5 + told[-1].loss / math.log(2))
    assert isinstance(model, Model)
    assert told[-1].seen == lines[-1]["pictures"]
    assert load(tmp_path / "m.safetensors").fingerprint == model.fingerprint
    assert model.card["data"] == "blobs"
    held_out = split(data.read(folder, (3, 8, 8)), CONFIG, None)[1]
    assert model.card["bits_per_dim"] == pytest.approx(held_out_bits(model.source, held_out))
    assert (tmp_path / "m.samples.png").exists()


def test_a_killed_run_goes_on(folder, tmp_path):
    output = tmp_path / "m.safetensors"
    words = ["train", folder, "-o", output, "--size", 8, "--steps", "2,2", "--width", "8,8", "--batch", 8]
    words += ["--minutes", 60, "--interval", 1e-9, "--no-compile"]
    process = subprocess.Popen([sys.executable, "-m", "transflow", *map(str, words)], stderr=subprocess.DEVNULL)
    metrics = tmp_path / "m.metrics.jsonl"
    try:
        for _ in range(2400):
            if metrics.exists() and len(metrics.read_text().splitlines()) >= 3:
                break
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    before = [json.loads(line) for line in metrics.read_text().splitlines()]
    config = replace(read_config(output), epochs=before[-1]["pictures"] / 11 + 3)
    model = train(folder, output, config, resume=True)
    after = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert after[: len(before) - 1] == before[:-1]
    assert after[-1]["pictures"] > before[-1]["pictures"] + 16
    assert model.card["pictures_seen"] == after[-1]["pictures"]
    assert {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")} == {  # a file that the kill left unmoved
        "pictures",
        "m.safetensors",
        "m.metrics.jsonl",
        "m.samples.png",
        "m.training.safetensors",
    }


def test_a_run_by_epochs_is_the_same_run_however_often_it_is_stopped(folder, tmp_path):
    """Both show each of 11 pictures 4 times, in batches of 8, rounded up; so many steps, and the same weights."""
    config = replace(CONFIG, epochs=4, precision="float32")
    whole = train(folder, tmp_path / "whole.safetensors", config)
    output = tmp_path / "parts.safetensors"
    train(folder, output, config, stop_after=1e-9)
    assert read_config(output) == config
    for _ in range(3):
        train(folder, output, resume=True, stop_after=1e-9)
    parts = train(folder, output, resume=True)
    assert whole.card["pictures_seen"] == parts.card["pictures_seen"] == 48
    assert whole.fingerprint == parts.fingerprint


def test_a_run_goes_on_with_what_it_was_begun_with(folder, tmp_path):
    output = tmp_path / "m.safetensors"
    train(folder, output, CONFIG, stop_after=1e-9)
    before = (tmp_path / "m.training.safetensors").read_bytes()
    other = [replace(CONFIG, batch=4), replace(CONFIG, seed=1), replace(CONFIG, glow=replace(CONFIG.glow, size=16))]
    for config, told in zip(other, ("batch 8.*got 4", "seed 0.*got 1", "size 8.*got 16"), strict=False):
        with pytest.raises(ValueError, match=told):
            train(folder, output, config, resume=True)
    table = tmp_path / "groups.csv"
    table.write_text("file,person\n" + "".join(f"{i:02d}.png,{i // 3}\n" for i in range(12)))
    with pytest.raises(ValueError, match="pictures, and the groups, that the run was begun with"):
        train(folder, output, resume=True, groups=table)
    assert (tmp_path / "m.training.safetensors").read_bytes() == before


def test_a_run_killed_before_its_last_model_was_written_ends_with_it(folder, tmp_path):
    """The state is written before the model; a kill between both leaves an older model, or none."""
    output = tmp_path / "m.safetensors"
    config = replace(CONFIG, epochs=4, precision="float32")
    train(folder, output, config, stop_after=1e-9)
    old = output.read_bytes()
    whole = train(folder, output, resume=True)
    fingerprint = whole.fingerprint
    for before in (old, None):
        output.unlink()
        if before:
            output.write_bytes(before)
        again = train(folder, output, resume=True)
        assert again.fingerprint == fingerprint
        assert again.card["bits_per_dim"] == whole.card["bits_per_dim"]
