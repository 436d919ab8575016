"""Foreign objects are known by the names of their classes."""

import subprocess
import sys
from importlib import import_module

import pytest
import torch
from torch import distributions as td
from torch import nn

from transflow.adapters.recognise import REFUSED, TABLE, recognise


def fake(*path):
    """An object of a class of a library's name, made from other such classes, though the library may be absent."""
    bases = ()
    for name in reversed(path):
        package, kind = name.split(".")
        bases = (type(kind, bases, {"__module__": f"{package}.somewhere.inside"}),)
    return bases[0]()


@pytest.mark.parametrize(("name", "adapter"), TABLE)
def test_each_row_leads_to_a_module_with_adapt(name, adapter):
    module = recognise(fake(name))
    assert module is import_module(f"transflow.adapters.{adapter}")
    assert callable(module.adapt)
    assert recognise(fake("mine.Model", name)) is module  # a subclass of the user's
    assert recognise(fake("other." + name.split(".")[1])) is None


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_with_its_name(name):
    with pytest.raises(ValueError, match=f"got a {name.split('.')[1]}: .*give|wrap"):
        recognise(fake(name))


def test_the_first_row_wins():
    assert recognise(fake("zuko.NormalizingFlow", "torch.Distribution")).__name__.endswith(".zuko")
    with pytest.raises(ValueError, match="FlowMixture"):
        recognise(fake("torchflows.FlowMixture", "torchflows.BaseFlow"))
    with pytest.raises(ValueError, match="Mixture"):
        recognise(fake("zuko.Mixture", "torch.Distribution"))


def test_distributions_without_transforms_are_refused_and_modules_are_unknown():
    with pytest.raises(ValueError, match="got a Normal"):
        recognise(td.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="got a Joint"):
        recognise(fake("zuko.Joint", "zuko.LazyDistribution"))
    assert recognise(nn.Linear(2, 2)) is None
    assert recognise(lambda x: x) is None
    distribution = td.TransformedDistribution(td.Normal(torch.zeros(4), 1.0), [td.transforms.SigmoidTransform()])
    assert recognise(distribution).__name__.endswith("torch_distributions")


def base_and_no_layers(library):
    return library.NormalizingFlow(library.distributions.DiagGaussian(4), [])


def one_coupling(library):
    return library.Flow(import_module("torchflows.bijections.finite.autoregressive.architectures").NICE((4,)))


REAL = {
    "zuko": ("zuko.flows", lambda library: library.MAF(4), "zuko"),
    "zuko mixture": ("zuko.flows", lambda library: library.GMM(4), None),
    "normflows": ("normflows", base_and_no_layers, "normflows"),
    "nflows": ("nflows.flows", lambda library: library.MaskedAutoregressiveFlow(4, 4, 1, 1), "nflows"),
    "FrEIA": ("FrEIA.framework", lambda library: library.SequenceINN(4), "freia"),
    "torchflows": ("torchflows.flows", one_coupling, "torchflows"),
}


@pytest.mark.parametrize("name", REAL)
def test_objects_of_the_libraries_themselves(name):
    module, make, adapter = REAL[name]
    validates = td.Distribution._validate_args
    library = pytest.importorskip(module, exc_type=ImportError)
    td.Distribution._validate_args = validates
    if adapter is None:
        with pytest.raises(ValueError, match="mixture"):
            recognise(make(library))
    else:
        assert recognise(make(library)).__name__ == f"transflow.adapters.{adapter}"


def test_nothing_is_imported_for_a_look():
    """Least of all zuko, which switches the argument checks of torch.distributions off."""
    code = (
        "import sys, torch\n"
        "import transflow.adapters.zuko\n"
        "from transflow.adapters.recognise import recognise\n"
        "before = set(sys.modules); recognise(torch.nn.Linear(1, 1)); recognise('x')\n"
        "assert set(sys.modules) == before, set(sys.modules) - before\n"
        "assert 'zuko' not in sys.modules and torch.distributions.Distribution._validate_args"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
