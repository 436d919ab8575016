"""Examples without one of each class, and latents of one length."""

import math

import torch

from fewshot_data import examples, latents
from transflow.fewshot.examples import normalise


def test_a_class_of_one_example_loses_none():
    rows, labels = latents(copies=2)
    keep = torch.tensor([0, 1, 2, 3, 4, 6, 7])  # class 2 has one
    whole = examples(rows[keep], labels[keep])
    counts, means, scatter = whole.without(torch.tensor([0, 1, -1]))
    assert counts.tolist() == [2, 2, 1]
    torch.testing.assert_close(means[2], whole.means[2])
    torch.testing.assert_close(scatter[2], whole.scatter[2])
    rest = examples(rows[keep][2:], labels[keep][2:])
    torch.testing.assert_close(means, rest.means)
    torch.testing.assert_close(scatter, rest.scatter)


def test_normalised_latents_have_the_length_of_typical_ones():
    z = 7 * torch.randn(5, 3, 50, dtype=torch.float64)
    found = normalise(z)
    torch.testing.assert_close(found.norm(dim=-1), torch.full((5, 3), math.sqrt(50), dtype=torch.float64))
    torch.testing.assert_close(normalise(3 * z), found)
    assert torch.isfinite(normalise(torch.zeros(2, 4))).all()
