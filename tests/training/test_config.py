"""Settings of a run: what makes no sense is refused, old names and files go on, a run keeps to what it began with."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import CONFIG
from transflow import Glow, GlowConfig, TrainConfig, train
from transflow.generative import families
from transflow.generative.families import Family
from transflow.generative.real_nvp import RealNVPConfig
from transflow.generative.tarflow import TarFlowConfig
from transflow.generative.vae import VaeConfig
from transflow.generative.wae import WaeConfig
from transflow.store import container
from transflow.training import state
from transflow.training.config import check_resumable, from_header, to_header
from transflow.training.ranks import Ranks

OLD = Path(__file__).parent.parent / "fixtures" / "0.1.0"


@dataclass(frozen=True)
class OtherConfig:
    size: int = 8

    @property
    def shape(self):
        return 3, self.size, self.size


@pytest.fixture
def other(monkeypatch):
    """A second family, whose loss is no likelihood."""
    family = Family(OtherConfig, torch.nn.Module, likelihood=False)
    monkeypatch.setitem(families.FAMILIES, "other", family)
    return family


def test_settings_that_make_no_sense_are_refused(other):
    with pytest.raises(ValueError, match="weight of outliers of 0 or more"):
        replace(CONFIG, outliers=-1.0)
    with pytest.raises(ValueError, match="batches of 8 or more with outliers; got 4"):
        replace(CONFIG, outliers=0.01, batch=4)
    with pytest.raises(ValueError, match="no outliers for other"):
        replace(CONFIG, outliers=0.01, model=OtherConfig())
    with pytest.raises(ValueError, match="compute its activations back; got other"):
        replace(CONFIG, reversible=True, model=OtherConfig())
    with pytest.raises(TypeError, match=r"configuration of a family \(GlowConfig, .*OtherConfig\); got int"):
        _ = replace(CONFIG, model=3).family_name


def test_a_run_that_would_not_learn_all_or_sees_too_few_together_is_refused():
    with pytest.raises(ValueError, match="leaves the variance of latents of a flow of shifts alone"):
        TrainConfig.of(TarFlowConfig(scaled=False))
    with pytest.raises(ValueError, match="leaves the labels of a flow of classes as it is"):
        TrainConfig.of(TarFlowConfig(classes=2))
    for architecture in (WaeConfig(), RealNVPConfig()):
        with pytest.raises(ValueError, match=r"batches of 2 or more for .*; got 1"):
            TrainConfig.of(architecture, batch=1)
    assert TrainConfig.of(VaeConfig(), batch=1).batch == 1
    Ranks(0, 2).check_enough(4, 2)
    with pytest.raises(ValueError, match="batches of 4 or more of 2 processes; got 2"):
        Ranks(0, 2).check_enough(2, 2)


def test_the_former_name_of_outliers_goes_on_with_a_note():
    with pytest.warns(DeprecationWarning, match="outliers"):
        assert TrainConfig(strange=0.01) == TrainConfig(outliers=0.01)
    with pytest.warns(DeprecationWarning, match="outliers"):
        assert replace(TrainConfig(outliers=0.5), strange=0.01).outliers == 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert replace(TrainConfig(outliers=0.5), batch=16).outliers == 0.5


def test_the_architecture_is_the_model_or_else_the_glow(other):
    assert CONFIG.architecture is CONFIG.glow
    assert CONFIG.family is families.FAMILIES["glow"]
    changed = replace(CONFIG, model=OtherConfig(16))
    assert changed.architecture == OtherConfig(16)
    assert changed.family is other
    assert replace(CONFIG, glow=GlowConfig(size=64)).architecture.size == 64


def test_a_config_is_what_a_header_of_it_says(other):
    numbers = replace(CONFIG, minutes=np.float64(2), seed=int(np.int64(3)), batch=int(torch.tensor(16)))
    second = replace(CONFIG, glow=GlowConfig(), model=OtherConfig(16))
    for config in (CONFIG, numbers, second, replace(CONFIG, outliers=0.1)):
        assert from_header(to_header(config), "x") == config
    with pytest.raises(ValueError, match="the family tomorrow, made by a newer transflow"):
        from_header(to_header(CONFIG) | {"family": "tomorrow"}, "x")
    header = to_header(CONFIG)
    with pytest.raises(ValueError, match="the option speed, made by a newer transflow"):
        from_header(header | {"config": header["config"] | {"speed": 1}}, "x")


def test_a_run_keeps_to_its_family(other):
    with pytest.raises(ValueError, match="Expected family glow, as the run was begun with; got other"):
        check_resumable(CONFIG, replace(CONFIG, model=OtherConfig()))
    with pytest.raises(ValueError, match="Expected size 8, as the run was begun with; got 16"):
        check_resumable(replace(CONFIG, model=OtherConfig()), replace(CONFIG, model=OtherConfig(16)))
    check_resumable(CONFIG, replace(CONFIG, minutes=2.0, outliers=0.1, precision="bfloat16", reversible=True))


def test_a_run_begun_by_0_1_goes_on(tmp_path):
    """Its settings are those of the file, by their names of today, and so are its counters."""
    path = tmp_path / "m.training.safetensors"
    path.write_bytes((OLD / "training.safetensors").read_bytes())
    config = state.read_config(path)
    glow = GlowConfig(size=8, steps=(1,), width=(4,))
    changes = {"epochs": 40, "batch": 8, "warmup": 10, "outliers": 0.01, "compile": False, "seed": 3}
    assert config == TrainConfig(glow=glow, **changes)
    before = container.header(path, state.SCHEMA)
    model = train(OLD / "pictures", tmp_path / "m.safetensors", resume=True)
    assert model.card["pictures_seen"] == 120 > before["seen"] == 8
    assert model.card["precision"] == before["card"]["precision"] == state.read_config(path).precision
    assert isinstance(model.source.flow, Glow)
