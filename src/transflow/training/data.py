"""What each step is shown: pictures in an order, mirroring and noise that are functions of seed and counters alone.

So a resumed run is the run that was not stopped. Part of the pictures is held out for validation, with groups of file
names (the photographs of one person, say) whole.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from transflow.pictures.decode import PictureBatch
from transflow.store.files import PathLike, at_home, check_regular
from transflow.training.config import PICTURES_PER_OUTLIER, TrainConfig
from transflow.training.outliers import outlier_pictures
from transflow.training.state import TrainingState


def epoch_order(count: int, epoch: int, seed: int) -> Tensor:
    """Return the order in which an epoch shows its pictures, a permutation of count."""
    generator = torch.Generator().manual_seed((seed * 100_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator, device="cpu")


def draw_batch(pixels: Tensor, state: TrainingState) -> Tensor:
    """Return the next batch as floats (B, C, H, W), made, and its noise drawn, on the run's device."""
    count, config = len(pixels), state.config
    first, last = state.seen, state.seen + config.batch
    epochs = range(first // count, (last - 1) // count + 1)
    parts = [epoch_order(count, e, config.seed)[max(0, first - e * count) : last - e * count] for e in epochs]
    generator = torch.Generator().manual_seed(state.step_seed)
    batch = pixels[torch.cat(parts)]
    if config.flip:
        mirrored = torch.rand(len(batch), generator=generator, dtype=torch.float32, device="cpu") < 0.5
        batch = torch.where(mirrored[:, None, None, None], batch.flip(-1), batch)
    if state.device.type != "cpu":
        batch = batch.to(state.device)
        generator = torch.Generator(state.device).manual_seed(state.step_seed)
    return state.pixels.dequantise(batch, generator)


def draw_outliers(batch: Tensor, state: TrainingState) -> Tensor:
    """Return the outliers that go with a batch, (B // 8, C, H, W); none where none are asked for."""
    if not state.config.outliers:
        return batch[:0]
    generator = torch.Generator(batch.device).manual_seed(state.step_seed)
    return outlier_pictures(batch, len(batch) // PICTURES_PER_OUTLIER, generator)


def draw_inputs(pixels: Tensor, state: TrainingState) -> tuple[Tensor, ...]:
    """Return the tensors that the family's loss takes in the next step: those of the batch, then of its outliers."""
    batch = draw_batch(pixels, state)
    outliers = draw_outliers(batch, state)
    x = torch.cat([batch, outliers]) if len(outliers) else batch
    generator = torch.Generator(x.device).manual_seed(state.step_seed ^ (1 << 62))  # apart from the batch's
    return state.config.family.prepare(state.flow, x, generator)


def check_pictures(pixels: Tensor, config: TrainConfig) -> None:
    """Raise `ValueError` if these pictures, uint8 (B, C, H, W), cannot train a model as they are."""
    if config.family.lenient:
        return
    if len(pixels) < config.batch:
        raise ValueError(
            f"Expected at least as many pictures to train on as a batch has, {config.batch}; got {len(pixels)}. "
            "Give more pictures, or a smaller batch."
        )
    if pixels.shape[1] == 3 and bool((pixels == pixels[:, :1]).all()):
        raise ValueError("Expected pictures in colour, for a model of 3 channels; got grey ones alone. Make it grey.")


def read_groups(path: PathLike) -> dict[str, str]:
    """Return the group of each file name, of a CSV whose first two columns they are.

    Columns are separated by commas, semicolons or tabs; names may have folders before them; accented letters may be
    composed or not.

    Raises:
        OSError, ValueError: the file cannot be read, is no CSV, or has a name in two groups.
    """
    check_regular(path, "a CSV of file names and groups")
    try:
        content = Path(at_home(path)).read_bytes()
    except OSError as error:
        raise OSError(f"Expected a CSV of file names and groups; got {path} ({error.strerror})") from None
    table: dict[str, str] = {}
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)):
            if len(row) > 1 and table.setdefault(_key(row[0]), row[1]) != row[1]:
                both = f"{row[0]} in {table[_key(row[0])]} and in {row[1]}"
                raise ValueError(f"Expected each file name in one group; got {both}: {path}")
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"Expected a CSV of file names and groups; got another file ({error}): {path}") from None
    return table


def group_of(name: str, groups: Mapping[str, str]) -> str:
    """Return the group of a picture: by its path, as much of it as the table has, else by its file's name alone.

    Raises:
        ValueError: it has none.
    """
    parts = _key(name).split("/")
    for first in range(len(parts)):
        if (group := groups.get("/".join(parts[first:]))) is not None:
            return group
    raise ValueError(f"Expected each picture in a group; got none for {name}.")


def _key(name: str) -> str:
    """A path as the table has it: composed, with /, without . at its beginning."""
    if any("\udc80" <= letter <= "\udcff" for letter in name):  # bytes that the locale has no letters for
        name = os.fsencode(name).decode(errors="surrogateescape")
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/")).removeprefix("./")


def _delimiter(text: str) -> str:
    """What separates the columns: what every line has, a tab or a semicolon before a comma."""
    lines = [line for line in text.splitlines()[:100] if line.strip()]
    return next((sign for sign in "\t;" if lines and all(sign in line for line in lines)), ",")


def split(pictures: PictureBatch, config: TrainConfig, groups: dict[str, str] | None) -> tuple[Tensor, Tensor]:
    """Return training and held-out pixels; with groups (identities, say) of file names, no group is in both."""
    if groups is None:
        members: Sequence[str] = pictures.names
    else:
        members = [group_of(name, groups) for name in pictures.names]
    names = sorted(set(members))
    shuffled = torch.randperm(len(names), generator=torch.Generator().manual_seed(config.seed), device="cpu").tolist()
    chosen = {names[i] for i in shuffled[: max(1, round(len(names) * config.held_out))]}
    held_out = torch.tensor([member in chosen for member in members], dtype=torch.bool, device="cpu")
    if held_out.all():
        raise ValueError(f"Expected pictures to train on beside the held-out ones; got {len(names)} in all.")
    return pictures.pixels[~held_out], pictures.pixels[held_out]
