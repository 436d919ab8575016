"""Foreign modules: known by name, copied, described."""

from functools import partial

import torch
from torch import nn

from transflow.adapters.modules import find, fingerprint, is_a, place, still


class Scale(nn.Module):
    """With an option that is no weight, a state that is no option, and things that are neither."""

    def __init__(self, factor=2.0, function=None):
        super().__init__()
        self.factor = factor
        self.first_training_batch_pass = True
        self.bounds = [(0, 1), (0.5, float("inf"))]
        self.function = function
        self.cache = torch.zeros(3)
        self.weight = nn.Parameter(torch.ones(3))


def print_of(module, **options):
    return fingerprint("test", module, options)


def test_classes_are_known_by_top_package_and_name():
    layer = nn.LeakyReLU()
    assert is_a(layer, "torch.LeakyReLU")
    assert is_a(layer, "torch.Module")
    assert not is_a(layer, "torch.ReLU")
    assert not is_a(layer, "nn.LeakyReLU")
    net = nn.Sequential(nn.ReLU(), nn.Sequential(layer))
    assert find(net, "torch.LeakyReLU") == [("1.0", layer)]


def test_a_copy_is_still_and_the_original_is_not_touched():
    net = nn.Sequential(nn.Dropout(), nn.Linear(3, 3)).half()
    copied = still(net)
    assert net.training
    assert net[1].weight.requires_grad
    assert net[1].weight.dtype == torch.float16
    assert not any(layer.training for layer in copied.modules())
    assert not copied[1].weight.requires_grad
    assert copied[1].weight.dtype == torch.float32
    assert place(still(net, double=True)).dtype == torch.float64
    assert place(nn.ReLU()).dtype == torch.float32


def test_the_fingerprint_has_weights_and_options_and_no_state():
    first = print_of(Scale())
    assert first == print_of(Scale())
    assert first == print_of(Scale().double())
    assert first != print_of(Scale(3.0))
    assert first != print_of(Scale(), pixels=8)
    assert print_of(Scale(function=partial(max, 1))) != print_of(Scale(function=partial(max, 2)))
    later = Scale().eval()
    later.first_training_batch_pass = False
    later.cache = torch.ones(3)
    assert print_of(later) == first
    assert print_of(nn.LeakyReLU(0.1)) != print_of(nn.LeakyReLU(0.2))
    assert print_of(nn.Sequential(nn.ReLU())) != print_of(nn.Sequential(nn.Tanh()))


def test_heads_and_functions_count():
    def attention(heads):
        torch.manual_seed(0)
        return nn.MultiheadAttention(8, heads)

    assert print_of(attention(2)) == print_of(attention(2)) != print_of(attention(4))
    assert print_of(Scale(function=torch.nn.functional.relu)) != print_of(Scale(function=torch.nn.functional.gelu))
    assert print_of(Scale(function=first_of)) != print_of(Scale(function=second_of))


def first_of(x):
    return x


def second_of(x):
    return -x


def test_contexts_count():
    one, two = (fingerprint("test", Scale(), {}, context=torch.full((2,), value)) for value in (1.0, 2.0))
    assert len({one, two, fingerprint("test", Scale(), {}, context=None)}) == 3
