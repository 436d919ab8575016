"""Sets of pictures as other libraries hold them: torch's and torchvision's datasets and loaders, those of Hugging Face.

    an item       a picture, (picture, label, ...), or a dictionary with "image" or "img", and "label"
    a batch       of a `torch.utils.data.DataLoader`: the same, of tensors (B, C, H, W) or (B, H, W); or a list of items

Floats in [0, 1], such as torchvision's `ToTensor` makes, are taken as the levels that they were; normalised ones are
refused, since what they were is not known. A stream that never ends is read for as long: give a part of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

IMAGES, LABELS = ("image", "img", "pixel_values"), ("label", "labels", "fine_label")
FORMS = "a picture, (picture, label) or a dictionary with an image"


def is_dataset(value: Any) -> bool:
    """Return whether something is a dataset or a loader, without importing the library that it is of."""
    data = sys.modules.get("torch.utils.data")  # which is slow to import, and wants a temporary folder
    if data is not None and isinstance(value, (data.Dataset, data.DataLoader)):
        return True
    home = type(value).__module__.partition(".")[0]
    return home == "datasets" and hasattr(value, "column_names")


def parts(dataset: Any, batch: int) -> Iterator[tuple[Any, list[Any] | None]]:
    """Yield pictures, as `pictures.preprocess` takes them, and their labels, ``batch`` at a time.

    Args:
        dataset: see `is_dataset`.
        batch: how many of a dataset; a loader has its own.

    Raises:
        TypeError: an item is none of those forms, or there are several sets in one.
        ValueError: floats beyond [0, 1].
    """
    if isinstance(dataset, Mapping):
        raise TypeError(f"Expected one dataset; got several, {', '.join(map(str, dataset))}. Give one of them.")
    if _is(dataset, "DataLoader"):
        alone = dataset.batch_size is None and dataset.batch_sampler is None
        for given in dataset:
            pictures, labels = _collated(given, alone)
            if isinstance(pictures, list):
                pictures = _together([_alone(picture) for picture in pictures])
            else:
                pictures = _levels(
                    pictures[:, None] if isinstance(pictures, Tensor) and pictures.ndim == 3 else pictures
                )
            yield pictures, None if labels is None else _named(dataset, labels)
        return
    some: list[Any] = []
    names: list[Any] = []
    for item in _items(dataset):
        picture, label = _split(item)
        some.append(_alone(picture))
        names.append(label)
        if len(some) == batch:
            yield _together(some), _named(dataset, names)
            some, names = [], []
    if some:
        yield _together(some), _named(dataset, names)


def labelled(dataset: Any, batch: int) -> tuple[list[Any], list[Any]]:
    """Return the batches of pictures of a dataset, and all labels.

    Raises:
        ValueError: it has no labels.
    """
    batches, names = [], []
    for pictures, labels in parts(dataset, batch):
        if labels is None:
            raise ValueError("Expected a dataset with labels, or labels beside it; got neither. Give y.")
        batches.append(pictures)
        names += labels
    return batches, names


def _is(value: Any, kind: str) -> bool:
    """Whether something is of a class of `torch.utils.data`."""
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(value, getattr(data, kind))


def _items(dataset: Any) -> Iterator[Any]:
    if _is(dataset, "IterableDataset") or (count := _count(dataset)) is None:
        yield from dataset
        return
    for i in range(count):
        yield dataset[i]


def _count(dataset: Any) -> int | None:
    """How many items there are; None where a dataset does not say."""
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):
        return None


def _collated(given: Any, alone: bool) -> tuple[Any, Any]:
    """The pictures of what a loader gives, one tensor or array, or a list of single ones, and their labels.

    Args:
        given: a batch, of tensors or a list of items; or a single item.
        alone: whether the loader makes no batches itself; its dataset may.
    """
    if isinstance(given, (tuple, list)) and given and _are_items(given, alone):
        pairs = [_split(item) for item in given]
        return [picture for picture, _ in pairs], [label for _, label in pairs]
    pictures, labels = _split(given)
    if alone and (isinstance(pictures, Image.Image) or getattr(pictures, "ndim", 0) in (2, 3)):
        return [pictures], [labels]
    return list(pictures) if isinstance(pictures, (tuple, list)) else pictures, labels


def _are_items(given: Sequence[Any], alone: bool) -> bool:
    """Whether a list is one of items, as ``collate_fn=list`` makes it, and not of pictures and of their labels.

    A tuple of tuples is both, where its first holds pictures alone: then it is taken as ``tuple(zip(*items))``.
    """
    if all(isinstance(item, Mapping) for item in given):
        return True
    if all(isinstance(item, Image.Image) for item in given):
        return isinstance(given, list) and not alone
    if not all(isinstance(item, tuple) for item in given):
        return False
    columns = all(_is_picture(part) for part in given[0])
    if isinstance(given, list):
        columns = columns and len(given) > 1 and not all(_is_picture(part) for part in given[1])
    return not columns


def _is_picture(value: Any) -> bool:
    return isinstance(value, Image.Image) or (isinstance(value, (Tensor, np.ndarray)) and value.ndim > 1)


def _split(item: Any) -> tuple[Any, Any]:
    """The picture, or pictures, of an item or a batch, and its label, None where it has none."""
    if isinstance(item, Mapping):
        image = next((item[key] for key in IMAGES if key in item), None)
        if image is None:
            raise TypeError(f"Expected items with {', '.join(IMAGES)}; got {', '.join(map(str, item))}.")
        return image, next((item[key] for key in LABELS if key in item), None)
    if isinstance(item, (tuple, list)):
        if not item:
            raise TypeError(f"Expected items, each {FORMS}; got an empty one.")
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _alone(picture: Any) -> Any:
    """One picture: PIL as it is, arrays and tensors with a dimension for the batch."""
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, (Tensor, np.ndarray)) and picture.ndim in (2, 3):
        if isinstance(picture, Tensor) and picture.ndim == 2:
            picture = picture[None]
        return _levels(picture[None])
    shape = f" of shape {tuple(picture.shape)}" if isinstance(picture, (Tensor, np.ndarray)) else ""
    raise TypeError(f"Expected items, each {FORMS}; got {type(picture).__name__}{shape}.")


def _together(pictures: Sequence[Any]) -> Any:
    """Pictures as one batch where they have one size, else each as PIL."""
    if all(isinstance(picture, Tensor) for picture in pictures) and len({p.shape for p in pictures}) == 1:
        return torch.cat(list(pictures))
    if all(isinstance(picture, np.ndarray) for picture in pictures) and len({p.shape for p in pictures}) == 1:
        return np.concatenate(pictures)
    return [_as_pil(picture) for picture in pictures]


def _as_pil(picture: Any) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    pixels = (picture.permute(0, 2, 3, 1).numpy() if isinstance(picture, Tensor) else picture)[0]
    if pixels.dtype != np.uint8 or (pixels.ndim == 3 and pixels.shape[-1] not in (1, 3, 4)):
        got = f"{pixels.dtype} of shape {pixels.shape}"
        raise TypeError(f"Expected pictures of uint8, (H, W) or with 1, 3 or 4 channels; got {got}.")
    return Image.fromarray(
        np.ascontiguousarray(pixels.squeeze(-1) if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)
    )


def _levels(pictures: Any) -> Any:
    """Floats in [0, 1] as the 256 levels that they stand for; whole numbers as they are."""
    if isinstance(pictures, list):
        return pictures
    values = pictures if isinstance(pictures, Tensor) else torch.from_numpy(np.ascontiguousarray(pictures))
    if not values.is_floating_point():
        return pictures  # which is refused
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("Expected pictures as uint8, or floats in [0, 1]; got floats beyond. Take Normalize out.")
    found = (values * 255).round().to(torch.uint8)
    return found if isinstance(pictures, Tensor) else found.numpy()


def _named(dataset: Any, labels: Any) -> list[Any] | None:
    """Labels as plain values, by their names where the dataset says them."""
    values = labels.tolist() if isinstance(labels, (Tensor, np.ndarray)) else list(labels)
    values = [
        value.item() if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1) else value
        for value in values
    ]
    if any(value is None for value in values):
        return None
    names = _class_names(dataset)
    if names and all(isinstance(value, int) and 0 <= value < len(names) for value in values):
        return [names[value] for value in values]
    return values


def _class_names(dataset: Any) -> Sequence[str] | None:
    """The names of classes that a dataset has, or the one that it is a part or a loader of."""
    while dataset is not None:
        features = getattr(dataset, "features", None)
        known = next((features[key] for key in LABELS if isinstance(features, Mapping) and key in features), None)
        if names := getattr(known, "names", None) or getattr(dataset, "classes", None):
            return list(names)
        dataset = getattr(dataset, "dataset", None)
    return None
