"""What is drawn, a font has: no box for a letter."""

import numpy as np
import pytest
import torch
from PIL import ImageFont

from transflow.pictures import fonts, grids
from transflow.pictures.fonts import drawable, fitting_font, has_letters

OWN = ImageFont.load_default(size=13)


def test_a_font_lacks_what_it_draws_as_a_box():
    assert has_letters(OWN, "cat dog 0.5m")
    assert not has_letters(OWN, "\u72ac")
    assert not has_letters(OWN, "cat \u732b")


def test_words_that_no_font_has_are_numbers(monkeypatch):
    monkeypatch.setattr(fonts, "SYSTEM", ("no such font.ttf",))
    assert drawable(["cat", "\u72ac", "\u732b"], fitting_font(["cat", "\u72ac"], 13)) == ["cat", "2", "3"]
    counts = torch.tensor([[3, 1], [0, 4]])
    kanji = np.asarray(grids.confusion(counts, ["\u72ac", "\u732b"]))
    assert np.array_equal(kanji, np.asarray(grids.confusion(counts, ["1", "2"])))


def test_a_font_of_the_system_is_used_where_it_has_the_letters():
    cyrillic = "\u0416\u0449"
    try:
        ImageFont.truetype("DejaVuSans.ttf", 13)
    except OSError:
        pytest.skip("no DejaVu here")
    if has_letters(OWN, cyrillic):
        pytest.skip("Pillow's own font has it")
    assert has_letters(fitting_font([cyrillic], 13), cyrillic)
