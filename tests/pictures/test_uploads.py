"""Uploads and other forms of pictures: taken everywhere as the picture or tar that they are."""

import io
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from transflow import FewShotClassifier
from transflow.pictures.decode import batches, read
from transflow.pictures.given import as_list, is_paths
from transflow.pictures.grids import check_picture_file
from transflow.pictures.sources import count

SHAPE = (3, 16, 16)


class Awaited:
    """An upload of Starlette: what is read is awaited, and the file itself is beside it."""

    def __init__(self, file, filename="mine.png"):
        self.file, self.filename = file, filename

    async def read(self, size=-1):
        return self.file.read(size)


class Upload:
    """An upload of Flask or Django: it has ``read`` and a name, and no more."""

    def __init__(self, content, name="mine.png"):
        self.file, self.name = io.BytesIO(content), name
        self.read, self.seek, self.tell = self.file.read, self.file.seek, self.file.tell


def spooled(content):
    file = tempfile.SpooledTemporaryFile(max_size=10)  # noqa: SIM115
    OPEN.append(file)
    file.write(content)
    return file


OPEN = []


@pytest.fixture(autouse=True)
def closed():
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def content(folder):
    return (folder / "00.png").read_bytes()


@pytest.fixture
def tar(folder):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        for path in sorted(folder.iterdir()):
            file.add(path, path.name)
    return out.getvalue()


FORMS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "BytesIO": io.BytesIO,
    "spooled": spooled,
    "Starlette": lambda content: Awaited(io.BytesIO(content)),
    "Flask": Upload,
}


@pytest.mark.parametrize("form", FORMS)
def test_an_upload_is_the_file_that_it_is(form, model, folder, content, tar):
    assert torch.equal(model.encode(FORMS[form](content)), model.encode(folder / "00.png"))
    assert torch.equal(model.encode(FORMS[form](tar)), model.encode(folder))
    both = [FORMS[form](content), str(folder / "01.png")]
    assert torch.equal(model.encode(both), model.encode([folder / "00.png", folder / "01.png"]))


def test_an_open_file_is_read_from_its_beginning_and_left_where_it_was(model, folder):
    with open(folder / "00.png", "rb") as file:
        file.read(7)
        assert torch.equal(model.encode(file), model.encode(folder / "00.png"))
        assert file.tell() == 7
        assert read(file, SHAPE).names == ("00.png",)


def test_uploads_are_taken_wherever_pictures_are(model, folder, content, tar):
    posterior = model.condition(io.BytesIO(tar))
    assert posterior.evidence.count == 12
    assert posterior.remove(io.BytesIO(content)).evidence.count == 11
    assert posterior.add([content, io.BytesIO(content)]).evidence.count == 14
    assert len(model.score(io.BytesIO(tar)).log_prob) == 12
    assert len(model.reconstruct(content).errors) == 1
    assert model.complete(io.BytesIO(content), np.eye(16, dtype=bool), n=1, seed=0).pictures.shape == (1, *SHAPE)
    from transflow.conditioning import edits

    assert edits.towards(posterior).pictures(io.BytesIO(content)).shape == (1, *SHAPE)
    few = FewShotClassifier(model).fit(folder, [0, 1] * 6)
    assert few.predict(io.BytesIO(tar)).tolist() == few.predict(folder).tolist()
    assert count(tar) is None
    assert count([content, folder]) == 13


def test_what_is_no_upload_of_a_picture_is_refused_in_a_line(model, folder, content, tmp_path):
    with pytest.raises(ValueError, match=r"got a web page saved under this name: a\.png"):
        model.encode(Upload(b"<html>", "a.png"))
    with pytest.raises(ValueError, match=r"empty file \(0 bytes\): upload"):
        model.encode(io.BytesIO())
    with open(folder / "00.png", encoding="latin-1") as file, pytest.raises(TypeError, match='mode "rb"'):
        model.encode(file)
    with pytest.raises(TypeError, match="await"):
        model.encode(Awaited(Awaited(None)))
    with pytest.raises(OSError, match="closed"):
        model.encode(file)


def test_arrays_of_paths_and_columns_of_tables_are_paths(model, folder):
    pandas = pytest.importorskip("pandas")
    paths = sorted(map(str, folder.iterdir()))
    for given in (np.array(paths), np.array(paths, dtype=object), pandas.Series(paths), iter(paths)):
        assert torch.equal(model.encode(given), model.encode(paths))
    assert not is_paths(np.zeros((2, 16, 16), np.uint8))


