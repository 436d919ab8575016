"""One file is a whole model; what is not one of ours is told in one line; nothing is half-written."""

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from transflow import load, load_posterior
from transflow.generative.model_file import SCHEMA, save_model
from transflow.store import container, files, tensors
from transflow.store.foreign import read_tensors


def test_a_model_is_one_file(model_file, pixels, tmp_path):
    model = load(model_file)
    save_model(tmp_path / "again.safetensors", model.source)
    again = load(tmp_path / "again.safetensors")
    assert again.fingerprint == model.fingerprint
    assert again.card == model.card == {"name": "tiny", "data": "none", "licence": "none"}
    assert torch.equal(again.encode(pixels), model.encode(pixels))
    assert again.source.flow.config == model.source.flow.config


def test_loading_draws_no_random_number(model_file):
    state = torch.random.get_rng_state()
    load(model_file)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_fingerprint_is_of_weights_and_bits(model):
    from dataclasses import replace

    from transflow.pictures.pixels import PixelFormat

    assert replace(model.source, pixels=PixelFormat(8)).fingerprint != model.fingerprint
    assert replace(model.source, card={}).fingerprint == model.fingerprint


def damaged(kind, good, path):
    content = good.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "header":
        path.write_bytes(b"\xff" * 64)
    elif kind == "foreign":
        save_file({"w": torch.zeros(3)}, path)
    elif kind == "foreign json":
        save_file({"w": torch.zeros(3)}, path, {"transflow": "[1"})
    elif kind == "newer":
        save_file({"w": torch.zeros(3)}, path, {"transflow": json.dumps({"format": 99, "kind": "model"})})
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    elif kind == "torch":
        torch.save({"a": torch.zeros(2)}, path)
    elif kind == "wrong weights":
        header = container.header(good) | {"config": {"steps": [1], "width": [4]}}
        container.write(
            path, "model", {"w": torch.zeros(3)}, {k: v for k, v in header.items() if k not in ("format", "kind")}
        )
    elif kind == "nan":
        weights, header = container.read(good, SCHEMA)
        weights = {k: (v * float("nan") if v.is_floating_point() else v) for k, v in weights.items()}
        container.write(path, "model", weights, {k: v for k, v in header.items() if k not in ("format", "kind")})
    else:
        container.write(path, "posterior", {"total": torch.zeros(3)}, {})
    return path


KINDS = {
    "cut": "damaged",
    "empty": "damaged",
    "header": "damaged",
    "foreign": "another program",
    "foreign json": "another program",
    "newer": "format 99",
    "pickle": "pickle",
    "torch": "pickle",
    "wrong weights": "do not fit",
    "nan": "finite",
    "posterior": "got a posterior",
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_model_is_told_in_one_line(kind, model_file, tmp_path):
    path = damaged(kind, model_file, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=KINDS[kind]) as error:
        load(path)
    assert "\n" not in str(error.value)
    assert "bad.safetensors" in str(error.value)


def test_a_pickle_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was run",))

    (tmp_path / "trap.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="pickle"):
        load(tmp_path / "trap.pt")


def test_a_model_is_no_posterior(model_file):
    with pytest.raises(ValueError, match="Expected a posterior file; got a model"):
        load_posterior(model_file)


def test_an_unknown_model_is_told_with_those_there_are():
    with pytest.raises(FileNotFoundError, match="faces-32"):
        load("faces-33")


def test_nothing_is_half_written(tmp_path, monkeypatch):
    target = tmp_path / "x.bin"
    files.write_bytes(target, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        files.write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


def test_an_output_that_cannot_be_is_told(tmp_path):
    with pytest.raises(OSError, match="folder that is there"):
        files.write_bytes(tmp_path / "no" / "x.bin", b"")
    with pytest.raises(OSError, match="got a folder"):
        files.write_bytes(tmp_path, b"")
    with pytest.raises(OSError, match="device"):
        files.write_bytes("/dev/null", b"")
    with pytest.raises(OSError, match="can be written"):
        files.write_bytes("/proc/x.bin", b"")


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to(tmp_path / "real.bin")
    files.write_bytes(tmp_path / "link.bin", b"new")
    assert (tmp_path / "real.bin").read_bytes() == b"new"
    assert (tmp_path / "link.bin").is_symlink()


def test_what_was_read_no_longer_hangs_on_its_file(model, model_file, pixels, tmp_path):
    """Another file's bytes written over it, or the file cut, change nothing: of every kind of file."""
    path, other = tmp_path / "p.safetensors", tmp_path / "q.safetensors"
    model.condition(pixels[:6]).save(path)
    model.condition(pixels[6:]).save(other)
    posterior = load_posterior(path, model)
    before = posterior.evidence.total.clone()
    with path.open("r+b") as file:
        file.write(other.read_bytes())
    assert torch.equal(posterior.evidence.total, before)
    copy = tmp_path / "m.safetensors"
    copy.write_bytes(model_file.read_bytes())
    loaded = load(copy)
    with copy.open("r+b") as file:
        file.truncate(100)
    assert torch.equal(loaded.encode(pixels), model.encode(pixels))
    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": torch.ones(9)}, foreign)
    weights = read_tensors(foreign)
    with foreign.open("r+b") as file:
        file.truncate(0)
    assert weights["w"].sum() == 9


def test_a_file_cut_while_it_is_read_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    container.write(path, "encoding", {"encoded": torch.ones(1000)}, {})
    size = path.stat().st_size
    read_head = tensors.read_head

    def cut_meanwhile(file):
        found = read_head(file)
        os.truncate(path, size - 8)
        return found

    monkeypatch.setattr("transflow.store.container.read_head", cut_meanwhile)
    with pytest.raises(ValueError, match="cut"):
        container.read(path, container.Schema("encoding"))


def test_numbers_of_every_dtype_come_back(tmp_path):
    whole = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in tensors.DTYPES.values()}
    whole |= {"none": torch.zeros(0, 3), "one": torch.tensor(2.5)}
    container.write(tmp_path / "x.safetensors", "encoding", whole, {})
    found, _ = container.read(tmp_path / "x.safetensors", container.Schema("encoding"))
    assert found.keys() == whole.keys()
    for name, tensor in whole.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found[name], tensor)


def test_infinity_is_taken_where_it_may_be_and_nan_nowhere(tmp_path):
    path, schema = tmp_path / "x.safetensors", container.Schema("encoding", infinite=frozenset({"far"}))
    container.write(path, "encoding", {"far": torch.tensor([torch.inf])}, {})
    assert container.read(path, schema)[0]["far"].item() == torch.inf
    for name, value in (("far", torch.nan), ("near", torch.inf)):
        container.write(path, "encoding", {name: torch.tensor([value])}, {})
        with pytest.raises(ValueError, match=f"NaN or infinity in {name}"):
            container.read(path, schema)


@pytest.mark.parametrize("number", [0, -(2**63), 2**63 - 1, 10**18])
def test_whole_numbers_of_64_bits_come_back(number, tmp_path):
    container.write(tmp_path / "a.safetensors", "posterior", {}, {"seed": number})
    assert container.header(tmp_path / "a.safetensors")["seed"] == number


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, float("nan"), float("inf")])
def test_what_could_not_be_read_again_is_not_written(number, tmp_path):
    with pytest.raises(ValueError, match=r"whole numbers of 64 bits at most in a posterior|of finite numbers; got"):
        container.write(tmp_path / "a.safetensors", "posterior", {}, {"seed": number})
    assert not list(tmp_path.iterdir())
