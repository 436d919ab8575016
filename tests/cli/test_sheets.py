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


def test_sweep_of_novelties_and_ways_between_parents(run, folder, model_file, model, pixels, tmp_path):
    words = ["-n", 3, "--seed", 1, "-o", "sweep.png"]
    status, out, _ = run("sweep", folder, "-m", model_file, "--novelty", "0,0.5,1", *words)
    assert (status, "one row a novelty, 0, 0.5, 1 (seed 1)" in out) == (0, True)
    rows = model.sweep(pixels, n=3, novelty=[0, 0.5, 1], seed=1)
    expected = np.asarray(figures.grid(rows.flatten(0, 1), 3, rows=("0", "0.5", "1"))).astype(int)
    assert np.abs(np.asarray(Image.open("sweep.png")).astype(int) - expected).max() <= 1
    assert run("sweep", folder, "-m", model_file, "--learn", "mixture", "-n", 2, "-o", "other.png")[0] == 0
    made = tmp_path / "p.safetensors"
    run("condition", folder, "-m", model_file, "-o", made)
    status, out, _ = run("interpolate", made, made, "--steps", 3, "-n", 2, "--seed", 1, "-o", "strip.png")
    assert (status, "drawn from pictures of both ends" in out) == (0, True)
    _, out, _ = run("interpolate", made, made, "--learn", "covariance", "--steps", 3, "-n", 2, "-o", "strip.png")
    assert "drawn from pictures" not in out


def test_sweeps_that_make_no_sense_are_one_line(run, folder, model_file):
    for words, error in (
        (["--noise", "1m", "--novelty", "0.5"], "Expected --noise alone"),
        (["--novelty", "a,b"], "Expected novelties from 0 to 1"),
        (["--novelty", "0.5,3"], "Expected a novelty from 0"),
        (["--learn", "covariance"], "Expected no novelty"),
    ):
        status, _, err = run("sweep", folder, "-m", model_file, *words, "-o", "a.png")
        assert (status, len(err.splitlines())) == (2, 1)
        assert error in err
