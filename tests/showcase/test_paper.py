"""The paper's figures: each can be made alone, from stand-ins or from one's own pictures, beside what is there."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from transflow import load, paper
from transflow.gaussians.gaussian import Gaussian
from transflow.generative.glow import Glow, GlowConfig
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel
from transflow.library import names
from transflow.pictures.grids import to_uint8
from transflow.pictures.pixels import PixelFormat
from transflow.pictures.written import kind_of
from transflow.showcase import paper_digits, paper_figures, paper_planes
from transflow.showcase.paper import FIGURES
from transflow.showcase.paper_pictures import KINDS, PaperPictures

QUICK = {"evidence": 4, "queries": 20}


@pytest.fixture(scope="module")
def given():
    return PaperPictures(load(names.DEFAULT), evidence=4, queries=20)


def test_a_page_of_some_figures(tmp_path):
    written = []
    only = ("gaussians", "figure-2", "magnitude", "cross-fade")
    page = paper(tmp_path / "out", only=only, report=written.append, **QUICK)
    shown = re.findall(r'src="([^"]+)"', page.read_text())
    assert shown == ["figure-2.png", "gaussians.png", "magnitude.gif", "cross-fade.png"]
    for name in shown:
        with Image.open(page.parent / name) as picture:
            assert min(picture.size) > 50
    assert len(written) == len(shown) + 1
    paper(tmp_path / "out", only=("figure-2",), **QUICK)  # ours is replaced without being asked


def test_figures_are_the_same_again(given):
    for make in (paper_figures.as_a_person, paper_figures.latent_map, paper_figures.arithmetic):
        assert make(given).content == make(given).content


def test_every_figure_of_faces_is_made(given, monkeypatch):
    monkeypatch.setattr(paper_figures, "MEASURED", 4)
    for name in ("figure-3", "figure-4", "figure-5", "figure-6", "figure-7", "figure-8"):
        assert FIGURES[name].make(given).content[1:4] == b"PNG"


def test_what_is_measured_is_1_for_the_evidence_and_0_for_the_model(given):
    class Fixed:
        def __init__(self, pictures):
            self.made = pictures

        def pictures(self, n, seed):
            return self.made

    evidence = given.changed("dark")
    as_floats = evidence.double() / 255
    assert paper_figures.measured(given, Fixed(as_floats), evidence) == "1.00 of the way, spread 1.00"
    assert paper_figures.measured(given, Fixed(given.samples.double() / 255), evidence).startswith("0.00 of the way")


def test_a_larger_lambda_goes_back_to_the_prior(given):
    words = paper_planes.plane(given).words
    distances = [float(number) for number in re.findall(r": ([\d.]+) from", words)]
    assert distances == sorted(distances)
    assert distances[0] < distances[-1]
    variances = [float(number) for number in re.findall(r"variance ([\d.]+)", words)]
    assert variances == sorted(variances)


def test_ellipses_hold_their_share():
    class Axis:
        rings = ()

        def plot(self, x, y, **_):
            self.rings += (np.stack([x, y], 1),)

    axis, gaussian = Axis(), Gaussian.of(torch.tensor([1.0, 2.0]), 0.7)
    paper_planes.ellipses(axis, gaussian, "red", "")
    drawn = gaussian.sample(20_000, seed=0) - gaussian.mean
    for level, ring in zip(paper_planes.LEVELS, axis.rings, strict=True):
        radius = np.linalg.norm(ring - gaussian.mean.numpy(), axis=1).mean()
        assert (drawn.norm(dim=1) < radius).double().mean().item() == pytest.approx(level, abs=0.015)


def test_accuracies_stand_beside_the_published_ones(tmp_path, given, monkeypatch):
    monkeypatch.setattr(paper_digits, "COUNTS", (1, 2))
    made = paper_digits.accuracy(given)
    rows = list(csv.reader(made.content.decode().splitlines()))
    assert made.suffix == ".csv"
    (tmp_path / "table-1.csv").write_bytes(made.content)
    assert kind_of(tmp_path / "table-1.csv") == "table"
    assert rows[0][1:] == ["1", "2"]
    assert rows[1] == ["paper: transflow", "30.39", "46.39"]
    here = [float(cell) for row in rows[4:] for cell in row[1:]]
    assert len(here) == 8
    assert all(0 <= cell <= 100 and cell % 5 == 0 for cell in here)  # of 20 queries
    assert max(here) > 30  # chance is 10


def test_digits_of_a_folder_and_of_an_archive(tmp_path, given):
    rng = np.random.default_rng(0)
    for name, level in (("dark", 30), ("light", 220)):
        (tmp_path / "classes" / name).mkdir(parents=True)
        for i in range(6):
            pixels = (level + rng.integers(0, 20, (9, 9))).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "classes" / name / f"{i}.png")
    found = PaperPictures(given.model, digits_at=tmp_path / "classes").digits
    assert len(found.pictures) + len(found.queries) == 12
    for pictures, labels in ((found.pictures, found.labels), (found.queries, found.truth)):
        assert ((pictures.double().mean((1, 2, 3)) > 120).long() == labels).all()
    x = rng.integers(0, 255, (20, 28, 28), dtype=np.uint8)
    y = np.arange(20) % 10
    np.savez(tmp_path / "digits.npz", x_train=x, y_train=y, x_test=x[:5], y_test=y[:5])
    found = PaperPictures(given.model, digits_at=tmp_path / "digits.npz").digits
    assert found.pictures.shape == (20, 3, 32, 32)
    assert sorted(found.truth.tolist()) == [0, 1, 2, 3, 4]


def test_own_pictures_take_the_place_of_stand_ins(tmp_path, given):
    for i, picture in enumerate(given.samples):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / f"{i}.png")
    own = PaperPictures(given.model, {"unlike": tmp_path})
    assert (own.of("unlike") == given.samples).all()
    assert own.words("unlike") == tmp_path.name


def test_the_reddest_are_redder(given):
    few = given.of("like")
    own = to_uint8(given.model.pictures(given.model.prior, 32, seed=1, temperature=0.7))

    def red(x):
        top = x[:, :, : x.shape[2] // 3].double().mean((2, 3))
        return (top[:, 0] - top[:, 2]).mean()

    assert red(few) > red(own)


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 8)])
def test_small_models_and_grey_ones(tmp_path, monkeypatch, channels, size):
    monkeypatch.setattr(paper_figures, "MEASURED", 4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = Glow(GlowConfig(channels=channels, size=size, steps=(2,), width=(8,)))
        flow.initialise(torch.rand(16, channels, size, size) - 0.5)
    save_model(tmp_path / "tiny.safetensors", PictureModel(flow, PixelFormat(5), {"name": "tiny"}))
    page = paper(tmp_path / "out", model=tmp_path / "tiny.safetensors", **QUICK)
    assert len(list(page.parent.iterdir())) == len(FIGURES) + 1
    few = PaperPictures(load(tmp_path / "tiny.safetensors"), evidence=4)
    assert few.words("like").startswith("the reddest" if channels == 3 else "the lightest")
    if channels == 1:
        top = [part[:, :, : size // 3].double().mean() for part in (few.of("like"), few.samples)]
        assert top[0] > top[1]


def test_without_matplotlib_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install 'transflow\[paper\]'"):
        paper(tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()
    assert paper(tmp_path / "out", only=["cross-fade"], **QUICK).exists()  # which needs none


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": ["figure-1"]}, "got figure-1"),
        ({"pictures": {"faces": "x"}}, f"Expected kinds of pictures among {', '.join(KINDS)}; got faces"),
        ({"evidence": 1}, "Expected two or more"),
        ({"pictures": {"unlike": "one"}, "only": ["figure-2"]}, "Expected two or more pictures; got 1: one"),
        ({"digits": "classes"}, "two or more classes, each with two or more pictures; got 2, 1 pictures: classes"),
        ({"digits": "one"}, "two or more classes"),
        ({"digits": "one/0.png"}, "Expected a folder of classes"),
        ({"digits": "floats.npz"}, "x_train of float64"),
        ({"digits": "text.npz"}, "y_train of <U1"),
        ({"digits": "flat.npz"}, r"x_train of uint8 \(4, 64\)"),
        ({"digits": "fewer.npz"}, r"y_train of int64 \(3,\)"),
    ],
)
def test_bad_input_before_the_work(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    for name in ("one/0", "classes/a/0", "classes/a/1", "classes/b/0"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 12)).save(f"{name}.png")
    for name, x, y in (
        ("floats", np.zeros((4, 8, 8)), np.arange(4)),
        ("text", np.zeros((4, 8, 8), np.uint8), np.array(list("abab"))),
        ("flat", np.zeros((4, 64), np.uint8), np.arange(4)),
        ("fewer", np.zeros((4, 8, 8), np.uint8), np.arange(3)),
    ):
        np.savez(f"{name}.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(ValueError, match=words):
        paper(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_name_is_no_list(tmp_path):
    with pytest.raises(TypeError, match=r"Give \['figure-2'\]"):
        paper(tmp_path / "out", only="figure-2")


def test_two_stand_ins_of_a_kind_are_enough(given):
    few = PaperPictures(given.model, evidence=2)
    for make in (paper_figures.latent_map, paper_figures.arithmetic, paper_figures.as_a_person):
        assert make(few).content[1:4] == b"PNG"
    assert paper_figures.magnitude(few).words.endswith("of 2 pictures")


def test_classes_of_few_pictures_have_evidence_and_queries(tmp_path, given):
    for name in "abcd":
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("L", (9 + i, 12 - i), 20 * i).save(tmp_path / name / f"{i}.png")
    found = PaperPictures(given.model, digits_at=tmp_path).digits
    assert found.labels.unique().tolist() == found.truth.unique().tolist() == [0, 1, 2, 3]


def test_what_is_wrong_with_ones_own_pictures_is_said_before_anything_is_written(tmp_path):
    (tmp_path / "one").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "a.png")
    for given in ({"pictures": {"other": tmp_path / "one"}}, {"digits": tmp_path / "one" / "a.png"}):
        with pytest.raises(ValueError, match="Expected"):
            paper(tmp_path / "out", only=["magnitude"], **given)
    assert not (tmp_path / "out").exists()


def test_another_archive_is_refused(tmp_path, given):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="x_train, y_train"):
        _ = PaperPictures(given.model, digits_at=tmp_path / "other.npz").digits
