"""One level alone: an exact flow of all numbers, trained by its details on crops of true pixels."""

import math

import pytest
import torch

from helpers import shaken
from transflow.generative import detail_level
from transflow.generative.detail_level import GREY_LEVEL, DetailLevel, DetailLevelConfig, crops, on_top, prepare
from transflow.generative.details import DetailConfig
from transflow.generative.families import FAMILIES
from transflow.generative.pyramid import haar_join, haar_log_det, haar_split

SMALL = {"steps": 2, "width": 8, "seen": 6, "coarser": (6, 6)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=16, size=8, channels=3, dtype=torch.float64):
    coarse = torch.rand(count, channels, 4, 4, generator=generator(), dtype=dtype) - 0.5
    large = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return 0.8 * large + 0.02 * torch.randn(large.shape, generator=generator(1), dtype=dtype)


def level(size=8, channels=3, dtype=torch.float64, **options):
    made = shaken(lambda: DetailLevel(DetailLevelConfig(size=size, channels=channels, **SMALL, **options)), dtype)
    made.initialise(pictures(64, size, channels, dtype))
    return shaken(lambda: made, dtype)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_level_alone_is_an_exact_flow(channels):
    flow, x = level(4, channels), pictures(3, 4, channels)
    with torch.no_grad():
        z, log_det = flow(x)
        assert z.shape == (3, 16 * channels)
        assert flow.level_sizes == (12 * channels, 4 * channels)
        torch.testing.assert_close(flow.inverse(z), x)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v.view(1, channels, 4, 4))[0][0], x[i].flatten())
        torch.testing.assert_close(log_det[i], torch.linalg.slogdet(jacobian)[1])


def test_the_loss_is_the_density_of_the_details_alone():
    """The density of all is that of the details and that of the averages, normal as the buffers say."""
    flow, x = level(), pictures()
    with torch.no_grad():
        z, log_det = flow(x)
        average, details = haar_split(x)
        whole = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det
        normal = torch.distributions.Normal(flow.mean[:, None, None], flow.deviation[:, None, None])
        of_average = normal.log_prob(average).sum((1, 2, 3))
        found = detail_level.loss(flow, x)
    torch.testing.assert_close(-found * details[0].numel(), whole - of_average + haar_log_det(average))
    assert FAMILIES["details"].likelihood


def share_of_one(log_density, own, count=20_000):
    """The integral of a density and its error, by importance sampling from Student numbers wider than its samples.

    Details have the tails of a Laplace distribution, which normal numbers do not reach.
    """
    spread = torch.linalg.cholesky(2 * torch.cov(own.T))
    noise = torch.randn(5, count, own.shape[1], dtype=own.dtype, generator=generator(3))
    wide = noise[0] / noise[1:].square().mean(0).sqrt()
    log_wide = torch.distributions.StudentT(torch.tensor(4.0, dtype=own.dtype)).log_prob(wide).sum(1)
    weights = (log_density(own.mean(0) + wide @ spread.T) - log_wide + spread.diagonal().log().sum()).exp()
    return weights.mean().item(), weights.std().item() / count**0.5


@torch.no_grad()
def test_the_density_of_the_details_given_any_average_and_that_of_all_integrate_to_one():
    flow = level(2, 1)
    assert flow.details.scale.log().abs().min() > 0.1
    z = torch.randn(4000, 4, dtype=torch.float64, generator=generator(2))

    def of_all(x):
        z, log_det = flow(x.view(-1, 1, 2, 2))
        return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det

    found, error = share_of_one(of_all, flow.inverse(z).flatten(1))
    assert error < 0.02
    assert found == pytest.approx(1, abs=4 * error)
    means = []
    for value in (-0.4, 0.0, 0.3):
        average = torch.full((1, 1, 1, 1), value, dtype=torch.float64)

        def given(details, average=average):
            x = haar_join(average.expand(len(details), 1, 1, 1), details.view(-1, 3, 1, 1))
            return -3 * detail_level.loss(flow, x)

        own = flow.details.inverse(z[:, :3, None, None], average.expand(len(z), 1, 1, 1)).flatten(1)
        found, error = share_of_one(given, own)
        assert error < 0.02
        assert found == pytest.approx(1, abs=4 * error)
        means.append(own.mean(0))
    assert (means[0] - means[2]).abs().max() > 1e-3  # it is not one density for all averages


