"""Outliers: in the range of other pictures, the same for the same seed; and a flow that is shown them heeds it."""

from dataclasses import replace

import pytest
import torch

from helpers import CONFIG
from transflow import train
from transflow.training.data import draw_outliers
from transflow.training.losses import nll_per_dim
from transflow.training.outliers import outlier_pictures
from transflow.training.state import TrainingState


def draw(n=16, channels=3, size=8, seed=0):
    photos = torch.linspace(-0.3, 0.3, n)[:, None, None, None].expand(n, channels, size, size).contiguous()
    return photos, outlier_pictures(photos, n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 16)])
def test_they_are_pictures_in_range_of_four_kinds(channels, size):
    photos, made = draw(16, channels, size)
    assert made.shape == photos.shape
    assert made.abs().max() <= 0.5
    assert torch.equal(made, draw(16, channels, size)[1])
    assert not torch.equal(made, draw(16, channels, size, seed=1)[1])
    for photo, bar in zip(photos[1::4], made[1::4], strict=True):
        rows = (bar != photo).flatten(0, 1).reshape(channels, size, size).any(2).any(0)
        assert 0 < rows.sum() < size
    for board in made[2::4]:
        assert len(board.flatten(1).unique(dim=1).T) <= 2
    for photo, grain in zip(photos[3::4], made[3::4], strict=True):
        assert (grain - photo).mean().abs() < 3 * (grain - photo).std() / photo.numel() ** 0.5 + 0.05


def test_a_run_shows_them_and_heeds_the_penalty(folder, tmp_path):
    """Outliers get less unlikely than without, and what is reported is the likelihood of the others."""
    unlikely = {}
    for weight in (0.0, 1.0):
        config = replace(CONFIG, outliers=weight, epochs=60, interval=60)
        told = []
        model = train(folder, tmp_path / f"{weight}.safetensors", config, report=told.append)
        odd = draw_outliers(torch.zeros(8, 3, 8, 8), TrainingState(config, torch.device("cpu")))
        assert len(odd) == (1 if weight else 0)
        with torch.no_grad():
            unlikely[weight] = nll_per_dim(*model.source.flow(draw(64)[1])).mean().item()
    assert unlikely[1.0] < 0.9 * unlikely[0.0]
    assert told[-1].bits_per_dim < 5
