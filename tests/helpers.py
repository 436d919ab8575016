"""What several tests share: a run of a few steps, and modules whose parameters are not those they start with."""

import torch

from transflow import GlowConfig, TrainConfig

CONFIG = TrainConfig(  # 11 pictures, 28 steps, each with a checkpoint
    glow=GlowConfig(size=8, steps=(2, 2), width=(8, 8)), epochs=20, batch=8, warmup=10, interval=1e-9, compile=False
)


def shaken(make, dtype=torch.float32, by=0.1):
    """A module whose parameters are not those it starts with."""
    torch.manual_seed(0)
    module = make().to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += by * torch.randn_like(parameter)
    return module
