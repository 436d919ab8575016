"""The command `sample` writes what Python draws, in the precision asked for."""

import numpy as np
import pytest
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


@pytest.mark.parametrize("there", [True, False])
def test_emulated_bfloat16_is_done_and_said_in_one_line(there, run, folder, model_file, tmp_path, monkeypatch):
    made = tmp_path / "rounded.safetensors"
    monkeypatch.setattr("transflow.devices.faster_precision", lambda device: "bfloat16" if there else "float32")
    for words in (
        ("condition", folder, "-m", model_file, "--dtype", "bfloat16", "-o", made),
        ("sample", made, "-n", "1", "-o", tmp_path / "a.png"),
    ):
        status, _, err = run(*words)
        assert status == 0
        assert err.count("emulates") == err.count("float32 is faster here\n") == (0 if there else 1)
    assert "emulates" not in run("condition", folder, "-m", model_file, "-o", tmp_path / "exact.safetensors")[2]


def test_samples_say_what_they_are_made_of(run, folder, model_file, tmp_path):
    made = tmp_path / "p.safetensors"
    run("condition", folder, "-m", model_file, "-o", made)
    status, out, _ = run("sample", made, "-n", 3, "--seed", 2, "--parents", "-o", "a.png")
    assert status == 0
    drawn = load_posterior(made).draw(3, seed=2)
    first = ", ".join(f"{p + 1} ({w:.2f})" for p, w in zip(drawn.parents[0].tolist(), drawn.weights[0], strict=True))
    assert f"sample 1: evidence pictures {first}" in out
    assert "3 samples, 0% broken, 0% near-copies (seed 2)" in out
    status, out, _ = run("sample", made, "--novelty", 0, "-n", 3, "-o", "b.png")
    assert (status, "100% near-copies" in out) == (0, True)
    status, out, _ = run("sample", made, "--vary", 5, "-n", 2, "--parents", "-o", "c.png")
    assert status == 0
    assert out.startswith("sample 1: evidence pictures 5 (")
    for words in (["--learn", "covariance"], ["--learn", "mixture"], ["--learn", "mean"], ["--learn", "parents:2"]):
        assert run("sample", made, *words, "-n", 2, "-o", "d.png")[0] == 0


def test_what_does_not_fit_is_one_line(run, red, folder, model_file, tmp_path):
    status, _, err = run("sample", red, "--learn", "parents", "-o", "a.png")
    assert status == 2
    assert "Expected a posterior that holds latents of pictures" in err
    assert "Condition on the pictures anew" in err
    status, _, err = run("sample", red, "--parents", "-o", "a.png")
    assert (status, "made of single pictures" in err) == (2, True)
    status, _, err = run("sample", model_file, "--novelty", 0.5, "-o", "a.png")
    assert (status, "Expected a posterior file" in err) == (2, True)
    made = tmp_path / "p.safetensors"
    run("condition", folder, "-m", model_file, "-o", made)
    status, _, err = run("sample", made, "--vary", 13, "-o", "a.png")
    assert (status, "Expected the number of an evidence picture, 0 to 11; got 12" in err) == (2, True)


def test_an_output_is_no_input(run, red, model_file, tmp_path):
    """Neither the posterior, by whatever path, nor the model that is given or that the posterior names."""
    other, before = tmp_path / "other.safetensors", red.read_bytes()
    other.write_bytes(before)
    (tmp_path / "link.png").symlink_to(red)
    (tmp_path / "model.png").symlink_to(model_file)
    for words in (
        ("sample", red, "-o", red),
        ("sample", red, "-o", tmp_path / "link.png"),
        ("sample", red, "-m", model_file, "-o", tmp_path / "model.png"),
        ("interpolate", red, other, "-o", other),
        ("interpolate", red, other, "-o", tmp_path / "link.png"),
        ("interpolate", red, other, "-m", model_file, "-o", tmp_path / "model.png"),
    ):
        for more in ((), ("--overwrite",)):
            status, out, err = run(*words, "-n", 2, *more)
            assert (status, out, err.count("\n")) == (2, "", 1), words
    assert red.read_bytes() == other.read_bytes() == before


def test_a_folder_is_streamed_and_is_what_one_drawing_gives(run, red, model_file, monkeypatch, tmp_path):
    """Of N(mean, s I) whatever the blocks; of parents up to a block. No more is decoded at a time than a block."""
    from transflow.cli.commands import sample
    from transflow.generative.picture_model import PictureModel

    sizes, decode = [], PictureModel.decode_unclamped
    monkeypatch.setattr(PictureModel, "decode_unclamped", lambda self, z: sizes.append(len(z)) or decode(self, z))
    for source in (red, model_file):
        monkeypatch.setattr(sample, "BLOCK", 256)
        assert run("sample", source, "-n", 40, "--seed", 3, "-o", f"{tmp_path}/whole/")[0] == 0
        monkeypatch.setattr(sample, "BLOCK", 16)
        sizes.clear()
        assert run("sample", source, "-n", 40, "--seed", 3, "-o", f"{tmp_path}/blocks/")[0] == 0
        assert sizes == [16, 16, 8]
        for i in range(40):
            pair = [
                np.asarray(Image.open(tmp_path / name / f"{i:04d}.png")).astype(int) for name in ("whole", "blocks")
            ]
            assert np.abs(pair[0] - pair[1]).max() <= 1  # a batch of another size rounds otherwise


def test_shares_and_parents_are_of_all_blocks(run, folder, model_file, monkeypatch, tmp_path):
    from transflow.cli.commands import sample

    made = tmp_path / "p.safetensors"
    run("condition", folder, "-m", model_file, "-o", made)
    monkeypatch.setattr(sample, "BLOCK", 2)
    status, out, _ = run("sample", made, "-n", 5, "--novelty", 0, "--learn", "mixture", "--parents", "-o", "a.png")
    assert (status, "5 samples, 0% broken, 100% near-copies" in out) == (0, True)
    assert [line.split(":")[0] for line in out.splitlines()[:5]] == [f"sample {i}" for i in range(1, 6)]


def test_a_posterior_is_opened_once(run, red, model_file, monkeypatch):
    from transflow.store import tensors

    opened, names = tensors.read_head, []
    monkeypatch.setattr("transflow.store.container.read_head", lambda file: names.append(file.name) or opened(file))
    assert run("sample", red, "-n", 1, "-o", "a.png")[0] == 0
    assert names.count(str(red)) == 1


def test_a_damaged_posterior_is_called_one(run, red):
    content = red.read_bytes()
    for damaged, words in ((content[:-8], "damaged"), (content[:-1] + b"\7", "checksum")):
        red.write_bytes(damaged)
        status, _, err = run("sample", red, "-n", 1, "-o", "a.png")
        assert (status, words in err) == (2, True)


def test_latents_that_are_far_too_long_are_one_line(run, red, model_file):
    for source in (red, model_file):
        status, _, err = run("sample", source, "-n", 2, "--temperature", "1e38", "-o", "a.png")
        assert status == 2
        assert "Expected finite" in err
        assert err.count("\n") == 1
