"""Outputs too large for their file are refused before any picture is made, by every command that writes one."""

from pathlib import Path

import pytest

CASES = {
    "sweep": ["sweep", "PICTURES", "-m", "MODEL", "-n", "900", "-o", "w.webp"],
    "sample": ["sample", "POSTERIOR", "-n", "1000000", "-o", "w.webp"],
    "sample of a model": ["sample", "MODEL", "-n", "10000000", "-o", "w.jpg"],
    "sample, in pixels alone": ["sample", "MODEL", "-n", "100000000", "-o", "w.png"],
    "interpolate": ["interpolate", "POSTERIOR", "POSTERIOR", "--steps", "3500", "-o", "w.jpg"],
    "interpolate, frames": ["interpolate", "POSTERIOR", "POSTERIOR", "--steps", "10000", "-o", "w.gif"],
    "interpolate, width": ["interpolate", "POSTERIOR", "POSTERIOR", "-n", "4000", "-o", "w.gif"],
    "edit": ["edit", "PICTURES", "--to", "PICTURES", "-m", "MODEL", "--steps", "1000", "-o", "w.webp"],
    "edit, frames": ["edit", "PICTURES", "--to", "PICTURES", "-m", "MODEL", "--steps", "10000", "-o", "w.gif"],
    "edit, strengths": [
        "edit",
        "PICTURES",
        "--towards",
        "PICTURES",
        "-m",
        "MODEL",
        "-o",
        "w.webp",
        "--strength",
        "MANY",
    ],
    "complete": ["complete", "PICTURE", "--hide", "left", "-m", "MODEL", "-n", "900000", "-o", "w.webp"],
    "reconstruct": ["reconstruct", "MANY PICTURES", "-m", "MODEL", "-o", "w.webp"],
    "classify": ["classify", "CLASSES", "CLASSES", "-m", "MODEL", "-o", "c.csv", "--confusion", "w.webp"],
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_too_large_is_refused_before_the_work(case, run, red, folder, model_file, tmp_path, monkeypatch):
    from transflow.generative.picture_model import PictureModel

    def used(*_):
        raise AssertionError("the model was used")

    classes = tmp_path / "classes"
    if case == "classify":
        for i in range(375):
            (classes / f"{i:03d}").mkdir(parents=True)
            (classes / f"{i:03d}" / "0.png").hardlink_to(folder / "00.png")
    many = [folder / "00.png"] * 1700 if case == "reconstruct" else []
    given = {
        "PICTURES": folder,
        "PICTURE": folder / "00.png",
        "MODEL": model_file,
        "POSTERIOR": red,
        "CLASSES": classes,
    }
    given["MANY"] = ",".join(f"{i / 1000}" for i in range(1, 1000))
    monkeypatch.setattr(PictureModel, "decode_unclamped", used)
    monkeypatch.setattr(PictureModel, "encode", used)
    words = [part for word in CASES[case] for part in (many if word == "MANY PICTURES" else [given.get(word, word)])]
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert "Expected at most" in err
    assert err.count("\n") == 1
    assert not [path for path in Path().iterdir() if path.suffix != ".lock"]
