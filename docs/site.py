"""What the site makes itself, as a hook of MkDocs: the commands from the parser, the Python names from the package.

``mkdocs build`` writes the site, ``mkdocs serve`` shows it (extra ``docs``).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import transflow
from transflow.cli.parser import build_parser

ROOT = Path(__file__).parent.parent
TWINS = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "design.md"}
MORE = (  # beside the public names: what guides speak of
    "transflow.conditioning.edits",
    "transflow.conditioning.operators",
    "transflow.conditioning.completion",
    "transflow.conditioning.distribution",
    "transflow.protocols",
    "transflow.gaussians.noise",
    "transflow.gaussians.learn",
    "transflow.metrics",
)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    made = {"commands.md": commands(), "api.md": api()}
    for source, page in TWINS.items():
        made[page] = inside((ROOT / source).read_text("utf-8"))
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Show what is linked outside of the documentation as a name."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", markdown)


def commands() -> str:
    """The help of every command."""
    parser = build_parser()
    action = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    parts = ["# Commands\n", f"```text\n{parser.format_help()}```\n"]
    for name, command in action.choices.items():
        parts.append(f"## transflow {name}\n\n```text\n{command.format_help()}```\n")
    return "\n".join(parts)


def api() -> str:
    """A directive for each public name, and for the modules that guides speak of."""
    homes = transflow._HOMES
    names = [f"{homes[name]}.{name}" for name in transflow.__all__ if name in homes]
    first = "\n\n".join(f"::: {name}" for name in names)
    return (
        f"# Python\n\nPublic names of `transflow`.\n\n{first}\n\n" + "\n\n".join(f"::: {name}" for name in MORE) + "\n"
    )


def inside(text: str) -> str:
    """A page of the repository's root, with its links as they are from the documentation."""
    return re.sub(r"\]\(docs/([^)]*)\)", r"](\1)", re.sub(r"\]\((?!docs/|http|#)([^)]*)\)", r"](../\1)", text))
