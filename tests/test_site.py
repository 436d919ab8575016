"""The site builds without a warning, from the parser and the docstrings as they are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from transflow import __all__ as names
from transflow.cli.parser import COMMANDS

ROOT = Path(__file__).parent.parent
pytest.importorskip("mkdocstrings")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    found = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", folder],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    return folder


def test_every_command_and_every_public_name_has_its_place(site):
    commands = (site / "commands.html").read_text()
    assert all(f'id="transflow-{name}"' in commands for name in COMMANDS)
    api = (site / "api.html").read_text()
    assert all(f".{name}" in api for name in names if not name.startswith("_"))


def test_every_page_of_the_documentation_is_in_the_menu(site):
    menu = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"{page.name}\n" in menu, page.name


def test_nothing_comes_from_elsewhere(site):
    for page in site.rglob("*.html"):
        outside = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)"', page.read_text())
        assert not outside, (page.name, outside)
