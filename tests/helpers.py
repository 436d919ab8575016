"""What several tests share: a run of a few steps, modules whose parameters are not those they start with, recipes."""

import subprocess
from pathlib import Path

import torch

from transflow import GlowConfig, TrainConfig, train

CONFIG = TrainConfig(  # 11 pictures, 28 steps, each with a checkpoint
    glow=GlowConfig(size=8, steps=(2, 2), width=(8, 8)), epochs=20, batch=8, warmup=10, interval=1e-9, compile=False
)
RECIPES = Path(__file__).parent.parent / "recipes"


def shaken(make, dtype=torch.float32, by=0.1):
    """A module whose parameters are not those it starts with."""
    torch.manual_seed(0)
    module = make().to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += by * torch.randn_like(parameter)
    return module


def whole_and_stopped(folder, tmp_path, config):
    """The models of a run of 48 pictures, and of the same run, stopped three times: one to the bit."""
    whole = train(folder, tmp_path / "whole.safetensors", config)
    output = tmp_path / "parts.safetensors"
    train(folder, output, config, stop_after=1e-9)
    for _ in range(2):
        torch.manual_seed(7)  # what is drawn globally is no part of a run
        train(folder, output, resume=True, stop_after=1e-9)
    parts = train(folder, output, resume=True)
    assert whole.card["pictures_seen"] == parts.card["pictures_seen"] == 48
    assert whole.fingerprint == parts.fingerprint
    return whole, parts


def called(name, *words):
    """Run a recipe, with `echo` in place of `transflow`: its result has the words that it would give."""
    script = RECIPES / f"{name.partition(',')[0]}.sh"
    environment = {"TRANSFLOW": "echo", "PATH": "/usr/bin:/bin"}
    return subprocess.run(["sh", script, *words], capture_output=True, text=True, env=environment)
