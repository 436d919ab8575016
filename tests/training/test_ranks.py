"""Several processes train as one: the same weights as on the joined batch, one set of files, one word of error."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers import CONFIG
from transflow import train
from transflow.pictures import decode as data
from transflow.store.container import header
from transflow.training.loop import take_step
from transflow.training.losses import BatchLoss
from transflow.training.ranks import Ranks, process_group
from transflow.training.state import TrainingState

STEPS = 10
WORDS = ["--size", "8", "--steps", "2,2", "--width", "8,8", "--no-compile", "--interval", "0.01"]


def torchrun(processes, *words):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), *map(str, words)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def steps(folder, reversible, pause=None):
    """A few steps of a run by the processes there are; pause after so many to save and resume."""
    pixels = data.read(folder, (3, 8, 8)).pixels
    with process_group(torch.device("cpu")) as (ranks, where):
        changes = {"batch": 16, "outliers": 0.01, "epochs": None, "minutes": 1e6, "precision": "float32"}
        run = TrainingState(replace(CONFIG, reversible=reversible, **changes), where)
        run.initialise(pixels)
        loss_of = BatchLoss(run, ranks)
        losses = [take_step(run, pixels, loss_of, ranks) for _ in range(STEPS)]
    return ranks, run, losses


@pytest.mark.parametrize("reversible", [False, True])
def test_two_processes_take_the_steps_of_one(folder, tmp_path, reversible):
    done = torchrun(2, __file__, folder, tmp_path, int(reversible))
    assert done.returncode == 0, done.stderr
    _, run, losses = steps(folder, reversible)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name, weight in run.flow.state_dict().items():
        assert torch.equal(found[0]["flow"][name], found[1]["flow"][name]), name
        torch.testing.assert_close(found[0]["flow"][name], weight, rtol=1e-5, atol=1e-5)
    assert found[0]["losses"] == found[1]["losses"] == pytest.approx(losses, abs=1e-5)


def test_one_set_of_files_and_a_run_resumed_by_another_number_of_processes(folder, tmp_path):
    output = tmp_path / "m.safetensors"
    words = ["-m", "transflow", "train", folder, "-o", output, *WORDS, "--batch", 8, "--minutes", 60]
    done = torchrun(2, *words, "--stop-after", 0.001)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("continue with --resume") == 1
    names = {"m.safetensors", "m.metrics.jsonl", "m.samples.png", "m.training.safetensors", "pictures"}
    assert {path.name for path in tmp_path.iterdir()} == names
    seen = header(tmp_path / "m.training.safetensors")["seen"]
    model = train(folder, output, resume=True, stop_after=0.001)
    assert model.card["pictures_seen"] > seen > 0
    lines = [json.loads(line) for line in (tmp_path / "m.metrics.jsonl").read_text().splitlines()]
    assert [line["pictures"] for line in lines] == [seen, model.card["pictures_seen"]]
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_batch_that_cannot_be_shared_is_refused_once(folder, tmp_path):
    done = torchrun(2, "-m", "transflow", "train", folder, "-o", tmp_path / "m.safetensors", *WORDS, "--batch", 9)
    assert done.returncode != 0
    assert done.stderr.count("transflow: error: Expected a batch that 2 processes can share evenly; got 9.") == 1
    assert done.stderr.count("transflow: error") == 1
    assert "exitcode  : 2 " in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"pictures"}


def test_alone_nothing_is_shared():
    ranks, x = Ranks(), torch.arange(6.0, requires_grad=True)
    assert torch.equal(ranks.share(x), x)
    assert ranks.mean(x) is x
    assert ranks.broadcast(1.5, 2) == [1.5, 2]


if __name__ == "__main__":
    ranks, run, losses = steps(Path(sys.argv[1]), sys.argv[3] == "1")
    torch.save({"flow": run.flow.state_dict(), "losses": losses}, Path(sys.argv[2]) / f"{ranks.rank}.pt")