def test_a_level_starts_with_averages_of_mean_0_and_variance_1():
    flow, x = DetailLevel(DetailLevelConfig(size=8, **SMALL)), pictures(64, dtype=torch.float32)
    flow.initialise(x)
    with torch.no_grad():
        averages = flow(x)[0][:, flow.level_sizes[0] :].unflatten(1, (3, 16))
    torch.testing.assert_close(averages.mean((0, 2)), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(averages.std((0, 2)), torch.ones(3), rtol=0, atol=0.02)


def test_a_crop_is_a_part_of_its_own_picture_at_an_even_place():
    x = torch.arange(2 * 200 * 12 * 16, dtype=torch.float64).view(200, 2, 12, 16)
    found = crops(x, 6, generator())
    assert found.shape == (200, 2, 6, 6)
    seen = set()
    for picture, crop in zip(x, found, strict=True):
        place = (picture[0] == crop[0, 0, 0]).nonzero()
        assert len(place) == 1
        top, left = place[0].tolist()
        assert torch.equal(crop, picture[:, top : top + 6, left : left + 6])
        seen.add((top, left))
    assert seen == {(top, left) for top in range(0, 7, 2) for left in range(0, 11, 2)}


def test_a_picture_no_larger_than_a_crop_is_shown_whole():
    x = pictures(4)
    assert crops(x, 8, generator()) is x
    assert torch.equal(prepare(level(crop=64), x, generator())[0], x)


def test_held_out_pictures_are_whole_and_as_they_are():
    flow = level(16, crop=8, whole=0.0).eval()
    x = pictures(4, 16)
    assert prepare(flow, x, generator())[0] is x
    assert prepare(flow.train(), x, generator())[0].shape == (4, 3, 8, 8)


def test_a_share_of_crops_has_one_more_rounding_error():
    x = pictures(1000, dtype=torch.float32)
    (shown,) = prepare(level(dtype=torch.float32, whole=0.75), x, generator())
    error = (shown - x) / GREY_LEVEL
    rounded = error.abs().amax((1, 2, 3)) > 1e-3
    assert rounded.double().mean().item() == pytest.approx(0.25, abs=0.04)
    assert error.abs().max() < 0.501
    assert error[rounded].std().item() == pytest.approx(1 / math.sqrt(12), rel=0.02)
    assert torch.equal(prepare(level(dtype=torch.float32, whole=1.0), x, generator())[0], x)


def test_samples_on_top_of_pictures_have_their_averages():
    flow, x = level(), pictures(2)
    drawn = torch.randn(2, 192, generator=generator(), dtype=torch.float64)
    with torch.no_grad():
        made = flow.inverse(on_top(flow, drawn, flow(x)[0]))
    torch.testing.assert_close(haar_split(made)[0], haar_split(x)[0])
    assert (haar_split(made)[1] - haar_split(x)[1]).abs().max() > 1e-3


def test_the_flow_of_a_level_is_what_a_pyramid_has():
    config = DetailLevelConfig(size=16, crop=8, whole=0.5, **SMALL)
    assert type(config.flow) is DetailConfig
    assert config.flow == DetailConfig(**SMALL)
    assert config.shape == (3, 16, 16)
    assert DetailLevelConfig().flow == DetailConfig()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"size": 33}, "Expected an even size and crop of 2 pixels or more; got 33 and 64"),
        ({"crop": 0}, "Expected an even size and crop"),
        ({"whole": 1.5}, "Expected a share of whole grey levels of 0 to 1; got 1.5"),
        ({"steps": 0}, "Expected channels, steps and widths of 1 or more"),
    ],
)
def test_an_impossible_level_is_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        DetailLevelConfig(**wrong)
