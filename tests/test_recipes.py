"""The recipes' words are those of `transflow train`, and make configurations that can be trained."""

import pytest

from helpers import RECIPES, called
from transflow.cli.parser import build_parser
from transflow.cli.training import config_of
from transflow.generative.families import FAMILIES

CALLS = {
    "faces-32": ([], 32, "glow"),
    "faces-64": ([], 64, "glow"),
    "faces-128, base": (["base"], 32, "flow-matching"),
    "faces-128, 64": (["64"], 64, "details"),
    "faces-128, 128": (["128"], 128, "details"),
    "pyramid-32, base": (["base"], 16, "glow"),
    "pyramid-32, details": (["details"], 32, "details"),
    "terrain-32, heights": (["heights"], 32, "glow"),
    "terrain-32, pairs": (["pairs"], 64, "glow"),
    **{f"families-32, {name}": ([name], 32, name) for name in FAMILIES if name not in ("pyramid", "details")},
}


@pytest.mark.parametrize("name", CALLS)
def test_a_recipe_is_a_run_of_its_family(name):
    part, size, family = CALLS[name]
    result = called(name, *part, "photos", "identities", "m.safetensors", "--seed", "3")
    assert result.returncode == 0
    options = build_parser().parse_args(result.stdout.split())
    assert (options.pictures, options.groups, options.output) == (["photos"], "identities", "m.safetensors")
    config = config_of(options)
    assert config.architecture.shape == (1 if name.startswith("terrain") else 3, size, size)
    assert (config.family_name, config.held_out, config.seed) == (family, 0.13, 3)


@pytest.mark.parametrize("words", [[], ["photos", "identities"], ["32", "photos", "identities", "m.safetensors"]])
def test_a_recipe_without_its_words_says_what_they_are(words):
    result = called("faces-128", *words)
    assert result.returncode == 2
    assert "PART PHOTOS IDENTITIES OUTPUT" in result.stderr
    assert result.stdout == ""


def test_pictures_without_identities_are_trained_on_without_groups():
    result = called("families-32", "glow", "photos", "-", "m.safetensors")
    assert build_parser().parse_args(result.stdout.split()).groups is None


def test_every_recipe_is_called():
    assert {path.stem for path in RECIPES.glob("*.sh")} - {"train"} == {name.partition(",")[0] for name in CALLS}
