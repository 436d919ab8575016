"""The commands `sweep`, `interpolate` and `reconstruct` write what Python makes."""

import numpy as np
from PIL import Image

from transflow import load_posterior
from transflow.pictures import grids as figures


def test_sweep_interpolate_reconstruct_write_what_python_makes(run, red, folder, model_file, model, pixels):
    words = ["--noise", "0.2m,1m", "-n", 3, "--seed", 1, "-o", "sweep.png"]
    assert run("sweep", folder, "-m", model_file, *words)[0] == 0
    assert run("interpolate", red, red, "--steps", 4, "-n", 2, "--seed", 1, "-o", "strip.png")[0] == 0
    assert run("interpolate", red, red, "--steps", 4, "-n", 2, "--direct", "-o", "strip.gif")[0] == 0
    with Image.open("strip.gif") as strip:
        assert strip.n_frames >= 2
    status, out, _ = run("reconstruct", folder, "-m", model_file, "-o", "pairs.png")
    assert status == 0
    assert "largest error" in out
    rows = model.sweep(pixels, ["0.2m", "1m"], 3, seed=1)
    way = load_posterior(red).strip(load_posterior(red), 4, 2, seed=1)
    both = model.reconstruct(pixels)
    expected = {
        "sweep.png": figures.grid(rows.flatten(0, 1), 3, rows=("0.2m", "1m")),
        "strip.png": figures.grid(way.transpose(0, 1).flatten(0, 1), 4),
        "pairs.png": figures.pairs(both.pictures, both.decoded),
    }
    for name, picture in expected.items():
        shown = np.asarray(Image.open(name)).astype(int)
        assert shown.shape == np.asarray(picture).shape
        assert np.abs(shown - np.asarray(picture)).max() <= 1  # a batch of another size rounds otherwise
