"""What benchmarks/beside shares: a training that was stopped is the one that was not; one that breaks up says so."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

HERE = Path(__file__).parent.parent / "benchmarks"
PLACES = [str(HERE / "beside"), str(HERE)]
METHOD = """
import torch
from method import Method, Result, trained

def run(task):
    losses = {losses}
    trained(task, "t", lambda i: losses[i % len(losses)], {{}}, steps=40)
    return Result(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), False, 1.0, 0.5, 3.0, 0.0)

METHODS = (Method("{name}", "nobody", run, "nothing", frozenset()),)
"""


@pytest.fixture(scope="module")
def modules():
    for extra in ("sklearn", "scipy"):
        pytest.importorskip(extra)
    sys.path[:0] = PLACES
    names = ("method", "work", "latent_constraints", "neural_style", "kinds", "cases", "report", "tables", "flow")
    yield {name: import_module(name) for name in names}
    del sys.path[: len(PLACES)]
    for name in names:
        sys.modules.pop(name)


@pytest.fixture
def method(modules):
    return modules["method"]


def task_of(method, folder, seed=0, minutes=1.0):
    none = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    return method.Task("hat", none, none, none, none, seed, minutes, folder)


def training(method, task, steps, minutes=math.inf):
    """A network whose inputs are drawn at random; its weights after so many steps."""
    torch.manual_seed(task.seed)
    network = nn.Linear(3, 1)
    optimiser = torch.optim.Adam(network.parameters(), 0.1)

    def step(_):
        loss = (network(torch.randn(4, 3)) - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    done = method.trained(task, "t", step, {"network": network, "optimiser": optimiser}, minutes, steps)
    return network.weight.detach(), done


def test_a_training_that_was_stopped_is_the_one_that_was_not(method, tmp_path):
    whole, done = training(method, task_of(method, tmp_path / "a"), 10)
    part, _ = training(method, task_of(method, tmp_path / "b"), 4)
    again, resumed = training(method, task_of(method, tmp_path / "b"), 10)
    assert torch.equal(whole, again)
    assert not torch.equal(whole, part)
    assert done.steps == resumed.steps == 10


def test_minutes_are_those_of_all_runs_together(method, tmp_path):
    task = task_of(method, tmp_path, minutes=1e-4)
    _, first = training(method, task, math.inf)
    _, second = training(method, task, math.inf)
    assert first.seconds >= 6e-3
    assert second == first
    _, more = training(method, replace(task, minutes=1.0), first.steps + 1)
    assert more.steps == first.steps + 1


@pytest.mark.parametrize("lost", [9, 10])
def test_ten_losses_that_are_not_finite_are_a_divergence_and_nine_are_not(method, tmp_path, lost):
    losses = [1.0, *lost * [math.nan], 1.0, *lost * [math.inf], 1.0]
    task = task_of(method, tmp_path)
    if lost == 9:
        assert method.trained(task, "t", losses.__getitem__, {}, steps=len(losses)).steps == len(losses)
    else:
        with pytest.raises(method.Diverged, match="up to step 11"):
            method.trained(task, "t", losses.__getitem__, {}, steps=len(losses))


@pytest.mark.parametrize(("losses", "diverges"), [([1.0], False), ([float("nan")], True)])
def test_a_method_that_diverges_gives_its_reason_as_its_result(modules, tmp_path, monkeypatch, losses, diverges):
    work, name = modules["work"], f"fake_{diverges}"
    (tmp_path / f"{name}.py").write_text(METHOD.format(name=name, losses=repr(losses).replace("nan", "float('nan')")))
    monkeypatch.syspath_prepend(str(tmp_path))
    given = vars(task_of(modules["method"], tmp_path)) | {"group_names": []}
    work.whole(tmp_path / "task.pt", {k: v for k, v in given.items() if k not in ("minutes", "folder")})
    content = work.run_method(name, name, tmp_path / "task.pt", tmp_path / "made", 1.0)
    work.whole(tmp_path / "result.pt", content)
    result = work.result_of(work.read(tmp_path / "result.pt"))
    assert (result is None) == diverges
    assert ("not finite" in content.get("diverged", "")) == diverges


def test_pictures_as_floats_and_back(method):
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(method.unsigned(method.signed(x)), x)
    odd = torch.tensor([[math.nan, math.inf, -5.0]])
    assert method.unsigned(odd).tolist() == [[0, 255, 0]]


def test_a_method_has_what_is_asked_of_methods(method):
    with pytest.raises(ValueError, match="got beauty"):
        method.Method("a", "b", lambda task: None, "c", frozenset({"beauty"}))


@pytest.mark.parametrize(
    ("minutes", "said"), [(5, "tuned 10 min, 24 (here 5 min)"), (10, "tuned 10 min, 24"), (30, "tuned 10 min, 24")]
)
def test_a_method_that_had_less_than_its_name_says_is_said_to(modules, minutes, said):
    assert modules["report"].cut_short("tuned 10 min, 24", minutes) == said


def test_latents_that_stay_where_they_are_cost_nothing_but_the_critic(modules, monkeypatch):
    lc = modules["latent_constraints"]
    monkeypatch.setattr(lc, "PENALTY", 0.1)  # for six numbers, not three thousand
    torch.manual_seed(0)
    z, critic = torch.randn(5, 6), lc.layers(6, 1, 8)
    assert lc.penalty(z, z).tolist() == 5 * [0.0]
    assert torch.allclose(lc.cost(critic, z, z), -critic(z)[:, 0].sigmoid().log())
    moved = lc.moved(critic, z, moves=50, rate=0.05)
    assert (lc.cost(critic, moved, z) < lc.cost(critic, z, z)).all()
    alone = torch.cat([lc.moved(critic, row[None], moves=50, rate=0.05) for row in z])
    assert torch.allclose(moved, alone, atol=1e-5)  # each by itself


def test_a_style_is_what_features_have_wherever_they_are(modules):
    style = modules["neural_style"]
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    mixed = x.flatten(2)[:, :, torch.randperm(20, generator=torch.Generator().manual_seed(1))].view_as(x)
    assert torch.allclose(style.gram(x), style.gram(mixed), atol=1e-6)
    assert not torch.equal(x, mixed)
    brute = torch.einsum("nchw,ndhw->ncd", x, x) / 20
    assert torch.allclose(style.gram(x), brute, atol=1e-6)
    assert style.relative(x, x).tolist() == [0.0, 0.0]
    assert torch.allclose(style.relative(torch.zeros_like(x), x), torch.ones(2))


@pytest.mark.parametrize("n", [60, 600])
def test_nobody_who_judges_is_trained_on(modules, n):
    kinds, cases = modules["kinds"], modules["cases"]
    rng = np.random.default_rng(0)
    people, others = rng.integers(0, n // 2, n), rng.integers(0, n, n)
    pixels = torch.zeros(n, 1, 1, 1, dtype=torch.uint8)
    kind = kinds.Kind("hat", pixels, people, np.ones(n, bool), pixels, others)
    drawn = kinds.draw(kind, 8, 0, 100)
    more, free = cases.training_rows(kind, drawn)
    assert drawn.apart == (n == 600) == (len(more) > 0)
    assert not set(people[more]) & {*people[drawn.judges], *people[drawn.evidence]}
    assert not set(others[free]) & set(people[drawn.judges])
    assert len(free)
    if drawn.apart:
        kept = {*people[more], *people[drawn.judges], *people[drawn.evidence]}
        assert kept == set(people)


def test_what_is_kept_of_pictures(modules):
    cases = modules["cases"]
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    assert cases.kept(x, x) == 0.0
    assert cases.found(x, x) == 1.0
    assert cases.found(x, x.roll(1, 0)) == 0.0
    others = sum((x - x.roll(i, 0)).norm(dim=1).mean() for i in range(1, 6)) / 5  # every other picture once
    assert cases.kept(x, x.roll(1, 0)) == pytest.approx(float((x - x.roll(1, 0)).norm(dim=1).mean() / others))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CycleGAN, all there are", "CycleGAN, all"),
        ("latent constraints, gradient, up to 500 pictures", "latent constraints, gradient, all"),
        ("fine-tuned 10 min, 24 pictures", "fine-tuned, 5 min"),
        ("fine-tuned 1 min, 24 pictures", "fine-tuned, 1 min"),
        ("the kind itself", "*the kind itself*"),
    ],
)
def test_rows_of_the_page_are_named_shortly(modules, name, said):
    assert modules["tables"].label(name, 5.0) == said


def test_tables_of_the_page_have_what_was_measured_and_no_more(modules):
    tables = modules["tables"]
    own = {"kind": "hat", "seed": 0, "method": "the kind itself", "kernel": 4.4, "share": 0.9}
    new = {"kind": "hat", "seed": 0, "method": "a, 24 pictures", "pictures": 24, "kernel": -0.4, "share": 0.5}
    new |= {"copies, features": -0.004, "changes": False}
    moved = new | {"method": "b, 24 pictures", "changes": True, "identity": 0.5, "kernel": 1234.5, "count": 40}
    moved |= {"first": 9.0}
    lost = {"kind": "hat", "seed": 0, "method": "c, 24 pictures", "diverged": "ten losses"}
    look, copying, kept = tables.kind_tables([new, own, moved, lost], 5.0, 100).split("\n\n")
    assert look.split("\n") == [
        "| | pictures | kernel | share |",
        "|---|---|---|---|",
        "| *the kind itself* | | 4 | 90 |",
        "| a | 24 | 0 | 50 |",
        "| b (40 of 100 pictures) | 24 | 1,234 | 50 |",
        "| c (diverged) | | | |",
    ]
    assert copying.split("\n")[2:4] == ["| *the kind itself* | |", "| a | 0 |"]
    assert kept.split("\n")[2:] == ["| b (40 of 100 pictures) | 1,234 | 0.50 |"]


def test_a_row_of_fewer_pictures_than_were_asked_for_says_so(modules):
    line = {"kind": "hat", "method": "a", "first": 1.0}
    lines = [line | {"seed": seed, "count": made} for seed, made in enumerate((100, 40, 8))]
    printed = modules["report"].printed(lines, {}, 5.0, 100)
    assert "hat: a (8 of 100 pictures)" in printed
    compared = {"kind": "hat", "method": "the kind itself", "seed": 0, "count": 17}  # with as many judges
    assert "pictures)" not in modules["report"].printed([lines[0], compared], {}, 5.0, 100)


def test_a_sheet_has_what_was_made_before_of_other_methods(modules, tmp_path, monkeypatch):
    flow, drawn = modules["flow"], []
    options = argparse.Namespace(folder=tmp_path, minutes=5.0, count=2, only=["neural_style"], large=False)
    run = flow.Run(options)
    none = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    result = vars(modules["method"].Result(none, True, 1.0, 0.5, 3.0, 0.0))
    modules["work"].whole(run.place("hat", 0) / "task.pt", {"evidence": none, "sources": none})
    for name in ("transflow, 24 pictures", "neural style, 24 pictures"):
        modules["work"].whole(run.place("hat", 0, name) / "result.pt", result)
    monkeypatch.setattr(modules["report"], "sheet", lambda *arguments: drawn.extend(arguments[-1]))
    run.sheet("hat", 0)
    assert list(run.methods) == ["neural style, 24 pictures"]
    assert drawn == ["transflow, 24 pictures", "neural style, 24 pictures"]


def test_what_several_draws_gave_is_a_mean_and_a_spread(modules):
    lines = [{"kind": "hat", "seed": i, "method": "a, 24 pictures", "spread": value} for i, value in enumerate((1, 5))]
    lines += [{"kind": "coat", "seed": 0, "method": "a, 24 pictures", "spread": 7}]
    lines += [{"kind": "hat", "seed": 0, "method": "slow, 24 pictures", "spread": 7}]
    lines += [lines[0] | {"kind": "coat", "seed": 1}, {**lines[0], "kind": "coat", "seed": 2, "diverged": "torn"}]
    del lines[-1]["spread"]
    table = modules["tables"].draws(lines, 5.0, "spread")
    assert table.split("\n") == [
        "| | hat | coat |",
        "|---|---|---|",
        "| a | 3.00 ± 2.83 | 4.00 ± 4.24 (diverged: seed 2) |",
    ]
    assert modules["tables"].draws(lines[:1], 5.0, "spread") == ""


def test_files_of_other_minutes_and_lines_twice_are_refused(modules, tmp_path, monkeypatch, capsys):
    line = {"kind": "hat", "seed": 0, "method": "a, 24 pictures", "kernel": 1.0}
    content = {"minutes": 5, "count": 48, "methods": {}, "lines": [line]}
    for name, more in {"one": {}, "again": {}, "long": {"minutes": 30, "lines": []}}.items():
        (tmp_path / name).write_text(json.dumps(content | more))
    for names, said in ((["one"], "| a | 1 |"), (["one", "again"], "twice"), (["one", "long"], "same minutes")):
        monkeypatch.setattr(sys, "argv", ["tables.py", *(str(tmp_path / name) for name in names)])
        if len(names) == 1:
            assert modules["tables"].main() == 0
        else:
            with pytest.raises(SystemExit, match="2"):
                modules["tables"].main()
        assert said in "".join(capsys.readouterr())


def test_costs_are_means_over_kinds(modules):
    line = {"method": "a, 24 pictures", "first": 1.0, "each": 0.5, "evaluations": 1000, "gigabytes": 0.25}
    methods = {"a, 24 pictures": {"tune": "little", "has": ["classes", "removal"]}}
    table = modules["tables"].cost_table([line, line | {"first": 2.0}, {"method": "faces-32"}], methods, 5.0)
    assert table.split("\n")[2:] == ["| a | 1.5 | 0.500 | 1,000 | 0.25 | little | classes, removal |"]
