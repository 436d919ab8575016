"""The command `train` makes a model that the other commands use."""

from transflow import load


def test_train_then_use(run, folder):
    words = [
        "--size",
        8,
        "--steps",
        "1,1",
        "--width",
        "4,4",
        "--epochs",
        3,
        "--no-compile",
        "--batch",
        4,
        "--reversible",
    ]
    status, out, _ = run("train", folder, "-o", "m.safetensors", *words, "--data", "blobs", "--licence", "CC0")
    assert status == 0
    assert "bits/dim" in out
    card = load("m.safetensors").card
    assert (card["data"], card["licence"]) == ("blobs", "CC0")
    assert run("train", folder, "-o", "m.safetensors", "--resume", "--epochs", 5)[0] == 0
    assert load("m.safetensors").card["data"] == "blobs"
    status, _, err = run("train", folder, "-o", "m.safetensors", "--resume", "--size", 16)
    assert status == 2
    assert "Expected size 8, as the run was begun with; got 16." in err
