"""Models by name: those that come with the package, and files."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "bundled"
DEFAULT = "faces-32"  # the bundled model that commands and the demo use where none is given


def bundled() -> dict[str, Path]:
    """Return the models that come with the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def find_file(name_or_file: str | os.PathLike[str]) -> Path:
    """Return the file of a bundled model's name, or of a path.

    Raises:
        FileNotFoundError: it is neither.
    """
    known = bundled()
    if str(name_or_file) in known:
        return known[str(name_or_file)]
    path = Path(name_or_file)
    if path.is_file():
        return path
    raise FileNotFoundError(
        f"Expected a model: {', '.join(known) or 'none is bundled'}, or a .safetensors file; got: {name_or_file}"
    )
