"""What a source gives is checked where it comes in: shapes, kinds and numbers, in one line that names the model."""

import pytest
import torch

from transflow import Gaussian, Model


class Fine:
    """Pictures of 2 x 2 pixels as their own latents, with all that a source may have."""

    prior = Gaussian.standard(4)
    shape: object = (1, 2, 2)

    def encode(self, pictures):
        return pictures.flatten(1) / 255

    def decode(self, latents):
        return latents.view(-1, 1, 2, 2).clamp(0, 1)


class Without(Fine):
    shape = None


def source(kind=Fine, **members):
    return Model(type("Source", (kind,), members)(), "mine")


PIXELS = torch.tensor([[[[0, 10], [20, 30]]], [[[40, 50], [60, 70]]]], dtype=torch.uint8)
NAN = torch.nan


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"shape": (2, 2)}, r"pictures of shape \(channels, height, width\); got \(2, 2\) as its shape"),
        ({"shape": (1, 0, 4)}, r"got \(1, 0, 4\) as its shape"),
        ({"encode": lambda s, x: x.float()}, r"latents of shape \(2, 4\); got \(2, 1, 2, 2\)"),
        ({"encode": lambda s, x: [x]}, r"latents of shape \(2, 4\); got list"),
        ({"encode": lambda s, x: torch.tensor([[0.0] * 4, [NAN] * 4])}, "finite latents .* for picture 2 of 2"),
        ({"decode": lambda s, z: z}, r"pictures of its shape, \(1, 2, 2\); got \(4,\)"),
        ({"decode": lambda s, z: z.view(-1, 2, 2, 1)}, r"its shape, \(1, 2, 2\); got \(2, 2, 1\)"),
        (
            {"decode": lambda s, z: z.view(-1, 1, 2, 2)[:1]},
            "2 latents to as many pictures of floats; got torch.float32",
        ),
        ({"decode": lambda s, z: z.view(-1, 1, 2, 2).numpy()}, "pictures of floats; got ndarray"),
        ({"decode": lambda s, z: (255 * z).view(-1, 1, 2, 2).byte()}, "pictures of floats; got torch.uint8"),
        ({"decode": lambda s, z: z.view(-1, 1, 2, 2) * NAN}, "finite pictures from mine; .* in 1 of 2"),
    ],
)
def test_encode_and_decode_are_checked(members, words):
    model = source(**members)
    with pytest.raises(ValueError, match=f"^Expected .*{words}") as caught:
        model.reconstruct(PIXELS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.zeros(2, 4), "to give two tensors; got Tensor"),
        ((torch.zeros(2, 4), torch.zeros(1)), r"log densities of shape \(2,\); got \(1,\)"),
        ((torch.zeros(2, 4), torch.tensor([0.0, NAN])), "log densities from mine; got NaN for picture 2 of 2"),
        ((torch.zeros(2, 3), torch.zeros(2)), r"latents of shape \(2, 4\); got \(2, 3\)"),
    ],
)
def test_densities_are_checked(given, words):
    with pytest.raises(ValueError, match=words):
        source(encode_and_log_prob=lambda s, x: given).score(PIXELS)


def test_a_density_may_be_zero():
    given = torch.zeros(2, 4), torch.tensor([0.0, -torch.inf])
    assert source(encode_and_log_prob=lambda s, x: given).log_prob(PIXELS)[1] == -torch.inf


def test_variances_and_levels_are_checked():
    with pytest.raises(ValueError, match=r"variances of latents of shape \(2, 4\); got \(2, 3\)"):
        source(encode_variance=lambda s, x: torch.ones(2, 3)).condition(PIXELS, 1.0)
    with pytest.raises(ValueError, match="finite variances of latents from mine; got NaN"):
        source(encode_variance=lambda s, x: torch.full((2, 4), NAN)).condition(PIXELS, 1.0)
    with pytest.raises(ValueError, match="level sizes of mine that add to D = 4; got 1, 2"):
        _ = source(level_sizes=(1, 2)).level_sizes


def test_a_shape_that_is_not_given_is_that_of_a_decoded_latent():
    assert source(Without).shape == (1, 2, 2)
    with pytest.raises(ValueError, match=r"got \(4,\) as one decoded latent, without the batch"):
        _ = source(Without, decode=lambda s, z: z).shape


def test_weights_with_gradients_leave_no_graph_in_evidence_and_pictures():
    weight = torch.ones(4, requires_grad=True)
    model = source(encode=lambda s, x: x.flatten(1) / 255 * weight, decode=lambda s, z: (z / weight).view(-1, 1, 2, 2))
    posterior = model.condition(PIXELS, 1.0)
    assert not posterior.evidence.total.requires_grad
    assert not posterior.pictures(1, seed=0).requires_grad
    latents = torch.zeros(1, 4, requires_grad=True)
    assert model.decode(latents).requires_grad  # a search for latents goes through the decoder


def test_a_picture_without_a_latent_is_named(tmp_path):
    from PIL import Image

    for value in (10, 20, 30):
        Image.new("L", (2, 2), value).save(tmp_path / f"{value}.png")
    dark = source(encode=lambda s, x: torch.where(x == 20, NAN, x / 255).flatten(1))
    with pytest.raises(ValueError, match=r"got NaN or infinity for .*20\.png"):
        dark.condition(tmp_path, 1.0)


def test_what_a_source_does_not_say_is_what_its_prior_and_decoder_say():
    latents = torch.tensor([[0.0, 0.1, 0.5, 2.0]])
    assert torch.equal(source().decode_unclamped(latents), source().decode(latents))
    more = source(decode_unclamped=lambda s, z: z.view(-1, 1, 2, 2))
    assert more.decode_unclamped(latents).max() == 2
    assert source().device == torch.device("cpu")
    assert source(device="meta").device == torch.device("meta")


def test_a_wrapper_that_hands_on_what_it_has_not_is_asked_for_it():
    class Wrapper:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            if name == "inner":
                raise AttributeError(name)
            return getattr(self.inner, name)

    model = Model(Wrapper(Fine()), "wrapped")
    assert model.can("shape")
    assert not model.can("score")
    assert model.encode(PIXELS).shape == (2, 4)
