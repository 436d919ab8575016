"""The model in the package: as exact, as small and as good as its card says."""

import os
from pathlib import Path

import pytest
import torch

from transflow import TrainConfig, load
from transflow.library import names as hub
from transflow.pictures import decode as data
from transflow.pictures import grids as figures
from transflow.pictures.drawn import synthetic_pictures
from transflow.training.data import read_groups, split
from transflow.training.output import held_out_bits

PHOTOS = Path(os.environ.get("TRANSFLOW_PHOTOS", "nowhere"))  # a folder with the photographs of the card


@pytest.fixture(scope="module")
def faces():
    return load("faces-32")


@pytest.fixture(scope="module")
def own(faces):
    return figures.to_uint8(faces.pictures(faces.prior, 32, seed=0, temperature=0.7))


def extremes():
    board = torch.zeros(32, 32, dtype=torch.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    return torch.stack(
        [
            torch.zeros(3, 32, 32, dtype=torch.uint8),
            torch.full((3, 32, 32), 255, dtype=torch.uint8),
            board.expand(3, 32, 32),
            torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
        ]
    )


def test_it_is_small_and_has_a_card(faces):
    assert hub.find_file("faces-32").stat().st_size <= 12e6
    assert {"data", "licence", "bits_per_dim", "held_out_pictures", "parameters", "minutes"} <= set(faces.card)
    assert "non-commercial" in faces.card["licence"]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_round_trip_of_faces_and_of_what_is_nothing_like_them(faces, own, dtype, tolerance):
    source = load("faces-32", dtype=dtype).source
    assert source.fingerprint == faces.fingerprint
    pictures = torch.cat([own, synthetic_pictures("drawn", own, 0), extremes()])
    if PHOTOS.exists():
        pictures = torch.cat([pictures, data.read(PHOTOS / "evidence" / "red-hair", (3, 32, 32)).pixels])
    latents, log_prob = source.encode_and_log_prob(pictures)
    assert torch.isfinite(log_prob).all()
    assert (source.decode(latents) - faces.quantise(pictures)).abs().max() <= tolerance


def test_its_samples_look_typical_to_it_and_noise_does_not(faces, own):
    scores = faces.score(own)
    assert scores.radius.min() > 0.7  # the temperature they were drawn at; cutting them to 5 bits adds to it
    assert scores.radius.max() < 1
    strange = faces.score(extremes()[2:])
    assert strange.radius.max() < 2  # a likelihood far below, though, and not a latent far out
    assert strange.bits_per_dim.min() > scores.bits_per_dim.max() + 1


def test_grey_evidence_gives_greyer_pictures_and_a_tint_a_tint(faces, own):
    def chroma(pictures):
        return (pictures.amax(1) - pictures.amin(1)).mean().item()

    def redness(pictures):
        return (pictures[:, 0] - pictures[:, 1:].mean(1)).mean().item()

    before = faces.pictures(faces.prior, 32, seed=1, temperature=0.6)
    grey = faces.condition(synthetic_pictures("grey", own, 0)).pictures(32, seed=1)
    tinted = faces.condition(synthetic_pictures("tinted", own, 0)).pictures(32, seed=1)
    assert chroma(grey) < 0.8 * chroma(before)
    assert redness(tinted) > redness(before) + 0.05


def test_bits_per_dim_on_identities_it_never_saw_is_what_the_card_says(faces):
    if not PHOTOS.exists():
        pytest.skip("needs the photographs, which are not in the repository (TRANSFLOW_PHOTOS, see CONTRIBUTING.md)")
    config = TrainConfig(held_out=faces.card["held_out_share"], seed=faces.card["seed"])
    read = data.read(PHOTOS / "faces-64.tar", (3, 32, 32))
    _, held_out = split(read, config, read_groups(PHOTOS / "faces-64.csv"))
    assert len(held_out) == faces.card["held_out_pictures"]
    assert held_out_bits(faces.source, held_out) == pytest.approx(faces.card["bits_per_dim"], abs=1e-3)
