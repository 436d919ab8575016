"""Adam takes torch's own steps, to the bit, and needs neither torch's compiler nor a folder for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from transflow.training.adam import Adam

SETTINGS = {"epochs": "2", "size": "8", "steps": "1,1", "width": "4,4", "batch": "8"}
NOWHERE = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/dev/null/none']; "  # even for root
COMMAND = (
    NOWHERE + "import sys; sys.modules['dill'] = None; from transflow.cli import main; status = main(sys.argv[1:]); "
)
UNUSED = "assert 'torch._dynamo' not in sys.modules; "


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_steps_are_those_of_torch(decay):
    def weights():
        generator = torch.Generator().manual_seed(0)
        shapes, dtypes = [(4, 3, 3, 3), (7,), ()], [torch.float32, torch.float64, torch.float32]
        made = [torch.randn(s, generator=generator).to(d) for s, d in zip(shapes, dtypes, strict=True)]
        made[0] = made[0].contiguous(memory_format=torch.channels_last)
        return [nn.Parameter(w) for w in [*made, torch.ones(2)]]

    ours, theirs = weights(), weights()
    own = Adam(ours, decay)
    adam = torch.optim.AdamW if decay else torch.optim.Adam
    reference = adam(theirs, 1.0, betas=(0.9, 0.99), weight_decay=decay, fused=True)
    for step in range(8):
        rate = 0.01 * (step + 1)
        reference.param_groups[0]["lr"] = rate
        for some in (ours, theirs):
            for i, w in enumerate(some[:-1]):  # the last never has a gradient, the first not at once
                w.grad = None if i == 0 and step < 2 else (w * w.abs() + step).detach().clone()
        own.step(rate)
        reference.step()
        if step == 4:  # as a run that is resumed
            held, own = own.moments, Adam(ours, decay)
            own.load(held)
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(ours[0], weights()[0])
    own.clear()
    assert all(w.grad is None for w in ours)


@pytest.mark.parametrize(
    "moments",
    [
        {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2)}},
        {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(3)}},
        {1: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}},
        {0: {"step": torch.zeros(1), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}},
    ],
)
def test_moments_that_do_not_fit_are_refused(moments):
    own = Adam([nn.Parameter(torch.zeros(2))])
    with pytest.raises(ValueError, match=r"fit no weight|are missing"):
        own.load(moments)
    assert not own.moments


def train(folder, output, *more, check=""):
    """Run the command where no temporary folder can be written."""
    options = [part for name, value in SETTINGS.items() for part in (f"--{name}", value)]
    arguments = ["train", str(folder), "-o", str(output), *options, *more]
    source = str(Path(__file__).parents[2] / "src")
    return subprocess.run(
        [sys.executable, "-c", COMMAND + check + "sys.exit(status)", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source, "TORCHINDUCTOR_CACHE_DIR": "/dev/null/none"},
        timeout=300,
    )


def test_without_the_compiler_no_temporary_folder_is_needed(folder, tmp_path):
    found = train(folder, tmp_path / "m.safetensors", "--no-compile", check=UNUSED)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "m.safetensors").is_file()


def test_with_it_a_missing_one_is_named_in_one_line(folder, tmp_path):
    found = train(folder, tmp_path / "m.safetensors")
    assert found.returncode == 2
    assert "TMPDIR" in found.stderr
    assert "--no-compile" in found.stderr
    assert "Traceback" not in found.stderr
