"""Digits are classified by a model's latents: well by pixels, no better than chance by a model that shuffles them."""

import torch

from transflow import Gaussian, Model
from transflow.estimators.digits import digit_accuracy


class Pixels:
    """Latents are pixels."""

    prior = Gaussian.standard(64)
    shape = (1, 8, 8)

    def encode(self, pictures):
        return pictures.flatten(1) / 64.0 - 2

    def decode(self, latents):
        return ((latents + 2) / 4).clamp(0, 1).view(-1, *self.shape)


class Shuffled(Pixels):
    """Every picture's pixels in another order."""

    def encode(self, pictures):
        generator = torch.Generator().manual_seed(0)
        return torch.stack([z[torch.randperm(64, generator=generator)] for z in super().encode(pictures)])


def test_pixels_separate_digits_and_shuffled_ones_do_not():
    assert digit_accuracy(Model(Pixels())) > 0.8
    assert digit_accuracy(Model(Shuffled())) < 0.3


def test_the_accuracy_is_a_function_of_the_seed():
    assert digit_accuracy(Model(Pixels()), 1) == digit_accuracy(Model(Pixels()), 1)
