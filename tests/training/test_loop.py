"""Training: it learns, it goes on after a kill, and it steps over what is not finite."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from helpers import CONFIG
from transflow import GlowConfig, load, train
from transflow.pictures import decode as data
from transflow.training.loop import held_out_bits, read_groups, settings, split
from transflow.training.state import Run


def test_training_learns_and_writes_what_it_says(folder, tmp_path):
    told = []
    model = train(folder, tmp_path / "m.safetensors", CONFIG, report=told.append, card={"data": "blobs"})
    lines = [json.loads(line) for line in (tmp_path / "m.metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["bits_per_dim"] < lines[0]["bits_per_dim"] < 5
    assert told[-1].share == 1
    assert told[-1].seen == lines[-1]["pictures"]
    assert load(tmp_path / "m.safetensors").fingerprint == model.fingerprint
    assert model.card["data"] == "blobs"
    held_out = split(data.read(folder, (3, 8, 8)), CONFIG, None)[1]
    assert model.card["bits_per_dim"] == pytest.approx(held_out_bits(model, held_out))
    assert (tmp_path / "m.samples.png").exists()


def test_a_resumed_run_is_the_run_that_was_not_stopped(folder, tmp_path):
    """Ten steps and ten more from the file equal twenty, to the bit."""
    pixels = data.read(folder, (3, 8, 8)).pixels

    def steps(run, n):
        for _ in range(n):
            z, log_det = run.flow(run.batch(pixels))
            run.update((z.square().sum(1) / 2 - log_det).mean())
            run.seen += CONFIG.batch
        return run

    begun = Run(CONFIG, torch.device("cpu"))
    begun.take(pixels)
    begun.start(pixels)
    steps(begun, 10).save(tmp_path / "t.safetensors")
    whole = steps(begun, 10)
    resumed = steps(Run.resume(tmp_path / "t.safetensors", CONFIG, torch.device("cpu")), 10)
    assert 0.5 < resumed.share == whole.share < 1  # where the learning rate falls
    for a, b in ((whole.flow, resumed.flow), (whole.average, resumed.average)):
        for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            assert torch.equal(x, y), name


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
    config = replace(settings(output), epochs=before[-1]["pictures"] / 11 + 3)
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
    assert settings(output) == config
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


def test_steps_that_are_not_finite_are_skipped_and_counted(pixels):
    run = Run(CONFIG, torch.device("cpu"))
    before = {k: v.clone() for k, v in run.flow.state_dict().items()}
    p = next(run.flow.parameters())
    assert not run.update(p.sum() * float("nan"))
    assert not run.update((p * 0).sqrt().sum())  # a finite loss whose gradient is not
    assert run.skipped == 2
    assert all(torch.equal(v, before[k]) for k, v in run.flow.state_dict().items())
    assert run.update(p.square().sum())
    assert run.skipped_in_a_row == 0
    run.skipped_in_a_row = 49
    with pytest.raises(FloatingPointError, match="in a row"):
        run.update(p.sum() * float("nan"))


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


def test_a_run_is_apart_from_its_pictures_and_names_what_it_leaves_out(folder, tmp_path):
    with pytest.raises(ValueError, match="apart from what is read"):
        train(folder, folder / "m.safetensors", CONFIG)
    with pytest.raises(ValueError, match="apart from what is read"):
        train([folder, tmp_path / "m.samples.png"], tmp_path / "m.safetensors", CONFIG)
    (folder / "bad.png").write_bytes(b"")
    told = []
    train(folder, tmp_path / "m.safetensors", CONFIG, on_bad=told.append, stop_after=1e-9)
    assert len(told) == 1
    assert "bad.png" in told[0]


def test_every_picture_is_shown_once_an_epoch(folder):
    pixels = torch.arange(12, dtype=torch.uint8).mul(8)[:, None, None, None].expand(12, 3, 8, 8)
    run = Run(replace(CONFIG, flip=False), torch.device("cpu"))
    shown = []
    for _ in range(3):
        shown += ((run.batch(pixels)[:, 0, 0, 0] + 0.5) * 32).floor().int().tolist()
        run.seen += 8
    assert sorted(shown[:12]) == sorted(shown[12:]) == list(range(12))
    assert shown[:12] != shown[12:]


def test_held_out_bits_are_those_of_the_uniform_density():
    """A flow that is the identity has the bits of a standard normal over the unit cube."""
    from transflow import Glow
    from transflow.generative.picture_model import PictureModel
    from transflow.pictures.pixels import PixelFormat

    flow = Glow(GlowConfig(size=8, steps=(0,), width=(4,)))
    x = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8)
    bits = held_out_bits(PictureModel(flow.requires_grad_(False), PixelFormat(5)), x)
    expected = 5 + (0.5 * torch.log(torch.tensor(2 * torch.pi)) + 1 / 24) / torch.log(torch.tensor(2.0))
    assert bits == pytest.approx(expected.item(), rel=2e-3)


def test_a_run_that_can_go_on_is_not_overwritten(folder, tmp_path):
    (tmp_path / "m.training.safetensors").write_bytes(b"hours of work")
    with pytest.raises(FileExistsError, match="--resume"):
        train(folder, tmp_path / "m.safetensors", CONFIG)
    assert (tmp_path / "m.training.safetensors").read_bytes() == b"hours of work"
