"""Another's model as they bring it: parameters, a plain encode, rounding that depends on the batch."""

import copy
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from transflow import FewShotClassifier, Gaussian, Model, wrap
from transflow.latents import folder as folder_of

SIDE, DIM = 4, 48


class Theirs(nn.Module):
    """Latents that are parameters times pixels, their rounding that of the batch: made worse here, to be seen."""

    shape = (3, SIDE, SIDE)
    prior = Gaussian.standard(DIM)

    def __init__(self, rounding=0.0):
        super().__init__()
        self.scale = nn.Parameter(torch.full((DIM,), 2.0))
        self.rounding = rounding

    def encode(self, pictures):
        return (pictures.flatten(1) / 256 - 0.5) * self.scale + self.rounding * (len(pictures) % 2)

    def decode(self, latents):
        return (latents / self.scale + 0.5).view(-1, *self.shape).clamp(0, 1) * (256 / 255)


@pytest.fixture
def model():
    return wrap(Theirs(), inexact=True)


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (12, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_nothing_of_a_graph_is_kept_per_picture(model, pixels):
    """Autograd would keep each batch for a backward pass that never comes: memory that grows with the set."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda _: None):
        parts = list(model.stream(pixels, batch=5))
        posterior = model.condition(pixels)
        model.reconstruct(pixels)
        posterior.pictures(2, seed=0)
    assert not kept
    assert all(part.latents.grad_fn is None and not part.latents.requires_grad for part in parts)


@pytest.mark.parametrize("options", [{"noise": "0.5m"}, {}, {"learn": "mixture"}, {"learn": "covariance"}])
def test_what_comes_out_is_plain(options, model, pixels, tmp_path):
    posterior = model.condition(pixels, **options)
    assert posterior.pictures(2, seed=0).numpy().shape == (2, 3, SIDE, SIDE)
    for other in (copy.deepcopy(posterior), pickle.loads(pickle.dumps(posterior))):
        assert torch.equal(other.pictures(2, seed=0), posterior.pictures(2, seed=0))
    assert not posterior.evidence.total.requires_grad
    posterior.save(tmp_path / "p.safetensors")


def test_it_classifies(model, pixels):
    labels = np.arange(12) % 2
    few = FewShotClassifier(model, noise="0.5m").fit(pixels, labels)
    assert (copy.deepcopy(few).predict(pixels) == labels).all()


def test_gradients_through_a_decoder_are_those_of_latents_that_have_them(model):
    latents = torch.full((1, DIM), 0.25, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.decode(latents).sum(), latents)
    assert torch.equal(gradient, torch.full((1, DIM), 128 / 255))
    assert not model.decode(latents.detach()).requires_grad
    with torch.no_grad():
        assert not model.decode(latents).requires_grad


@pytest.mark.parametrize("options", [{"noise": "0.5m"}, {}])
def test_a_picture_is_taken_out_by_its_pixels_whatever_the_rounding(options, pixels):
    """Its latent may differ in the last bits each time; its pixels do not."""
    model = wrap(Theirs(rounding=1e-3), inexact=True)
    whole = model.condition(pixels, **options)
    assert [part.digests for part in model.stream(pixels[:3])] != [part.digests for part in model.stream(pixels[3:6])]
    assert whole.digests == model.condition(iter(list(model.stream(pixels, batch=5))), **options).digests
    left = whole.remove(pixels[:3])  # an odd number, so another rounding than among twelve
    assert left.evidence.count == 9
    assert left.digests == model.condition(pixels[3:], **options).digests


def test_what_is_taken_out_was_never_there(model, pixels):
    """Latents of a few bits: sums of them in double are exact."""
    left, never = model.condition(pixels, "0.5m").remove(pixels[:5]), model.condition(pixels[5:], "0.5m")
    assert torch.equal(left.evidence.total, never.evidence.total)
    torch.testing.assert_close(left.evidence.scatter, never.evidence.scatter, rtol=1e-13, atol=0)
    assert torch.equal(left.pictures(2, seed=0), never.pictures(2, seed=0))


class Seen(Theirs):
    """Rounds by the number of pictures beside."""

    def encode(self, pictures):
        return super().encode(pictures) + 1e-3 * len(pictures)


def test_sets_in_pieces_have_the_bits_of_one_run(pixels, tmp_path, monkeypatch):
    """A first batch that is not full, a first shard that was cut: others follow, so it is filled."""
    model = Model(Seen(), "seen")
    object.__setattr__(model, "fingerprint", "f" * 64)  # its latents may be kept
    every = torch.cat([pixels.roll(k, 3) for k in range(6)])[:70]
    for i, picture in enumerate(every):
        name = f"{'a' if i < 5 else 'b'}/{i:02d}.png"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / name)
    a, b = tmp_path / "a", tmp_path / "b"
    whole = model.encode([a, b])
    assert torch.equal(whole, model.encode(every))
    kept = model.latents(b, tmp_path / "kept")  # 65 pictures, so full batches
    assert torch.equal(model.encode([a, kept]), whole)
    monkeypatch.setattr(folder_of, "SHARD_FILES", 1)  # bytes: a shard each, where files are held in memory
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as tar:
        for path in sorted([*a.iterdir(), *b.iterdir()]):
            tar.add(path, path.name)
    cut = model.latents(tmp_path / "all.tar.gz", tmp_path / "cut")
    assert len(next(cut.parts(model))) == 1
    assert torch.equal(torch.cat([part.latents for part in cut.parts(model)]), whole)
