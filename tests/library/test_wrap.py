"""Any model by what it is: what is missing or unknown is said with what there is."""

import pytest
import torch

import transflow
from transflow import Gaussian, Model


class Doubling:
    prior = Gaussian.standard(4)

    def encode(self, pictures):
        return pictures.flatten(1) * (2 / 255)

    def decode(self, latents):
        return latents.view(-1, 1, 2, 2) / 2


def test_what_is_a_model_is_kept():
    model = Model(Doubling(), "mine")
    assert transflow.wrap(model) is model
    assert transflow.wrap(Doubling(), name="theirs").name == "theirs"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "got none"),
        ({"encode": len}, "got encode="),
        ({"encode": len, "decode": len, "latent": 3}, "got decode= and encode= and latent="),
        ({"model": 3}, "got int"),
        ({"model": Doubling(), "steps": 3}, "no options"),
        ({"model": Doubling(), "velocity": len}, "a model and velocity="),
    ],
)
def test_what_is_none_is_refused(options, words):
    with pytest.raises(TypeError, match=words) as caught:
        transflow.wrap(**options)
    assert "\n" not in str(caught.value)


class Off(Doubling):
    """What it decodes is darker than what was encoded."""

    def decode(self, latents):
        return 0.9 * super().decode(latents)


def test_an_object_whose_decode_does_not_undo_its_encode_is_refused():
    with pytest.raises(ValueError, match=r"undoes its encode to 0.01.*errs by 0.0.*inexact=True") as caught:
        transflow.wrap(Off())
    assert "\n" not in str(caught.value)
    assert transflow.wrap(Off(), inexact=True).source.prior.is_standard
    known = Off()
    known.exactness = 0.1
    assert transflow.wrap(known).exactness == 0.1


def test_what_goes_wrong_inside_a_model_is_one_line():
    class Broken(Doubling):
        def encode(self, pictures):
            return {}["weights"]

    with pytest.raises(
        ValueError, match=r"Expected mine to encode \(3, 1, 2, 2\), uint8; got KeyError from it"
    ) as caught:
        transflow.wrap(Broken(), name="mine")
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_adapters_options_are_named():
    functions = {"encode": lambda x: x.flatten(1), "decode": lambda z: z.view(-1, 1, 2, 2)}
    with pytest.raises(TypeError, match=r"Expected shape=.*channels, height, width"):
        transflow.wrap(**functions)
    with pytest.raises(TypeError, match=r"Expected options of the adapter functions, shape, .*; got colour"):
        transflow.wrap(**functions, shape=(1, 2, 2), colour="red")


def test_two_functions_are_a_model_with_the_posterior_that_is_known():
    """An orthogonal matrix and a shift: conditioning latents is conditioning pictures, in closed form."""
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64, generator=generator))[0].float()
    model = transflow.wrap(
        encode=lambda x: (x.flatten(1) - 0.5) @ q.T,
        decode=lambda z: (z @ q + 0.5).view(-1, 3, 2, 2),
        shape=(3, 2, 2),
    )
    x = torch.randint(0, 256, (7, 3, 2, 2), dtype=torch.uint8, generator=generator)
    posterior = model.condition(x, 3.0)
    seen = model.quantise(x).double().flatten(1) - 0.5
    expected = 7 / (7 + 3.0) * seen.mean(0)
    torch.testing.assert_close((posterior.gaussian.mean @ q.double()), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(posterior.gaussian.covariance.variances(), torch.full((12,), 3 / 10).double())
    assert model.reconstruct(x).errors.max() < 1e-6
