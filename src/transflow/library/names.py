"""What a model is called: a bundled name, a file, another package's name, a prefix, or Python code.

    faces-32                       comes with the package
    models/mine.safetensors        a file of ours, or a folder with a model.safetensors
    hf://user/repo                 on the Hugging Face hub (see `store.hub`)
    diffusers:FOLDER-OR-HUB-ID     a saved pipeline (see `adapters.diffusers`)
    checkpoint:FILE                other people's weights (see `adapters.checkpoints`)
    NAME                           of the entry points "transflow.models" of installed packages
    my_module:my_model             an attribute of a module, which is imported, and so run, from where one stands

A file that names its model never runs Python code for it: that is done only for a name that somebody gives.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from importlib import import_module
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from transflow.store.files import PathLike, at_home
from transflow.store.hub import FILE, download, is_hub_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

DEFAULT = "faces-32"  # the model of commands where none is given: fast, and with likelihoods
SHOWN = "faces-128"  # the model of the demo
FOLDER = Path(__file__).parent.parent / "bundled"
SMALLER = {"faces-64": ("faces-128", 64)}  # the same file, stopped at a lower level
GROUP = "transflow.models"  # of entry points
PREFIXES = {"diffusers": "transflow.adapters.diffusers", "checkpoint": "transflow.adapters.checkpoints"}
CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def bundled() -> dict[str, Path]:
    """Return the files of the models that come with the package, by name."""
    found = {path.stem: path for path in FOLDER.glob("*.safetensors")}
    found |= {name: found[whole] for name, (whole, _) in SMALLER.items() if whole in found}
    return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))


def registered() -> dict[str, EntryPoint]:
    """Return the models of other installed packages, by name, not yet loaded."""
    from importlib.metadata import entry_points  # takes a while to load, and --help does without

    return {point.name: point for point in entry_points(group=GROUP)}


def find_file(name_or_file: PathLike) -> Path:
    """Return the file of a bundled model's name, or of a path.

    Raises:
        FileNotFoundError: it is neither.
    """
    known = bundled()
    if str(name_or_file) in known:
        return known[str(name_or_file)]
    if is_hub_name(name_or_file):
        return download(str(name_or_file))
    path = Path(at_home(name_or_file))
    if path.is_file():
        return path
    if (path / FILE).is_file():
        return path / FILE
    raise FileNotFoundError(
        f"Expected a model: {', '.join(known) or 'none is bundled'}, a .safetensors file, hf://user/repo, "
        f"diffusers:FOLDER-OR-ID, checkpoint:FILE or module:attribute; got: {name_or_file}"
    )


def split_prefix(name: PathLike) -> tuple[str, str] | None:
    """Return the adapter's module and the rest of a name such as "diffusers:folder"; None for other names.

    >>> split_prefix("diffusers:google/ddpm-celebahq-256")
    ('transflow.adapters.diffusers', 'google/ddpm-celebahq-256')
    """
    prefix, colon, rest = str(name).partition(":")
    if not colon or prefix not in PREFIXES:
        return None
    if not rest:
        raise ValueError(f"Expected a file, a folder or an id after {prefix}:; got nothing.")
    return PREFIXES[prefix], str(at_home(rest))


def places_of(name: str, path: PathLike) -> list[str]:
    """Return where the model that a file names is, the likeliest first; none where it is nowhere.

    That is where its name says; from the folder of the file, where its name says; and beside the file. So a folder that
    holds both may be moved, and opened from anywhere; which of several it is, fingerprints say.

    Args:
        name: of the model, as the file has it; with its prefix, if any, which the places have, too.
        path: the file.
    """
    rest = split_prefix(name)
    prefix, place = ("", name) if rest is None else (f"{name.partition(':')[0]}:", rest[1])
    folder = Path(at_home(path)).absolute().parent
    tried = [Path(place), folder / place, folder / PureWindowsPath(place).name]  # whose parts / and \\ separate
    there = {os.path.realpath(one): str(one) for one in reversed(tried) if one.name and one.exists()}
    return [prefix + one for one in reversed(there.values())]


def is_code(name: PathLike) -> bool:
    """Return whether a name is one that runs Python code: ``module:attribute``, or another package's."""
    text = str(name)
    return split_prefix(text) is None and (CODE.fullmatch(text) is not None or text in registered())


def import_object(name: str) -> Any:
    """Return what ``module:attribute`` or an entry point names; the module is run.

    Modules are looked for in the current folder first. A function is called, without arguments.

    Raises:
        ImportError: the module cannot be imported, or has not the attribute; the message says which.
        TypeError: it is a class, or a function that needs arguments.
        ValueError: the function failed.
    """
    points = registered()
    module, _, attribute = (points[name].value if name in points else name).partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found: Any = import_module(module)
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise ImportError(f"Expected a Python module to import; got {module} ({kind}{error}).") from error
    finally:
        if here in sys.path:
            sys.path.remove(here)
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = (
                sorted(name for name in vars(found) if not name.startswith("_")) if hasattr(found, "__dict__") else []
            )
            which = f"{module} ({file})" if (file := getattr(found, "__file__", None)) else module
            raise ImportError(f"Expected a model in {which}; got no {part}. It has: {', '.join(public) or 'nothing'}.")
        found = getattr(found, part)
    if isinstance(found, type):
        raise TypeError(f"Expected a model at {name}; got the class {found.__name__}. Name an instance of it.")
    return _called(found, name) if inspect.isfunction(found) or inspect.ismethod(found) else found


def _called(function: Any, name: str) -> Any:
    """What a user's function returns; what it raises beside bad input, as one line."""
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        raise TypeError(f"Expected a model, or a function without arguments; got one that needs some: {name}") from None
    try:
        return function()
    except (ValueError, TypeError, OSError, ImportError):
        raise
    except (Exception, SystemExit) as error:
        raise ValueError(f"Expected {name} to return a model; got {type(error).__name__}: {error}.") from error
