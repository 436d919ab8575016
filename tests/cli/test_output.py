"""No command writes over what it reads, whatever the file is called and by whichever path."""

import shutil

import pytest

from transflow.cli.output import Output
from transflow.store.locks import release_all

OVER = {
    "sample": (["sample", "POSTERIOR", "-o", "POSTERIOR"], "one that is read"),
    "sample of a model": (["sample", "MODEL", "-o", "MODEL"], "one that is read"),
    "sample with another model": (["sample", "POSTERIOR", "-m", "MODEL", "-o", "MODEL"], "one that is read"),
    "sample into a folder": (["sample", "NUMBERED", "-n", "1", "-o", "NUMBERS/"], "one that is read"),
    "interpolate, first": (["interpolate", "POSTERIOR", "OTHER", "-o", "POSTERIOR"], "one that is read"),
    "interpolate, last": (["interpolate", "POSTERIOR", "OTHER", "-o", "OTHER"], "one that is read"),
    "interpolate, by a link": (["interpolate", "POSTERIOR", "OTHER", "-o", "LINK"], "one that is read"),
    "sweep": (["sweep", "PICTURES", "-m", "MODEL", "-o", "MODEL"], "one that is read"),
    "reconstruct": (["reconstruct", "PICTURES", "-m", "MODEL", "-o", "MODEL"], "one that is read"),
    "reconstruct a folder": (["reconstruct", "PICTURES", "-m", "MODEL", "-o", "NEW"], "in a folder that is read"),
    "classify": (["classify", "PICTURES", "PICTURES", "-o", "c.csv", "--confusion", "NEW"], "in a folder that is read"),
    "groups": (["train", "PICTURES", "--groups", "GROUPS", "-o", "GROUPS"], "one that is read"),
}


@pytest.fixture
def files(tmp_path, folder, model_file, red):
    """Posteriors and a model under a picture's name, as a file may be called."""
    model = tmp_path / "model.png"
    shutil.copy(model_file, model)
    names = {
        "POSTERIOR": tmp_path / "red.png",
        "OTHER": tmp_path / "other.gif",
        "NUMBERED": tmp_path / "n" / "0000.png",
    }
    (tmp_path / "n").mkdir()
    for path in names.values():
        shutil.copy(red, path)
    (tmp_path / "link.png").symlink_to(names["POSTERIOR"])
    groups = tmp_path / "groups.safetensors"
    groups.write_text("".join(f"{path.name},{path.stem}\n" for path in folder.iterdir()))
    new = folder / "new.png"
    more = {"MODEL": model, "PICTURES": folder, "NEW": new, "LINK": tmp_path / "link.png", "NUMBERS/": f"{tmp_path}/n/"}
    return names | more | {"GROUPS": groups}


@pytest.mark.parametrize("case", OVER)
def test_an_output_is_none_of_what_is_read(case, run, files, tmp_path):
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words, expected = OVER[case]
    status, out, err = run(*[files.get(word, word) for word in words])
    assert (status, out) == (2, "")
    assert "Expected an output apart from what is read" in err
    assert expected in err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_model_that_a_posterior_names_is_read_too(run, red, model_file, tmp_path):
    model = tmp_path / "model.png"
    shutil.copy(model_file, model)
    assert run("condition", tmp_path / "pictures", "-m", model, "-o", tmp_path / "p.safetensors")[0] == 0
    before = model.read_bytes()
    status, _, err = run("sample", tmp_path / "p.safetensors", "-o", model)
    assert status == 2
    assert "apart from what is read" in err
    assert model.read_bytes() == before


def test_a_folder_of_samples_may_hold_the_posterior(run, red):
    assert run("sample", red, "-n", 2, "-o", f"{red.parent}/")[0] == 0
    assert (red.parent / "0001.png").is_file()


def test_outputs_are_checked_before_the_work(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.csv"):
        Output.file(str(tmp_path / "x.txt"), [], suffix=".csv", kind="table")
    with pytest.raises(ValueError, match="picture file"):
        Output.picture(str(tmp_path / "x.csv"), [])
    with pytest.raises(OSError, match="folder"):
        Output.picture(str(tmp_path / "no" / "x.png"), [])
    output = Output.file(str(tmp_path / "x.csv"), [], suffix=".csv", kind="table")
    assert [path.name for path in tmp_path.iterdir()] == [".x.csv.lock"]
    output.write(b"a,b\n")
    assert (tmp_path / "x.csv").read_bytes() == b"a,b\n"
    release_all()
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_a_pipeline_folder_is_read_too(run, tmp_path):
    (tmp_path / "pipeline").mkdir()
    status, _, err = run("sample", f"diffusers:{tmp_path}/pipeline", "-o", tmp_path / "pipeline" / "x.png")
    assert status == 2
    assert "in a folder that is read" in err


def test_a_posterior_that_names_itself_as_its_model_is_one_line(run, red, tmp_path):
    from transflow.conditioning.posterior_file import POSTERIOR
    from transflow.store import container

    tensors, header = container.read(red, POSTERIOR)
    path = tmp_path / "itself.safetensors"
    header = {key: value for key, value in header.items() if key not in ("format", "kind")}
    container.write(path, POSTERIOR.kind, tensors, header | {"model": str(path)})
    status, _, err = run("sample", path, "-o", "x.png")
    assert status == 2
    assert err.count("\n") == 1
