"""Options that contradict each other are refused in a line, and none is left out in silence."""

import shutil

import pytest
from PIL import Image

REFUSED = {
    "a model for a model": (["sample", "MODEL", "-m", "faces-32", "-o", "x.png"], "a posterior file for --model"),
    "long latents for more evidence": (
        ["condition", "PICTURES", "--add", "RED", "--long", "-o", "x.safetensors"],
        "no --long with --add or --remove",
    ),
    "skipped files in pairs": (
        ["edit", "PICTURES", "--to", "PICTURES", "--skip-bad", "-m", "MODEL", "-o", "x.png"],
        "no --skip-bad with --to",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_that_contradict_each_other_are_refused(run, red, folder, model_file, case, tmp_path):
    words, expected = REFUSED[case]
    names = {"RED": red, "PICTURES": folder, "MODEL": model_file}
    status, out, err = run(*[names.get(word, word) for word in words])
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert expected in err
    assert not list((tmp_path / "work").iterdir())


@pytest.fixture
def classes(folder, tmp_path):
    """Pictures of two classes in sub-folders, with a note among them that is no picture."""
    for i, path in enumerate(sorted(folder.iterdir())):
        to = tmp_path / "classes" / "ab"[i % 2] / path.name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    query = tmp_path / "query"
    shutil.copytree(tmp_path / "classes", query)
    (query / "notes.txt").write_text("not a picture")
    return tmp_path / "classes", query


def test_the_accuracy_is_said_to_be_left_out_only_where_it_is(run, classes, model_file):
    words = ("classify", *classes, "-m", model_file, "--skip-bad", "--overwrite", "-o", "x.csv")
    status, out, err = run(*words, "--confusion", "c.png")
    assert status == 0
    assert "accuracy is left out" not in err
    assert "%" in out
    Image.new("RGB", (8, 8)).save(classes[1] / "stray.png")
    status, out, err = run(*words)
    assert status == 0
    assert "accuracy is left out, since" in err
    status, out, err = run(*words, "--confusion", "d.png")
    assert (status, out) == (2, "")
    assert "for --confusion; got others" in err
