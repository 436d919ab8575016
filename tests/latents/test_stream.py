"""Sets of pictures stream: however a set is cut, interrupted or kept, its latents and evidence are the same."""

import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from transflow import FewShotClassifier, Latents, load, load_posterior
from transflow.cli import main
from transflow.generative.model_file import save_model
from transflow.latents import folder as folder_of
from transflow.pictures import ahead
from transflow.pictures import decode as data
from transflow.pictures import sources as listing
from transflow.pictures.files import BadPicture
from transflow.store import folders
from transflow.store.container import header

COUNT = 150  # two whole batches and a part


@pytest.fixture
def many(tmp_path):
    """A folder of pictures in two sub-folders."""
    folder = tmp_path / "many"
    rng = np.random.default_rng(1)
    for i in range(COUNT):
        path = folder / f"{i % 2}" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of one batch of 16 pictures: ten of this set."""
    monkeypatch.setattr(folder_of, "SHARD_BYTES", 1)


def latents(parts):
    return torch.cat([part.latents for part in parts])


@pytest.mark.parametrize("batch", [1, 7, 63])
def test_latents_and_evidence_do_not_depend_on_the_cut(model, many, batch):
    cut, whole = list(model.stream(many, batch=batch)), list(model.stream(many))
    assert [len(part) for part in whole] == [64, 64, 22]
    torch.testing.assert_close(latents(cut), latents(whole), rtol=0, atol=1e-5)
    for name in ("names", "digests"):
        assert [x for part in cut for x in getattr(part, name)] == [x for part in whole for x in getattr(part, name)]
    a, b = model.condition(iter(cut)), model.condition(many)
    assert a.digests == b.digests
    torch.testing.assert_close(a.evidence.total, b.evidence.total, rtol=0, atol=1e-5 * COUNT)
    torch.testing.assert_close(a.evidence.scatter, b.evidence.scatter, rtol=1e-5, atol=1e-5)


def test_a_latent_depends_on_no_neighbour(model, many):
    pixels = data.read(many, (3, 16, 16)).pixels
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.encode(pixels)[order], model.encode(pixels[order]))


def test_streams_are_what_their_pictures_are(model, many):
    read = data.read(many, (3, 16, 16))
    parts = list(model.stream(many, log_prob=True))
    assert tuple(name for part in parts for name in part.names) == read.names
    assert torch.equal(latents(parts), model.encode(read.pixels))
    torch.testing.assert_close(torch.cat([part.log_prob for part in parts]), model.score(read.pixels).log_prob)
    assert model.condition(many).digests == model.condition(read.pixels).digests


def test_folders_and_tars_are_listed_in_one_order(tmp_path, many):
    for suffix in ("tar", "tar.gz"):
        with tarfile.open(tmp_path / f"t.{suffix}", f"w:{suffix[4:]}") as tar:
            for path in sorted(many.rglob("*.png")):
                tar.add(path, str(path))
        found = list(listing.files(tmp_path / f"t.{suffix}"))
        assert [Path("/", file.name) for file in found] == sorted(many.rglob("*.png"))
        assert [file.read() for file in found] == [file.read() for file in listing.files(many)]
    assert [file.name for file in listing.files(many)] == [str(path) for path in sorted(many.rglob("*.png"))]


def test_reading_runs_ahead_by_a_bounded_number(many):
    listed = []

    def told():
        for file in listing.files(many):
            listed.append(file.name)
            yield file

    reads = data.decode_files(iter(list(told()) * 20), (3, 16, 16))
    first = next(reads)
    assert first.name == listed[0]
    count = 0

    def counted():
        nonlocal count
        for file in list(listing.files(many)) * 20:
            count += 1
            yield file

    reads = data.decode_files(counted(), (3, 16, 16))
    for taken in range(1, 1000):
        next(reads)
        assert count <= taken + data.FILES_PER_TASK * (ahead.AHEAD + 2)
    before = threading.active_count()
    reads.close()
    assert threading.active_count() < before


def test_warnings_of_odd_files_go_unheard_and_the_filters_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # of which Pillow warns, up to twice as many
    for i in range(100):
        Image.new("RGB", (16, 16)).save(tmp_path / f"{i}.png")
    before = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(data.read(tmp_path, (3, 16, 16)).pixels) == 100
    assert warnings.filters == before


def test_latents_on_disk_are_those_of_the_stream(model, many, tmp_path, small_shards):
    kept = model.latents(many, tmp_path / "kept", batch=16)
    assert len(kept) == COUNT
    assert len(list((tmp_path / "kept").iterdir())) == 1 + 10
    assert torch.equal(model.encode(kept), latents(model.stream(many, batch=16)))
    direct, again = model.condition(many), model.condition(tmp_path / "kept")
    assert again.digests == direct.digests
    torch.testing.assert_close(again.evidence.total, direct.evidence.total, rtol=0, atol=1e-10)
    torch.testing.assert_close(again.evidence.scatter, direct.evidence.scatter, rtol=1e-10, atol=0)
    files = sorted(many.rglob("*.png"))
    less = again.remove(files[100:])
    assert less.digests == model.condition(files[:100]).digests
    assert model.condition(files[:20]).add(kept).evidence.count == COUNT + 20
    torch.testing.assert_close(model.score(kept).log_prob, model.score(many).log_prob)
    torch.testing.assert_close(model.encode([files[0], kept])[1:], model.encode(kept))


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def run(model, pictures, folder, **more):
    """Latents, and how many were encoded now and found."""
    done = {True: 0, False: 0}

    def report(count, now):
        done[now] += count

    return model.latents(pictures, folder, batch=16, report=report, **more), done


def test_what_is_done_is_left_and_what_changed_is_done_again(model, many, tmp_path, small_shards):
    kept = tmp_path / "kept"
    assert run(model, many, kept)[1] == {True: COUNT, False: 0}
    before = stamps(kept)
    assert run(model, many, kept)[1] == {True: 0, False: COUNT}
    assert stamps(kept) == before
    file = sorted(many.rglob("*.png"))[40]
    times = file.stat()
    Image.new("RGB", (16, 16), "red").save(file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # neither name nor time tells
    latents_now, done = run(model, many, kept)
    assert done == {True: 16, False: COUNT - 16}
    assert torch.equal(model.encode(latents_now), latents(model.stream(many, batch=16)))
    for path in sorted(many.rglob("*.png"))[70:]:
        path.unlink()
    latents_now, done = run(model, many, kept)
    assert (len(latents_now), done) == (70, {True: 6, False: 64})
    assert len(list(kept.iterdir())) == 1 + 5
    assert model.condition(kept).digests == model.condition(many).digests


def test_a_damaged_shard_is_done_again(model, many, tmp_path, small_shards):
    kept = tmp_path / "kept"
    run(model, many, kept)
    shard = kept / "000003.safetensors"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        model.condition(kept)
    assert run(model, many, kept)[1] == {True: 16, False: COUNT - 16}
    other = kept / "000004.safetensors"
    shard.write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match=r"got others.*000003"):
        model.condition(kept)


def test_other_weights_are_refused(model, many, tmp_path):
    kept = model.latents(many, tmp_path / "kept")
    with torch.no_grad():
        next(model.source.flow.parameters()).add_(1e-3)
    save_model(tmp_path / "other.safetensors", model.source)
    other = load(tmp_path / "other.safetensors")
    for use in (lambda: other.condition(kept), lambda: other.latents(many, kept), lambda: other.score(kept)):
        with pytest.raises(ValueError, match="Expected the model that"):
            use()


def test_other_folders_and_precisions_are_refused(model, model_file, many, tmp_path):
    with pytest.raises(ValueError, match="apart from what is read"):
        model.latents(many, many / "kept")
    with pytest.raises(ValueError, match="other files"):
        model.latents(many / "0", many / "1")
    with pytest.raises(OSError, match="got a file"):
        model.latents(many, model_file)
    with pytest.raises(ValueError, match="without"):
        Latents.open(many)
    model.latents(many, tmp_path / "kept")
    with pytest.raises(ValueError, match="float64"):
        load(model_file, dtype=torch.float64).latents(many, tmp_path / "kept")
    with pytest.raises(ValueError, match="got float32 latents, by a model in float64"):
        load(model_file, dtype=torch.float64).condition(tmp_path / "kept")


def test_paths_may_come_one_by_one(model, many):
    assert model.condition(many.glob("0/*.png")).evidence.count == COUNT // 2
    assert len(model.latents(many.glob("0/*.png"), many.parent / "kept")) == COUNT // 2


def test_hashes_of_any_form_take_out_what_went_in(model, many, tmp_path):
    parts = list(model.stream(sorted(many.rglob("*.png"))[:6]))
    other = [replace(part, digests=tuple(f"id-{i}" for i in range(len(part)))) for part in parts]
    model.condition(iter(other), "0.5m").save(tmp_path / "p.safetensors")
    posterior = load_posterior(tmp_path / "p.safetensors", model)
    assert len(posterior.digests) == 6
    assert posterior.remove(iter(other)).evidence.count == 0


def test_files_held_in_memory_end_a_shard(model, many, tmp_path, monkeypatch):
    """Members of a compressed tar have no place on disk: their bytes bound a shard too, and change no latent."""
    with tarfile.open(tmp_path / "many.tgz", "w:gz") as tar:
        tar.add(many, ".")
    monkeypatch.setattr(folder_of, "SHARD_FILES", 20_000)
    kept = model.latents(tmp_path / "many.tgz", tmp_path / "kept")
    assert len(kept.header["shards"]) > 2
    torch.testing.assert_close(model.encode(kept), model.encode(many), rtol=0, atol=1e-5)


def test_shards_of_a_larger_set_go_even_past_a_gap(model, many, tmp_path, small_shards):
    kept = model.latents(many, tmp_path / "kept", batch=16)
    assert len(kept.header["shards"]) == 10
    (tmp_path / "kept" / "000006.safetensors").unlink()
    (tmp_path / "kept" / "2024.safetensors").write_bytes(b"not a shard's name")
    less = sorted(many.rglob("*.png"))[:40]
    model.latents(less, tmp_path / "kept", batch=16)
    assert {p.name for p in (tmp_path / "kept").iterdir()} == {
        folders.INDEX,
        "2024.safetensors",
        *(f"{i:06d}.safetensors" for i in range(3)),
    }


def test_what_needs_pixels_says_so_of_a_folder_of_latents(model, many, tmp_path):
    latents = model.latents(many, tmp_path / "kept")
    for use in (model.reconstruct, lambda latents: FewShotClassifier(model).fit(latents, ["a"] * COUNT)):
        with pytest.raises(ValueError, match="Expected pictures; got a folder of latents"):
            use(latents)


def test_bad_files_are_told_each_time(model, many, tmp_path, small_shards):
    (many / "0" / "zzz.png").write_bytes(b"")
    told = []
    with pytest.raises(BadPicture, match="zzz"):
        run(model, many, tmp_path / "kept")
    with pytest.raises(ValueError, match="interrupted"):
        model.condition(tmp_path / "kept")
    for _ in range(2):
        assert len(run(model, many, tmp_path / "kept", on_bad=told.append)[0]) == COUNT
    assert [("zzz.png" in message) for message in told] == [True, True]
    with pytest.raises(BadPicture, match="zzz"):
        run(model, many, tmp_path / "kept")
    assert model.condition(tmp_path / "kept").evidence.count == COUNT


CHILD = """
import signal, sys, time
from transflow.latents import folder as folder_of, shard
from transflow.cli import main
folder_of.SHARD_BYTES = 1
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born without
whole, waits = shard.encode_batch, iter([0, 60])  # the second batch lasts until the signal comes
def slowly(*a, **more):
    print("batch", flush=True)
    time.sleep(next(waits))
    return whole(*a, **more)
