"""The command `sample` writes what Python draws, in the precision asked for."""

import numpy as np
from PIL import Image

from transflow import load_posterior


def test_sample_writes_what_python_draws(run, red, model_file):
    status, out, _ = run("sample", red, "-n", 4, "--seed", 0, "--temperature", 0.7, "-o", "grid.png")
    assert status == 0
    assert "seed 0" in out
    assert run("sample", red, "-n", 4, "--seed", 0, "--temperature", 0.7, "-o", "each/")[0] == 0
    first = np.asarray(Image.open("each/0000.png")).astype(float) / 255
    expected = load_posterior(red).pictures(4, seed=0, temperature=0.7)[0].permute(1, 2, 0).numpy()
    assert np.abs(first - expected).max() <= 0.5 / 255 + 1e-6
    assert run("sample", model_file, "-n", 2, "-o", "prior.png")[0] == 0


def test_a_new_seed_is_printed_and_makes_the_same_again(run, red):
    _, out, _ = run("sample", red, "-n", 2, "-o", "a.png")
    seed = out.split("seed ")[1].rstrip(")\n")
    run("sample", red, "-n", 2, "--seed", seed, "-o", "b.png")
    assert np.array_equal(np.asarray(Image.open("a.png")), np.asarray(Image.open("b.png")))


def test_dtype_is_the_models_and_a_posterior_keeps_its_own(run, folder, model_file, tmp_path):
    made = tmp_path / "rounded.safetensors"
    run("condition", folder, "-m", model_file, "--dtype", "bfloat16", "-o", made)
    assert load_posterior(made).model.precision == "bfloat16"
    written = []
    for dtype in ([], ["--dtype", "bfloat16"], ["--dtype", "float64"]):
        output = tmp_path / f"{len(written)}.png"
        run("sample", made, "-n", "4", "--seed", "0", *dtype, "-o", output)
        written.append(output.read_bytes())
    assert written[0] == written[1]
