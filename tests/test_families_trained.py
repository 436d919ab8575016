"""The benchmark of families calls recipes: a pyramid in two parts, digits in grey and not mirrored, budgets shared."""

import sys
from pathlib import Path

import pytest

from helpers import called
from transflow.cli.parser import build_parser
from transflow.cli.training import config_of
from transflow.generative.families import FAMILIES as ALL

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

from families_trained import FAMILIES, recipe  # noqa: E402


@pytest.fixture
def calls(tmp_path):
    """Calls of ten minutes, in a folder in which the digits are there already."""
    (tmp_path / "mnist-32.tar").touch()
    return lambda family, kind: recipe(family, kind, Path("data"), tmp_path, 10, 3)


def options_of(call):
    """What a call gives to `transflow train`: the recipe is run, with another command in its place."""
    assert Path(call[0]).is_file()
    result = called(Path(call[0]).stem, *call[1:])
    assert (result.returncode, result.stderr) == (0, "")
    return build_parser().parse_args(result.stdout.split())


@pytest.mark.parametrize("kind", ["faces", "digits"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_calls_of_a_family_are_runs_of_it_on_its_pictures(family, kind, calls, tmp_path):
    pyramid, digits = family == "pyramid", kind == "digits"
    found = [options_of(call) for call in calls(family, kind)]
    assert len(found) == (2 if pyramid else 1)
    assert sum(options.minutes for options in found) == pytest.approx(10, rel=1e-4)
    given = (str(tmp_path / "mnist-32.tar"), None) if digits else ("data/faces-64.tar", "data/faces-64.csv")
    for options in found:
        assert ((options.pictures[0], options.groups), options.seed) == (given, 3)
        assert (options.grey, options.flip) == ((True, False) if digits else (False, None))
    configs = [config_of(options) for options in found]
    assert [config.family_name for config in configs] == (["glow", "details"] if pyramid else [family])
    shapes = [config.architecture.shape for config in configs]
    channels = 1 if digits else 3
    assert shapes == ([(channels, 16, 16)] if pyramid else []) + [(channels, 32, 32)]


def test_a_pyramid_s_parts_have_files_of_their_own_and_two_thirds_of_the_time_is_the_base_s(calls, tmp_path):
    base, details = calls("pyramid", "digits")
    assert (base[1], details[1]) == ("base", "details")
    assert base[4] == str(tmp_path / "pyramid-digits-base.safetensors")
    assert details[4] == str(tmp_path / "pyramid-digits-details.safetensors")
    assert float(base[base.index("--minutes") + 1]) == pytest.approx(20 / 3, rel=1e-4)
    outputs = [call[4] for family in FAMILIES for kind in ("faces", "digits") for call in calls(family, kind)]
    assert len(set(outputs)) == len(outputs) == 2 * (len(FAMILIES) + 1)


def test_every_family_but_a_part_has_a_row():
    assert set(FAMILIES) == set(ALL) - {"details"}
