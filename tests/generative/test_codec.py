"""The encoder and decoder of autoencoders: any size, no look across a batch, sizes refused that they cannot do."""

import pytest
import torch

from helpers import shaken
from transflow.generative.codec import CodecConfig, Decoder, Encoder


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (2, 9, 13), (1, 8, 64)])
def test_pictures_of_any_size_become_as_many_numbers_and_pictures_again(shape):
    config = CodecConfig(shape, latent=5, widths=(8, 16, 8))
    encoder, decoder = Encoder(config, 7), Decoder(config)
    assert encoder(torch.zeros(2, *shape)).shape == (2, 7)
    assert decoder(torch.zeros(2, 5)).shape == (2, *shape)
    weights = sum(p.numel() for module in (encoder, decoder) for p in module.parameters())
    assert config.fewest_weights < weights


def test_nothing_looks_across_a_batch():
    config = CodecConfig((3, 12, 8), latent=4, widths=(8, 8))
    encoder, decoder = (shaken(make, torch.float64) for make in (lambda: Encoder(config, 4), lambda: Decoder(config)))
    x = torch.rand(5, 3, 12, 8, dtype=torch.float64)
    z = encoder(x)
    torch.testing.assert_close(torch.cat([encoder(part) for part in x.split(1)]), z)
    torch.testing.assert_close(torch.cat([decoder(part) for part in z.split(1)]), decoder(z))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"latent": 1}, "latent of 2 to 128 numbers; got 1"),
        ({"latent": 129}, "latent of 2 to 128"),
        ({"widths": ()}, "multiples of 8"),
        ({"widths": (12,)}, "multiples of 8"),
        ({"shape": (3, 7, 32)}, "height and width of 8 or more, to halve 3 times; got 7 and 32"),
        ({"shape": (0, 32, 32)}, "shape"),
    ],
)
def test_what_it_cannot_do_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        CodecConfig(**fields)
