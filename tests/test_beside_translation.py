"""Laws of the methods of benchmarks/beside that translate pictures."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

FOLDER = Path(__file__).parent.parent / "benchmarks" / "beside"


@pytest.fixture
def cyclegan(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import cyclegan

    return cyclegan


@pytest.fixture
def funit(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import funit

    return funit


@pytest.fixture
def task(cyclegan, tmp_path):
    from method import Task

    torch.manual_seed(0)
    some = torch.randint(0, 256, (80, 3, 32, 32), dtype=torch.uint8)
    groups = torch.tensor([[0, 0, 0], [0, 1, 0]]).repeat_interleave(20, 0)
    return Task("hat", some[:5], some[5:9], some[40:], some[9:12], 0, 1e-6, tmp_path, groups, ("hat", "blond", "bald"))


def test_the_cycle_loss_of_inverse_generators_is_zero(cyclegan):
    a, b = torch.rand(2, 4, 3, 32, 32)
    cycle, identity, made_b, made_a = cyclegan.cycle_and_identity(lambda x: 2 * x + 1, lambda x: (x - 1) / 2, a, b)
    assert float(cycle) < 1e-6 < float(identity)
    assert torch.equal(made_b, 2 * a + 1)
    assert torch.equal(made_a, (b - 1) / 2)
    assert float(cyclegan.cycle_and_identity(lambda x: 2 * x, lambda x: x, a, b)[0]) > 0.1


def test_the_pool_keeps_fifty_and_exchanges_half(cyclegan):
    torch.manual_seed(0)
    pool = cyclegan.Pool()
    made = torch.arange(1050.0)[:, None, None, None].expand(-1, 3, 32, 32)
    assert torch.equal(pool.exchange(made[:50]), made[:50])
    out = pool.exchange(made[50:])
    new = (out == made[50:]).flatten(1).all(1)
    assert 400 < int(new.sum()) < 600
    assert pool.pictures.shape == (50, 3, 32, 32)
    seen = torch.cat([out, pool.pictures])[:, 0, 0, 0]
    assert torch.equal(seen.sort().values, made[:, 0, 0, 0])  # each picture is shown or kept, none twice


def test_the_rate_fades_in_the_second_half(cyclegan):
    optimiser = torch.optim.Adam([nn.Parameter(torch.zeros(()))], cyclegan.RATE)
    fading, rates = cyclegan.Fading([optimiser], 4.0), []
    for _ in range(5):
        fading.spend(1.0)
        rates.append(optimiser.param_groups[0]["lr"] / cyclegan.RATE)
    assert rates == [1, 1, 0.5, 0, 0]


def test_adain_gives_the_mean_and_the_deviation_that_are_asked_for(funit):
    h, mean, deviation = 5 * torch.randn(2, 4, 8, 8) + 3, torch.randn(2, 4), torch.rand(2, 4) + 0.1
    out = funit.adain(h, mean, deviation)
    torch.testing.assert_close(out.mean((2, 3)), mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.std((2, 3), correction=0), deviation, atol=1e-5, rtol=1e-4)


def test_the_code_of_a_class_is_the_mean_over_its_pictures(funit):
    torch.manual_seed(0)
    net, x = funit.Translator(4), torch.rand(2, 3, 3, 32, 32)
    each = torch.stack([net.code(x[:, k : k + 1]) for k in range(3)])
    torch.testing.assert_close(net.code(x), each.mean(0))
    assert not torch.allclose(each[0], each[1])


def test_the_judge_answers_for_the_class_that_is_asked(funit):
    torch.manual_seed(0)
    judge, x = funit.Judge(3, 4), torch.rand(2, 3, 32, 32)
    verdicts, features = judge(x, torch.tensor([2, 0]))
    assert (verdicts.shape, features.shape) == ((2, 8, 8), (2, 32))
    torch.testing.assert_close(verdicts[:1], judge(x[:1], torch.tensor([2]))[0])
    assert not torch.allclose(verdicts[:1], judge(x[:1], torch.tensor([0]))[0])


def test_classes_are_equal_rows_that_are_many_enough(funit):
    groups = torch.tensor([[0, 1]] * 3 + [[1, 1]] * 2 + [[0, 0]] * 4)
    assert [c.tolist() for c in funit.classes_of(groups, least=3)] == [[5, 6, 7, 8], [0, 1, 2]]


@pytest.mark.parametrize("name", ["cyclegan", "funit"])
def test_a_step_changes_every_source_and_a_run_that_is_over_is_not_trained_again(name, request, task):
    method = request.getfixturevalue(name).METHODS[0]
    first, again = method.run(task), method.run(task)
    assert first.changes
    assert first.made.shape == task.sources.shape
    assert torch.equal(first.made, again.made)
    assert first.evaluations == again.evaluations > 100


def test_without_classes_funit_says_what_it_needs(funit, task):
    for lacking in (replace(task, groups=task.groups[:0, :0], group_names=()), replace(task, kind="blond")):
        with pytest.raises(ValueError, match=r"Expected groups of two classes or more; got [01]\."):
            funit.run(lacking)
