"""A generator's pictures are found again; a picture's latent is its own whatever its neighbours."""

import pickle

import pytest
import torch
from torch import nn

from transflow.adapters import generator
from transflow.adapters.generator import Search
from transflow.pictures.pixels import PixelFormat

SHAPE, LATENT = (1, 16, 16), (8, 1, 1)
QUICK = Search(starts=64, restarts=2, scout=10, steps=20, free=80)
ROUGH = Search(starts=16, restarts=2, scout=2, steps=4, free=4)  # of little use, and quick


class Small(nn.Module):
    """A DCGAN in small, with batch norm; random."""

    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(8, 16, 4), nn.BatchNorm2d(16), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z):
        return self.main(z)


class Mapping(nn.Module):
    """Styles that are far from Gaussian."""

    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(nn.Linear(6, 6), nn.LeakyReLU(0.2), nn.Linear(6, 6), nn.LeakyReLU(0.2))

    def forward(self, z):
        return self.main(z)


def random(make, seed=0, by=0.3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += by * torch.randn_like(parameter)
    return module


def styled(**options):
    net = random(lambda: nn.Sequential(nn.Linear(6, 256), nn.Sigmoid()))
    unit = PixelFormat(bits=8, low=0.0, high=1.0, ends=True)
    options = {"style": random(Mapping, 1), "latent": 6, "pixels": unit, "search": QUICK} | options
    return generator.adapt(net, SHAPE, **options)


def plain(search=QUICK):
    return generator.adapt(random(Small), SHAPE, latent=LATENT, search=search)


SOURCES = {"generator": lambda: plain(ROUGH), "generator, styles": lambda: styled(search=ROUGH)}
MAKERS = {"generator": plain, "generator, styles": styled}
EVERY = pytest.mark.parametrize("name", MAKERS)


def drawn(source, n=3, seed=7):
    z = source.prior.sample(n, seed=seed)
    return z, source.decode(z)


@EVERY
def test_its_own_samples_are_found_again(name):
    source = MAKERS[name]()
    z, x = drawn(source)
    found = source.invert(x)
    assert found.errors.max() < 1e-5
    torch.testing.assert_close(
        found.errors, (source.decode(found.latents) - x).double().square().mean((1, 2, 3)).sqrt()
    )
    torch.testing.assert_close(found.latents, z, atol=1e-3, rtol=0)


@EVERY
def test_samples_of_eight_bits_are_found_to_their_rounding(name):
    source = MAKERS[name]()
    z, x = drawn(source)
    pictures = (x * 255).round().to(torch.uint8)
    found = source.invert(pictures)
    assert found.errors.max() < 1.1 / 255 / 12**0.5
    assert torch.equal(source.encode(pictures), found.latents)
    assert (found.latents - z).abs().mean() < 0.1
    assert source.encode(pictures).dtype == torch.float32


@EVERY
def test_a_latent_does_not_depend_on_neighbours_or_randomness_and_the_source_pickles(name):
    source = SOURCES[name]()
    pictures = torch.randint(0, 256, (3, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    together = source.encode(pictures)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(source.encode(pictures[2:3]), together[2:3])
    assert torch.equal(torch.get_rng_state(), before)
    again = pickle.loads(pickle.dumps(source))
    assert torch.equal(again.encode(pictures[1:2]), together[1:2])
    assert again.fingerprint == source.fingerprint == SOURCES[name]().fingerprint
    with torch.inference_mode():
        assert torch.equal(source.encode(pictures[:1]), together[:1])
    assert source.encode(pictures[:0]).shape == (0, source.prior.dim)
    assert source.invert(pictures[:0]).errors.shape == (0,)


def test_what_it_cannot_make_is_found_nearly_and_the_error_says_so():
    source = plain()
    x = drawn(source)[1]
    x[1] = (x[1] + 0.3 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    errors = source.invert(x).errors
    assert errors[1] > 0.1
    assert errors[[0, 2]].max() < 1e-5


def test_the_prior_keeps_latents_short_until_it_is_switched_off():
    source = plain()
    x = drawn(source)[1]
    found = {}
    for prior, near in ((0.0, 1.0), (0.1, 0.0), (0.1, 1.0)):
        search = Search(starts=64, restarts=2, scout=10, steps=40, free=80, prior=prior, near=near)
        found[prior, near] = plain(search).invert(x)
    assert found[0.1, 0.0].latents.norm() < 0.95 * found[0.0, 1.0].latents.norm()
    assert found[0.1, 0.0].errors.min() > 1e-3
    assert found[0.1, 1.0].errors.max() < 1e-5


def test_more_starts_are_nearer():
    source = plain()
    x = drawn(source)[1]
    errors = []
    for starts in (1, 8, 512):
        search = Search(starts=starts, restarts=1, scout=0, steps=0, free=0)
        errors.append(plain(search).invert(x).errors)
    assert (errors[2] <= errors[1]).all()
    assert (errors[1] <= errors[0]).all()
    assert errors[2].sum() < 0.8 * errors[0].sum()


def test_progress_is_reported():
    calls = []
    source = plain()
    source.invert(drawn(source, 3)[1], lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_styles_are_made_standard_normal():
    source, style = styled(), random(Mapping, 1)
    w = style(torch.randn(4000, 6, generator=torch.Generator().manual_seed(9))).detach()
    net = random(lambda: nn.Sequential(nn.Linear(6, 256), nn.Sigmoid()))
    eps = source.base.standardise(torch.nn.functional.leaky_relu(w, 5))[0]
    assert eps.mean(0).abs().max() < 0.06
    torch.testing.assert_close(eps.T.cov(), torch.eye(6, dtype=torch.float64), atol=0.1, rtol=0)
    torch.testing.assert_close(source.decode(eps[:5]).flatten(1), net(w[:5]).detach(), atol=1e-5, rtol=0)
    assert source.prior.is_standard
    assert "LeakyReLU(5)" in source.card["notes"][1]


def test_the_users_module_is_left_alone():
    module = random(Small)
    weight = module.main[0].weight
    weight.grad = torch.ones_like(weight)
    source = generator.adapt(module, SHAPE, latent=LATENT, search=QUICK)
    source.encode((drawn(source, 1)[1] * 255).to(torch.uint8))
    assert module.training
    assert weight.requires_grad
    assert torch.equal(weight.grad, torch.ones_like(weight))
    module.eval()
    loose = generator.adapt(lambda z: module(z), SHAPE, latent=LATENT, search=QUICK)
    loose.encode((drawn(loose, 1)[1] * 255).to(torch.uint8))
    assert torch.equal(weight.grad, torch.ones_like(weight))
    assert loose.fingerprint is None
    with pytest.raises(pickle.PicklingError, match="<lambda> for generator"):
        pickle.dumps(loose)
    assert "fingerprint" in loose.lacks
    known = generator.adapt(lambda z: module(z), SHAPE, latent=LATENT, search=QUICK, module=module)
    assert known.fingerprint == source.fingerprint
    assert styled().fingerprint != styled(style=random(Mapping, 2)).fingerprint


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: lambda z: torch.rand(len(z), *SHAPE), {}, "Fix its noise inputs"),
        (lambda: lambda z: (z - z.mean(0)).expand(-1, 8, 256)[:, 0], {"latent": (8, 1)}, "whatever its neighbours"),
        (lambda: lambda z: z.detach().sum() + torch.zeros(len(z), 256), {"latent": 3}, "whatever its neighbours"),
        (lambda: lambda z: torch.zeros(len(z), *SHAPE), {}, "gives no gradient"),
        (lambda: lambda z: z.sum(1).new_full((len(z), 256), torch.nan), {}, "finite pictures.*for latent 0"),
        (lambda: lambda z: z.numpy(), {}, "gives a tensor; got ndarray"),
        (lambda: lambda z: z, {}, r"shape \(3, 1, 16, 16\); got \(3, 8, 1, 1\)"),
        (lambda: random(Small), {"latent": (0,)}, "a number or a shape"),
        (lambda: random(Small), {"latent": LATENT, "style": 3}, "can be called; got int"),
        (lambda: random(Small), {"style": lambda z: z[:, 0, 0, 0]}, r"Expected a style \(B, ...\).*got \(500,\)"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        generator.adapt(make(), SHAPE, **{"latent": LATENT} | options)
    assert "\n" not in str(raised.value)


def test_nan_in_a_search_names_the_picture():
    module = random(Small).eval()
    source = generator.adapt(
        lambda z: torch.where((z.abs() > 3.5).any(1, keepdim=True), torch.nan, module(z)), SHAPE, latent=LATENT,
        search=Search(starts=8, restarts=1, scout=0, steps=5, free=50, prior=0.0),
    )  # fmt: skip
    pictures = drawn(source, 3)[1]
    pictures[1] = (torch.arange(256).view(SHAPE) % 2).float()
    with pytest.raises(ValueError, match="the search for the latent of picture 1 of the batch"):
        source.invert(pictures)
    pictures[2, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="in picture 2"):
        source.invert(pictures)
    with pytest.raises(ValueError, match=r"pictures of shape \(B, 1, 16, 16\)"):
        source.invert(pictures[:, :, :4])


@pytest.mark.parametrize("options", [{"starts": 0}, {"restarts": 600}, {"free": -1}, {"prior": -1.0}, {"near": -1.0}])
def test_a_search_has_sensible_options(options):
    with pytest.raises(ValueError, match="Expected"):
        Search(**options)
