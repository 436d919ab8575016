"""The mesh is used only where its weights are, without being imported to find out; and in its turn."""

import sys

import numpy as np
import pytest

from transflow.faces import mesh
from transflow.faces.detector import InTurn
from transflow.pictures.drawn import draw_face
from transflow.pictures.turned import EYES_APART, EYES_HEIGHT, Eyes


class Spec:
    def __init__(self, place):
        self.submodule_search_locations = [str(place)]


def test_weights_are_looked_for_and_nothing_is_imported(tmp_path, monkeypatch):
    monkeypatch.setattr(mesh, "find_spec", lambda name: None)
    assert not mesh.has_mesh()
    monkeypatch.setattr(mesh, "find_spec", lambda name: Spec(tmp_path))
    assert not mesh.has_mesh()
    for name in mesh.WEIGHTS:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    before = set(sys.modules)
    assert mesh.has_mesh()
    assert set(sys.modules) == before


def test_the_second_is_asked_where_the_first_finds_none():
    eyes, asked = [Eyes((0, 0), (1, 0))], []
    second = InTurn(lambda pixels: asked.append(1) or [], lambda pixels: asked.append(2) or eyes)
    assert second(np.zeros((2, 2, 3), np.uint8)) == eyes
    assert asked == [1, 2]
    first = InTurn(lambda pixels: eyes, lambda pixels: pytest.fail("asked"))
    assert first(np.zeros((2, 2, 3), np.uint8)) == eyes
    assert InTurn(lambda pixels: [])(np.zeros((2, 2, 3), np.uint8)) == []


def test_drawn_faces_by_the_mesh():
    if not mesh.has_mesh():
        pytest.skip("needs mediapipe 0.10.21, which brings its weights")
    find = mesh.FaceMesh()
    for seed in range(4):
        (eyes,) = find(np.asarray(draw_face(np.random.default_rng(seed), 256)))
        for point, x in ((eyes.left, 0.5 - EYES_APART / 2), (eyes.right, 0.5 + EYES_APART / 2)):
            assert np.allclose(point, (x * 256, EYES_HEIGHT * 256), atol=10)
