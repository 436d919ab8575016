"""Datasets of torch, torchvision and Hugging Face are taken as the pictures that they hold, labels and all."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from transflow import FewShotClassifier
from transflow.pictures.datasets import labelled, parts
from transflow.pictures.decode import read

SHAPE = (3, 16, 16)


class Listed(Dataset):
    """As torchvision's: items and, perhaps, the names of classes."""

    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Streamed(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class Unsized(Listed):
    """As some wrap a stream: a length that is not known."""

    def __len__(self):
        raise NotImplementedError

    def __iter__(self):
        return iter(self.items)


def as_pil(picture):
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


@pytest.fixture
def forms(pixels):
    """The same pictures in every form."""
    images, floats = [as_pil(p) for p in pixels], [p / 255 for p in pixels]
    return {
        "PIL": Listed(images),
        "PIL with labels": Listed([(image, 0) for image in images]),
        "dictionaries": Listed([{"image": image, "label": 1} for image in images]),
        "tensors": Listed(list(pixels)),
        "floats": Listed(floats),
        "arrays": Listed([p.permute(1, 2, 0).numpy() for p in pixels]),
        "a stream": Streamed([(p, 3) for p in pixels]),
        "TensorDataset": TensorDataset(pixels, torch.zeros(len(pixels))),
        "a loader": DataLoader(TensorDataset(pixels, torch.zeros(len(pixels))), batch_size=5),
        "a loader of floats": DataLoader(Listed(floats), batch_size=5),
        "no length": Unsized(list(pixels)),
        "half precision": Listed([(p / 255).half() for p in pixels]),
        "double precision": Listed([p.double() / 255 for p in pixels]),
        "a loader of items": DataLoader(Listed([(p, 0) for p in pixels]), batch_size=None),
        "a loader of pictures": DataLoader(Listed(list(pixels)), batch_size=None),
        "a loader of batches": DataLoader(Listed([(p, torch.zeros(4)) for p in pixels.split(4)]), batch_size=None),
        "a loader of lists": DataLoader(Listed([(image, 0) for image in images]), batch_size=5, collate_fn=list),
        "a loader of lists of PIL": DataLoader(Listed(images), batch_size=5, collate_fn=list),
        "a loader of lists of tensors": DataLoader(Listed([(p, "a") for p in pixels]), batch_size=5, collate_fn=list),
        "a loader of lists of pairs": DataLoader(Listed([(p, p) for p in pixels]), batch_size=5, collate_fn=list),
        "a loader of tuples": DataLoader(Listed([(p, 1) for p in pixels]), batch_size=5, collate_fn=tuple),
        "a loader of pairs of PIL": DataLoader(Listed([(image, image) for image in images]), batch_size=None),
        "a loader of columns": DataLoader(
            Listed([(p, 1) for p in pixels]), batch_size=5, collate_fn=lambda items: list(zip(*items, strict=True))
        ),
        "a loader of pairs of tuples": DataLoader(
            Listed([(p, {"box": 1}) for p in floats]),
            batch_size=5,
            collate_fn=lambda items: tuple(zip(*items, strict=True)),
        ),
        "a loader of dictionaries": DataLoader(Listed([{"pixel_values": p} for p in pixels]), batch_size=5),
    }


def test_every_form_gives_the_same_pictures(forms, pixels):
    for name, given in forms.items():
        assert torch.equal(read(given, SHAPE).pixels, pixels), name


def test_models_take_them(model, forms, pixels):
    expected = model.condition(pixels, "0.5m").evidence
    for name in ("PIL", "a loader", "a stream"):
        torch.testing.assert_close(model.condition(forms[name], "0.5m").evidence.total, expected.total)


def test_sizes_may_differ():
    images = [Image.new("RGB", (16 + i, 20), (i, 0, 0)) for i in range(3)]
    assert read(Listed(images), SHAPE).pixels.shape == (3, *SHAPE)
    mixed = [torch.zeros(3, 16, 16, dtype=torch.uint8), torch.zeros(3, 20, 18, dtype=torch.uint8)]
    assert read(Listed(mixed), SHAPE).pixels.shape == (2, *SHAPE)


def test_grey_tensors_become_the_models_colours():
    grey = [torch.full((16, 16), 7, dtype=torch.uint8), torch.full((1, 16, 16), 7, dtype=torch.uint8)]
    assert (read(Listed(grey), SHAPE).pixels == 7).all()
    assert (read(DataLoader(Listed(grey[:1] * 5), batch_size=2), SHAPE).pixels == 7).all()


def test_classes_of_labelled_sets(model, pixels):
    light, dark = (pixels.float() * 0.4 + 150).to(torch.uint8)[:6], (pixels.float() * 0.4).to(torch.uint8)[6:]
    items = [(as_pil(p), 0) for p in light] + [(as_pil(p), 1) for p in dark]
    named = FewShotClassifier(model, noise="0.5m").fit(Listed(items, ["light", "dark"]))
    assert named.classes_.tolist() == ["dark", "light"]
    assert named.predict(light).tolist() == ["light"] * 6
    assert FewShotClassifier(model, noise="0.5m").fit(Listed(items)).classes_.tolist() == [0, 1]
    part = Subset(Listed(items, ["light", "dark"]), range(2, 10))
    assert labelled(part, 3)[1] == ["light"] * 4 + ["dark"] * 4
    assert labelled(DataLoader(part, batch_size=3, collate_fn=list), 3)[1] == ["light"] * 4 + ["dark"] * 4
    loader = DataLoader(TensorDataset(torch.cat([light, dark]), torch.tensor([0] * 6 + [1] * 6)), batch_size=4)
    assert FewShotClassifier(model, noise="0.5m").fit(loader).predict(dark).tolist() == [1] * 6
    with pytest.raises(ValueError, match="Give y"):
        FewShotClassifier(model, noise="0.5m").fit(Listed([p for p, _ in items]))


@pytest.mark.filterwarnings("ignore")
def test_sets_of_hugging_face(model, pixels):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["light", "dark"])})
    rows = {"image": [as_pil(p) for p in pixels], "label": [0, 1] * 6}
    given = datasets.Dataset.from_dict(rows, features=features)
    assert torch.equal(read(given, SHAPE).pixels, pixels)
    assert FewShotClassifier(model, noise="0.5m").fit(given).classes_.tolist() == ["dark", "light"]


