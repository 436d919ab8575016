"""The documentation is true to the code: Python runs, command lines parse, options, links and paths exist."""

import argparse
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from transflow.cli.parser import build_parser

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
NOT_OURS = {"--nproc_per_node", "--spec", "--strict"}  # of torchrun, pipx and twine


def blocks(page, language):
    """The code blocks of a page, each with its line number; indented ones too."""
    text = page.read_text()
    for found in re.finditer(rf"^( *)```{language}\n(.*?)^ *```", text, re.M | re.S):
        yield text[: found.start()].count("\n") + 2, re.sub(rf"^{found[1]}", "", found[2], flags=re.M)


def command_lines(page):
    for _, block in blocks(page, "sh"):
        yield from filter(None, (line.split(" #")[0].strip() for line in re.sub(r"\\\n", " ", block).splitlines()))


@pytest.fixture
def workplace(folder, tmp_path, monkeypatch):
    """A folder with the pictures that the pages name."""
    monkeypatch.chdir(tmp_path)
    files = sorted(folder.iterdir())
    for name in ("my-pictures", "many", "more", "some"):
        shutil.copytree(folder, name)
    for name, own in {"support/a": files[:2], "support/b": files[2:4], "query/a": files[4:6]}.items():
        Path(name).mkdir(parents=True)
        for file in own:
            shutil.copy(file, name)


@PAGE
def test_python_runs(page, workplace):
    scope, missing = {"__name__": page.stem}, []
    for line, block in blocks(page, "python"):
        code = compile("\n" * (line - 1) + block, str(page), "exec")
        if "cluster." in block:  # tests/conditioning/test_cluster.py runs these: they start Ray
            continue
        try:
            exec(code, scope)
        except ImportError as error:
            if "pip install" not in str(error) and (error.name or "transflow").split(".")[0] == "transflow":
                raise
            missing.append(f"the block at line {line} needs an extra: {error}")
    if missing:
        pytest.skip("; ".join(missing))


def test_the_python_of_the_readme_is_found():
    assert len(list(blocks(ROOT / "README.md", "python"))) >= 1
    assert len(list(blocks(ROOT / "docs" / "guide.md", "python"))) >= 2


@PAGE
def test_python_stands_in_blocks_that_run(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    assert not re.search(r"^    (from \S+ import|import \S+$)", text, re.M)


@PAGE
def test_command_lines_parse(page):
    for line in command_lines(page):
        for part in line.split("&&"):
            words = shlex.split(part)
            words = words[words.index("-m") + 1 :] if words[0] == "torchrun" else words
            if words[0] == "transflow" and words[1] not in ("--help", "--version"):
                build_parser().parse_args(words[1:])
            elif words[0] == "python" and words[1] != "-m":
                text = (ROOT / words[1]).read_text()
                assert all(f'"{word}"' in text for word in words[2:] if re.match(r"-\w|--", word)), line
            elif "/" in words[0]:
                assert (ROOT / words[0]).is_file(), line


def test_the_guide_has_a_line_for_every_command():
    shown = {
        name for line in command_lines(ROOT / "docs" / "guide.md") for name in re.findall(r"\btransflow (\w+)", line)
    }
    assert shown >= set(commands())


def commands():
    (table,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return table.choices


@PAGE
def test_options_exist(page):
    known = {option for parser in commands().values() for option in parser._option_string_actions} | NOT_OURS
    scripts = "".join(path.read_text() for path in [*ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("docs/*.py")])
    text = re.sub(r"```sh.*?```", "", page.read_text(), flags=re.S)  # those are parsed
    for option in re.findall(r"(?<![\w-])--[a-z][a-z_-]+", text):
        assert option in known or f'"{option}"' in scripts, option


@PAGE
def test_links_and_paths_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in target or (page.parent / target).exists(), target
    for path in re.findall(r"\b((?:src|tests|benchmarks|docs|recipes)/[\w./-]+\.\w+)", text):
        assert (ROOT / path).exists(), path


@PAGE
def test_extras_exist(page):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for names in re.findall(r"pip install [^`\n]*\[([\w,]+)\]", page.read_text()):
        assert set(names.split(",")) <= extras.keys(), names


def test_a_page_with_a_fault_is_found(tmp_path, workplace):
    """These tests can fail."""
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nassert 1 == 2\n```\n```sh\ntransflow paint x\n```\n`--nonsense` [x](nowhere.md)\n"
        "`pip install '.[more]'`"
    )
    with pytest.raises(AssertionError):
        test_python_runs(page, workplace)
    with pytest.raises(SystemExit):
        test_command_lines_parse(page)
    with pytest.raises(AssertionError):
        test_options_exist(page)
    with pytest.raises(AssertionError):
        test_links_and_paths_exist(page)
    with pytest.raises(AssertionError):
        test_extras_exist(page)
