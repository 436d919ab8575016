"""Files that are no model are named by their first bytes, with the way out."""

import io

import pytest
import torch

from transflow import load
from transflow.store.foreign import read_tensors
from transflow.store.signatures import LONGEST, name_of

OTHERS = {
    "a git-LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "git lfs pull"),
    "a web page": (b"<!doctype html><html>", "Download the file itself"),
    "a zip archive": (b"PK\x03\x04" + b"\0" * 60, "Unpack"),
    "a JSON document": (b'{"message": "Not Found"}', "Download"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_no_model_is_named(name, tmp_path):
    content, way_out = OTHERS[name]
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"Expected a file written by transflow .*; got {name}.*{way_out}"):
        load(path)
    with pytest.raises(ValueError, match=f"Expected a checkpoint; got {name}.*{way_out}"):
        read_tensors(path)


def test_a_download_that_stopped_is_called_cut(model_file, tmp_path):
    content = model_file.read_bytes()
    path = tmp_path / "m.safetensors"
    for share in (0.01, 0.5, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ValueError, match=r"got a damaged file, cut to \d+ bytes; .*Download the file itself"):
            load(path)


def test_a_file_of_torch_save_is_called_a_pickle(tmp_path):
    out = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, out)
    assert name_of(out.getvalue()[:LONGEST]).what.startswith("a pickle")
    path = tmp_path / "m.safetensors"
    path.write_bytes(out.getvalue())
    with pytest.raises(ValueError, match=r"got a pickle, .*checkpoint:FILE"):
        load(path)


def test_noise_has_no_name():
    assert name_of(bytes(range(200, 256)) * 9).what == ""
    assert name_of(b"").what == ""
