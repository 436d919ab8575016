"""The rules of the house that a machine can hold: who may import whom, where the outside world is let in.

``python tests/test_structure.py`` writes the table of rooms into CONTRIBUTING.md.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "transflow"
ROOMS = (  # each may import from those before it
    "_version", "plain_values", "own_random", "devices", "metrics", "gaussians", "fewshot", "store", "pictures",
    "faces", "protocols", "checks", "generative", "adapters", "base_model", "latents", "conditioning", "library",
    "training", "estimators", "showcase", "app", "cli",
)  # fmt: skip
DOORS = {"__init__", "__main__", "cluster"}  # public names by their old paths; nothing imports them
APART = {
    "gaussians": {"plain_values"},
    "fewshot": {"gaussians", "plain_values"},
}  # these know no pictures and no models
WORLDS = {
    "PIL": ["pictures"], "safetensors": ["store"], "argparse": ["cli"], "tqdm": ["cli"], "sklearn": ["estimators"],
    "filelock": ["store"], "huggingface_hub": ["store/hub"],
    "dlib": ["faces"], "mediapipe": ["faces"], "http.server": ["faces", "app"],
    "torch.optim": ["training", "generative/latent_search"], "torch.distributed": ["training"],
    "ray": ["conditioning/cluster"], "gradio": ["app"], "fastapi": ["app"], "uvicorn": ["app"],
}  # fmt: skip
LEAVES = {"cli/commands": "cli/parser"}  # the files of a folder are imported by their table alone
WITH_DTYPE = {
    "zeros", "ones", "empty", "full", "eye", "rand", "randn", "linspace", "logspace", "tensor", "as_tensor", "fftfreq",
    "rfftfreq",
}  # fmt: skip
OF_NUMBERS = {"arange", "randint", "randperm"}  # whose dtype is that of what is given
LONGEST = 300  # lines of a file


def modules():
    found = (path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem not in DOORS)
    return sorted(str(path.relative_to(PACKAGE).with_suffix("")).removesuffix("/__init__") for path in found)


def path_of(module):
    path = PACKAGE / f"{module}.py"
    return path if path.exists() else PACKAGE / module / "__init__.py"


def room_of(module):
    return module.split("/")[0]


def imports(module):
    """Every name that a file imports, wherever in the file, for the type checker alone too."""
    for node in ast.walk(ast.parse(path_of(module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(module):
    """The package's files that a file imports."""
    known = set(modules())
    for name in imports(module):
        parts = name.split(".")
        if parts[0] == "transflow":
            found = "/".join(parts[1:])
            if found in known and found != module:
                yield found


EVERY = pytest.mark.parametrize("module", modules())


@EVERY
def test_imports_go_to_the_same_room_or_one_below(module):
    here = room_of(module)
    assert here in ROOMS, f"{here} is no room"
    for there in map(room_of, own(module)):
        assert ROOMS.index(there) <= ROOMS.index(here), f"{module} imports {there}"


@EVERY
def test_inside_a_room_there_are_no_circles(module):
    seen, waiting = set(), [module]
    while waiting:
        for there in own(waiting.pop()):
            assert there != module, f"{module} imports itself by way of others"
            if room_of(there) == room_of(module) and there not in seen:
                seen.add(there)
                waiting.append(there)


@EVERY
def test_inference_knows_no_pictures_and_no_models(module):
    if room_of(module) in APART:
        assert {room_of(there) for there in own(module)} <= APART[room_of(module)] | {room_of(module)}


@EVERY
def test_a_model_knows_of_inference_its_prior_alone(module):
    if room_of(module) in ("generative", "adapters"):
        known = {there for there in own(module) if room_of(there) in ("gaussians", "fewshot")}
        assert known <= {"gaussians", "gaussians/gaussian"}


@EVERY
def test_one_home_for_each_outside_world(module):
    for name in imports(module):
        for world, homes in WORLDS.items():
            if name == world or name.startswith(world + "."):
                assert any(module == home or module.startswith(home + "/") for home in homes), f"{module}: {name}"
    assert not re.search(r"\bprint\(", path_of(module).read_text()) or room_of(module) == "cli"


def makers(module):
    """Calls of torch that make tensors; not those of a module's weights, placed by who builds it."""
    tree, weights = ast.parse(path_of(module).read_text()), set()
    if room_of(module) == "generative":
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                weights |= set(map(id, ast.walk(node)))
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) and id(node) not in weights else None
        if isinstance(called, ast.Attribute) and ast.unparse(called.value) in ("torch", "torch.fft"):
            yield called.attr, node


@EVERY
def test_every_tensor_says_where_and_of_what(module):
    """Else it is made on the caller's default device, in the caller's default dtype."""
    for name, node in makers(module):
        missing = {"device"} if name in OF_NUMBERS else {"device", "dtype"} if name in WITH_DTYPE else set()
        missing -= {keyword.arg for keyword in node.keywords}
        assert not missing, f"{module}, line {node.lineno}: {ast.unparse(node)} without {', '.join(sorted(missing))}"


@EVERY
def test_a_leaf_is_imported_by_its_table_alone(module):
    for there in own(module):
        table = LEAVES.get(there.rpartition("/")[0], module)
        assert module == table, f"{module} imports {there}"


@EVERY
def test_a_file_has_one_idea_and_opens_with_it(module):
    text = path_of(module).read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= LONGEST


def table_of_rooms():
    """The rooms that exist, the uppermost first, each with the first line of its docstring."""
    paths = {room: path_of(room) for room in reversed(ROOMS) if path_of(room).exists()}
    rows = {room + (".py" if path.parent == PACKAGE else "/"): first_line(path) for room, path in paths.items()}
    wide = max(map(len, rows))
    return "\n".join(f"{name:<{wide}}  {words}" for name, words in rows.items())


def first_line(path):
    return ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]


def with_table(text):
    """CONTRIBUTING.md with the table of now."""
    return re.sub(r"(<!-- rooms -->\n```\n).*?(```)", lambda m: f"{m[1]}{table_of_rooms()}\n{m[2]}", text, flags=re.S)


def test_contributing_has_the_table_of_rooms():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert text.count("<!-- rooms -->") == 1
    assert table_of_rooms() in text, "run: python tests/test_structure.py"


if __name__ == "__main__":
    page = ROOT / "CONTRIBUTING.md"
    page.write_text(with_table(page.read_text()))
    print(table_of_rooms())
