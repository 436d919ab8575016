"""The price of training: a model fine-tuned on the evidence for some time of one processor."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import torch
from torch import Tensor

from transflow import Model, TrainConfig
from transflow.training.losses import BatchLoss
from transflow.training.loop import take_step
from transflow.training.ranks import Ranks
from transflow.training.state import TrainingState


def fine_tuned(model: Model, pictures: Tensor, seconds: float, seed: int, rate: float = 1e-4) -> Model:
    """Return a model of the house trained on with pictures (m, C, H, W), uint8, for seconds of the processor.

    Adam from the trained weights, all pictures in each step, mirrored at random, with a moving average, as the
    project's training goes; the rate falls in the second half of the time.
    """
    source = model.source
    config = TrainConfig(
        model=source.flow.config,
        bits=source.bits,
        batch=min(24, len(pictures)),
        learning_rate=rate,
        warmup=10,
        ema=0.98,
        minutes=seconds / 60,
        precision="float32",
        compile=False,
        seed=seed,
    )
    state = TrainingState(config, torch.device("cpu"))
    state.flow.load_state_dict(source.flow.state_dict())
    state.average.load_state_dict(source.flow.state_dict())
    state.bind(pictures)
    ranks = Ranks()
    loss_of = BatchLoss(state, ranks)
    begun = time.process_time()
    while state.progress < 1:
        take_step(state, pictures, loss_of, ranks)
        state.seconds = time.process_time() - begun
    print(f"{state.step} steps in {state.seconds:.0f} s of the processor", flush=True)
    return replace(model, source=replace(source, flow=copy.deepcopy(state.average)), name=f"{model.name}, tuned")
