"""The state of a run: it resumes to the bit, steps over what is not finite, and averages statistics too."""

import pytest
import torch

from helpers import CONFIG
from transflow.pictures import decode as data
from transflow.training.data import draw_batch
from transflow.training.state import TrainingState


def test_a_resumed_run_is_the_run_that_was_not_stopped(folder, tmp_path):
    """Ten steps and ten more from the file equal twenty, to the bit."""
    pixels = data.read(folder, (3, 8, 8)).pixels

    def steps(run, n):
        for _ in range(n):
            z, log_det = run.flow(draw_batch(pixels, run))
            run.update((z.square().sum(1) / 2 - log_det).mean())
            run.seen += CONFIG.batch
        return run

    begun = TrainingState(CONFIG, torch.device("cpu"))
    begun.bind(pixels)
    begun.initialise(pixels)
    steps(begun, 10).save(tmp_path / "t.safetensors")
    whole = steps(begun, 10)
    resumed = steps(TrainingState.resume(tmp_path / "t.safetensors", CONFIG, torch.device("cpu")), 10)
    assert 0.5 < resumed.progress == whole.progress < 1  # where the learning rate falls
    for a, b in ((whole.flow, resumed.flow), (whole.average, resumed.average)):
        for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            assert torch.equal(x, y), name


def test_steps_that_are_not_finite_are_skipped_and_counted(pixels):
    run = TrainingState(CONFIG, torch.device("cpu"))
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