shard.encode_batch = slowly
sys.exit(main(["encode", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on(how, model, model_file, many, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    words = [str(many), "-m", str(model_file), "-o", str(kept)]
    monkeypatch.setattr(folder_of, "SHARD_BYTES", 1)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(2):
        child.stdout.readline()  # the second batch is begun, so the first shard is written
    time.sleep(0.1)
    child.send_signal(how)
    _, err = child.communicate(timeout=60)
    assert child.returncode == (130 if how == signal.SIGINT else -9)
    assert how == signal.SIGKILL or err == "transflow: interrupted\n"
    with pytest.raises(ValueError, match="interrupted"):
        model.condition(kept)
    shards = sorted(path for path in kept.glob("0*.safetensors"))
    assert [len(header(path)["files"]) for path in shards] == [64]
    before = stamps(kept)
    done = {True: 0, False: 0}
    model.latents(many, kept, report=lambda count, now: done.update({now: done[now] + count}))
    assert done == {True: COUNT - 64, False: 64}
    assert stamps(kept)[shards[0].name] == before[shards[0].name]
    assert model.condition(kept).digests == model.condition(many).digests
    assert torch.equal(model.encode(kept), model.encode(many))


def test_the_command_and_its_twin(model, model_file, many, tmp_path, capsys):
    kept = str(tmp_path / "kept")
    assert main(["encode", str(many), "-m", str(model_file), "-o", kept]) == 0
    assert f"{COUNT} pictures, {COUNT} encoded now" in capsys.readouterr().out
    assert main(["condition", kept, "-m", str(model_file), "-o", str(tmp_path / "p.safetensors")]) == 0
    assert main(["condition", str(many), "--remove", str(tmp_path / "p.safetensors")]) == 0
    assert "0 pictures" in capsys.readouterr().out
    assert main(["score", kept, "-m", str(model_file)]) == 0
    of_latents = capsys.readouterr().out
    assert main(["score", str(many), "-m", str(model_file)]) == 0
    assert capsys.readouterr().out == of_latents
    assert main(["encode", str(tmp_path / "nowhere"), "-m", str(model_file), "-o", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_needs_a_picture(model, pixels, batch):
    with pytest.raises(ValueError, match="1 or more"):
        list(model.stream(pixels, batch=batch))


def test_a_stream_without_densities_is_not_scored(model, pixels):
    with pytest.raises(ValueError, match="log_prob=True"):
        model.score(model.stream(pixels))