def test_bad_input(pixels):
    with pytest.raises(ValueError, match="Take Normalize out"):
        read(Listed([p / 127.5 - 1 for p in pixels]), SHAPE)
    with pytest.raises(TypeError, match="got str"):
        read(Listed(["a.png"]), SHAPE)
    with pytest.raises(TypeError, match="Expected items with image"):
        read(Listed([{"picture": pixels[0]}]), SHAPE)
    with pytest.raises(TypeError, match="of shape"):
        read(Listed([np.zeros(3)]), SHAPE)
    with pytest.raises(TypeError, match="Expected one dataset; got several, train, test"):
        _ = list(parts({"train": 1, "test": 2}, 4))
    for wrong in (torch.zeros(2, 9, 9, dtype=torch.uint8), torch.zeros(3, 9, 9, dtype=torch.int64)):
        with pytest.raises(TypeError, match="Expected pictures of uint8"):
            read(Listed([wrong, wrong[:, 1:]]), SHAPE)
    with pytest.raises(ValueError, match="at least one"):
        read(Listed([]), SHAPE)


def test_a_folder_of_latents_is_of_files(model, pixels, tmp_path):
    for given in (Listed(list(pixels)), DataLoader(Listed(list(pixels)))):
        with pytest.raises(TypeError, match="Expected files, which a folder of latents is of; got a dataset"):
            model.latents(given, tmp_path / "latents")
    assert not (tmp_path / "latents").exists()
