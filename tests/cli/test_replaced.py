"""What the user has is kept: an output replaces what an earlier run of ours wrote, whole, and nothing else."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

import transflow.cli.commands
from transflow.pictures.grids import animation, encode_image
from transflow.pictures.written import kind_of


@pytest.fixture
def mine(tmp_path):
    """A photograph of the user's, under every name that a command might write."""
    path = tmp_path / "mine"
    path.mkdir()
    for name in ("0000.png", "holiday.jpg"):
        Image.new("RGB", (8, 8), "red").save(path / name)
    (path / "table.csv").write_text("file,person\n1.png,Ada\n")
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


CASES = {
    "samples over a photograph": ["sample", "RED", "-n", 2, "-o", "MINE/0000.png"],
    "samples into a folder of photographs": ["sample", "RED", "-n", 2, "-o", "MINE/"],
    "a sweep": ["sweep", "PICTURES", "-m", "MODEL", "-n", 1, "-o", "MINE/holiday.jpg"],
    "pairs": ["reconstruct", "PICTURES", "-m", "MODEL", "-o", "MINE/holiday.jpg"],
    "a strip": ["interpolate", "RED", "RED", "-n", 1, "--steps", 2, "-o", "MINE/holiday.jpg"],
    "a posterior over a model": ["condition", "PICTURES", "-m", "MODEL", "-o", "MINE/other.safetensors"],
    "a posterior over another program's": ["condition", "PICTURES", "-m", "MODEL", "-o", "MINE/foreign.safetensors"],
    "a table": ["classify", "CLASSES", "PICTURES", "-m", "MODEL", "-o", "MINE/table.csv"],
    "a demo": ["demo", "-o", "MINE"],
}


@pytest.fixture
def call(run, red, mine, folder, model_file, tmp_path):
    shutil.copy(model_file, mine / "other.safetensors")
    (mine / "foreign.safetensors").write_bytes(b"of another program")
    for i, path in enumerate(sorted(folder.iterdir())):
        to = tmp_path / "classes" / "ab"[i % 2] / path.name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    names = {"RED": red, "PICTURES": folder, "MODEL": model_file, "CLASSES": tmp_path / "classes"}
    return lambda words: run(*[str(names.get(word, word)).replace("MINE", str(mine)) for word in words])


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_ours_is_kept_but_with_overwrite(case, call, mine, monkeypatch):
    before = contents(mine)
    status, out, err = call(CASES[case])
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--overwrite" in err
    assert contents(mine) == before
    if case != "a demo":
        assert call([*CASES[case], "--overwrite"])[0] == 0
        after = contents(mine)
        changed = {name for name in after if after[name] != before.get(name)}
        assert len(changed) == (2 if case.endswith("photographs") else 1)


def test_a_read_only_output_is_kept(run, red, tmp_path):
    target = tmp_path / "grid.png"
    assert run("sample", red, "-n", 1, "-o", target)[0] == 0
    target.chmod(0o444)
    status, _, err = run("sample", red, "-n", 1, "-o", target)
    assert (status, "read-only" in err) == (2, True)


def test_ours_is_replaced_whole_and_said(run, red, tmp_path):
    assert run("sample", red, "-n", 5, "-o", "out/")[2] == ""
    status, _, err = run("sample", red, "-n", 2, "-o", "out/")
    assert (status, "5 pictures of an earlier run are replaced" in err) == (0, True)
    assert sorted(path.name for path in Path("out").iterdir()) == ["0000.png", "0001.png"]
    assert run("sample", red, "-n", 1, "-o", "one.png")[2] == ""
    assert "a picture that transflow wrote is replaced: one.png" in run("sample", red, "-n", 1, "-o", "one.png")[2]


def test_evidence_is_added_to_a_posterior_without_a_note(run, red, folder):
    assert run("condition", folder, "--add", red)[2] == ""
    assert "is replaced" in run("condition", folder, "--add", red, "-o", red)[2] + "is replaced"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".gif"])
def test_a_picture_says_that_it_is_ours(tmp_path, suffix):
    path, picture = tmp_path / f"x{suffix}", Image.new("RGB", (8, 8), "red")
    path.write_bytes(encode_image(picture, suffix))
    assert kind_of(path) == "picture"
    picture.save(path)
    assert kind_of(path) == ""
    path.write_bytes(animation([picture, picture]))
    assert kind_of(path) == "picture"


@pytest.mark.parametrize("suffix", [".bmp", ".ppm"])
def test_a_format_without_a_place_for_it_is_never_replaced_unasked(run, red, suffix):
    assert run("sample", red, "-n", 1, "-o", f"x{suffix}")[0] == 0
    assert run("sample", red, "-n", 1, "-o", f"x{suffix}")[0] == 2
    assert run("sample", red, "-n", 1, "-o", f"x{suffix}", "--overwrite")[0] == 0


def test_every_command_that_writes_an_output_passes_overwrite_on():
    for path in Path(transflow.cli.commands.__path__[0]).glob("*.py"):
        text = path.read_text()
        asked = "add_output(" in text or "add_overwrite(" in text
        assert asked == ("overwrite=options.overwrite" in text), path.name


def test_no_pictures_are_written_into_a_folder_of_latents(run, folder, model_file):
    assert run("encode", folder, "-m", model_file, "-o", "lat")[0] == 0
    for words in (["sample", model_file, "-n", 1], ["demo", "-m", model_file]):
        status, _, err = run(*words, "-o", "lat/")
        assert (status, "got one of latents: lat" in err) == (2, True)
    assert sorted(path.name for path in Path("lat").iterdir()) == ["000000.safetensors", "index.safetensors"]


def test_training_replaces_no_model_and_does_not_say_so(call, mine):
    before = contents(mine)
    status, out, err = call(["train", "PICTURES", "-o", "MINE/other.safetensors", "--minutes", 1])
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "Expected a new output" in err
    assert contents(mine) == before