def test_lists_of_single_pictures_of_any_kind_and_size_are_pictures(model):
    grey, colour = np.full((28, 28), 7, np.uint8), np.full((20, 30, 3), 9, np.uint8)
    parts = [grey, colour, torch.full((3, 28, 28), 5, dtype=torch.uint8), Image.fromarray(colour)]
    found = model.preprocess(parts)
    assert found.shape == (4, *SHAPE)
    assert [int(p.max()) for p in found] == [7, 9, 5, 9]
    assert torch.equal(model.preprocess([grey, grey]), model.preprocess(np.stack([grey, grey])))


def test_grey_pictures_without_channels_are_taken_in_any_number(model):
    mnist = (
        torch.arange(67 * 28 * 28, dtype=torch.int32).view(67, 28, 28).to(torch.uint8)
    )  # 64 + 3: no batch of them is
    found = model.preprocess(mnist)  # taken for one picture in colour
    assert torch.equal(found, model.preprocess(mnist.numpy()))
    assert torch.equal(found, model.preprocess(mnist[:, None]))
    assert sum(len(part) for part in batches(mnist, SHAPE)) == 67


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_what_may_be_one_picture_or_three_is_refused(model, kind):
    with pytest.raises(ValueError, match="one in colour or 3 grey ones"):
        model.encode(kind(np.zeros((3, 32, 32), np.uint8)))
    assert read(kind(np.zeros((3, 32, 32), np.uint8)), (1, 16, 16)).pixels.shape == (3, 1, 16, 16)


def test_channels_in_the_other_place_have_their_way_out(model):
    with pytest.raises(ValueError, match=r"Expected an array .*torch.from_numpy"):
        model.encode(np.zeros((9, 3, 28, 28), np.uint8))
    with pytest.raises(ValueError, match="permute"):
        model.encode(torch.zeros((9, 28, 28, 3), dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"Expected a Gaussian over latents.*got int"):
        model.pictures(2, [torch.Generator()] * 2)


def test_an_ico_gives_its_largest_picture(tmp_path):
    Image.new("RGB", (64, 64), (9, 8, 7)).save(tmp_path / "a.ico", sizes=[(16, 16), (64, 64)])
    assert read(tmp_path / "a.ico", (3, 64, 64)).pixels[0, :, 0, 0].tolist() == [9, 8, 7]  # no padding
    with pytest.raises(ValueError, match="one of icons"):
        check_picture_file("grid.ico")  # it would be 256 x 256


def test_a_path_may_begin_with_ones_own_folder(model, model_file, folder, tmp_path, monkeypatch):
    from transflow import Latents, TrainConfig, load, load_posterior, train
    from transflow.generative.glow import GlowConfig

    home = tmp_path / "home"
    home.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(work)
    folder.rename(home / "pictures")
    (home / "m.safetensors").write_bytes(model_file.read_bytes())
    other = load("~/m.safetensors")
    assert load(Path("~/m.safetensors")).fingerprint == other.fingerprint == model.fingerprint
    posterior = other.condition("~/pictures")
    assert other.condition([Path("~/pictures/00.png")]).evidence.count == 1
    posterior.save("~/p.safetensors")
    assert load_posterior("~/p.safetensors").evidence.count == 12
    assert len(other.latents("~/pictures", "~/lat")) == len(Latents.open("~/lat")) == 12
    assert other.condition("~/lat").evidence.count == 12
    few = FewShotClassifier("~/m.safetensors", cache="~/cache").fit("~/pictures", [0, 1] * 6)
    few.save("~/few.safetensors")
    assert FewShotClassifier.load("~/few.safetensors").predict("~/pictures").shape == (12,)
    (home / "groups.csv").write_text("".join(f"{i:02d}.png,{i % 4}\n" for i in range(12)))
    config = TrainConfig(GlowConfig(size=8, steps=(1,), width=(4,)), epochs=1, batch=4, compile=False)
    train("~/pictures", "~/t.safetensors", config, groups="~/groups.csv")
    assert (home / "t.safetensors").exists()
    assert list(work.iterdir()) == []
    assert as_list("~/x") == [str(home / "x")]
