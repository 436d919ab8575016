"""Building and loading draw no number of the global generator, in no thread, and seeds give the weights they gave."""

import threading

import pytest
import torch
from torch import nn

from helpers import CONFIG
from transflow import Glow, load
from transflow.own_random import OwnRandom
from transflow.training.state import TrainingState

MODULES = {
    "glow": lambda: Glow(CONFIG.glow),
    "layers": lambda: nn.Sequential(nn.Linear(3, 3), nn.Conv2d(2, 2, 3), nn.Embedding(4, 4), nn.GRU(2, 2)),
    "draws": lambda: nn.ParameterList([torch.rand(3), torch.empty(3).uniform_(), torch.normal(0.0, 1.0, (3,))]),
}


@pytest.mark.parametrize("make", MODULES)
def test_a_seed_gives_the_weights_that_the_global_generator_gave(make):
    before = torch.random.get_rng_state()
    with OwnRandom(3):
        ours = MODULES[make]()
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = MODULES[make]()
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_another_thread_draws_each_number_once(model_file):
    """What it draws beside loads, and beside a run that is begun, is what it draws alone."""
    done = threading.Event()

    def work():
        for _ in range(4):
            load(model_file)
            state = TrainingState(CONFIG, torch.device("cpu"))
            with state.randomness():
                nn.functional.dropout(torch.ones(10), 0.5)
        done.set()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        thread = threading.Thread(target=work)
        thread.start()
        drawn = []
        while not done.is_set():
            drawn.append(torch.rand(1).item())
        thread.join()
        torch.manual_seed(0)
        alone = torch.stack([torch.rand(1) for _ in drawn]).flatten().tolist()
    assert drawn == alone


def test_a_generator_that_is_given_is_used():
    with OwnRandom(0):
        first = torch.rand(2, generator=torch.Generator().manual_seed(5))
    assert torch.equal(first, torch.rand(2, generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("p", [0.3, 0.0])
def test_dropout_is_torchs_own_to_the_bit(p):
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = nn.Dropout(p)(x)
    with OwnRandom(3):
        ours, asleep = nn.Dropout(p)(x), nn.Dropout(p).eval()(x)
    assert torch.equal(ours, theirs)
    assert torch.equal(torch.autograd.grad(ours.sum(), x)[0], torch.autograd.grad(theirs.sum(), x)[0])
    assert torch.equal(asleep, x)
