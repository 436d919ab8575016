"""Other programs' checkpoints: found where they are usually kept, and never unpickled."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from transflow.store.foreign import read_tensors

WEIGHTS = {"layer.weight": torch.ones(2, 3), "layer.bias": torch.zeros(2)}


class Evil:
    """Would make a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "epoch": 3, "optimizer": {"state": {0: WEIGHTS}}},
        {"graph": WEIGHTS, "criterion": {"a": torch.ones(1)}, "global_step": 1},
        {"whatever": WEIGHTS, "lr": 0.1},
        {f"module.{name}": tensor for name, tensor in WEIGHTS.items()},
        {"model": {f"_orig_mod.module.{name}": tensor for name, tensor in WEIGHTS.items()}},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_and_lose_what_wraps_them(tmp_path, content, zipped):
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = read_tensors(tmp_path / "a.pt")
    assert list(found) == list(WEIGHTS)
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in found)


def test_safetensors_are_read_too(tmp_path):
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    assert read_tensors(tmp_path / "a.safetensors").keys() == WEIGHTS.keys()
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="another kind of file or a damaged one"):
        read_tensors(tmp_path / "a.safetensors")


def test_nothing_is_unpickled(tmp_path):
    for i, save in enumerate((torch.save, lambda content, path: path.write_bytes(pickle.dumps(content)))):
        path = tmp_path / f"{i}.pt"
        save({"weights": WEIGHTS, "more": Evil(str(tmp_path / "made"))}, path)
        with pytest.raises(ValueError, match="Expected a checkpoint of tensors alone; got one with") as caught:
            read_tensors(path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_what_is_no_checkpoint_is_refused_in_a_line(tmp_path):
    torch.save(WEIGHTS, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for i, content in enumerate((b"", b"hello world", whole[: len(whole) // 2])):
        (tmp_path / f"{i}.pt").write_bytes(content)
        with pytest.raises(ValueError, match="another kind of file or a damaged one"):
            read_tensors(tmp_path / f"{i}.pt")
    for content in ({}, {"step": 1}, [torch.ones(2)], {"a": WEIGHTS, "b": WEIGHTS}):
        torch.save(content, tmp_path / "none.pt")
        with pytest.raises(ValueError, match="Expected a checkpoint with weights by name; got none"):
            read_tensors(tmp_path / "none.pt")
    with pytest.raises(ValueError, match="got a folder"):
        read_tensors(tmp_path)
    with pytest.raises(FileNotFoundError, match="not there"):
        read_tensors(tmp_path / "nowhere.pt")
