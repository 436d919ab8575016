"""Pictures made by code are of the kind asked for, and a function of the seed."""

import numpy as np
import pytest
import torch

from transflow.pictures.drawn import KINDS, draw_face, synthetic_pictures

OWN = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_shape_of_the_samples_and_repeats(kind):
    made = synthetic_pictures(kind, OWN, 0)
    assert made.dtype == torch.uint8
    assert made.shape == OWN.shape
    assert torch.equal(made, synthetic_pictures(kind, OWN, 0))
    assert not torch.equal(made, OWN)


def test_kinds_are_what_they_are_called():
    grey, tinted, covered = (synthetic_pictures(kind, OWN, 0) for kind in ("grey", "tinted", "covered"))
    assert torch.equal(grey[:, 0], grey[:, 2])
    assert (tinted[:, 0].double().mean() > 1.5 * tinted[:, 2].double().mean()).item()
    changed = (covered != OWN).any(0).any(0)
    assert changed.any(1).nonzero().flatten().tolist() == list(range(12, 17))
    assert not torch.equal(synthetic_pictures("drawn", OWN, 0), synthetic_pictures("drawn", OWN, 1))


def test_a_drawn_face_has_its_eyes_where_the_models_expect_them():
    """A quarter of the width apart, centred at 45 % of the height: the whites beside dark pupils."""
    pixels = np.asarray(draw_face(np.random.default_rng(0), 200))
    assert pixels[90, 75].max() < 80
    assert pixels[90, 125].max() < 80


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="one of grey, tinted, covered, drawn; got blue"):
        synthetic_pictures("blue", OWN, 0)
