"""The evidence's mean and covariance as a new model: the formula written out, its radius, its limits, its memory."""

import pickle
import subprocess
import sys

import pytest
import torch

from transflow import Evidence, Gaussian
from transflow.gaussians.inverse_wishart import InverseWishart
from transflow.gaussians.learned import SMALLEST, Learned

D = 6
G = torch.Generator().manual_seed(0)
Z = 0.5 * torch.randn(5, D, generator=G, dtype=torch.float64) + torch.randn(D, generator=G, dtype=torch.float64) * 0.3
EVIDENCE, DEVIATIONS = Evidence.of(Z), Z - Z.mean(0)
C = DEVIATIONS.T @ DEVIATIONS / len(Z)
LEVELS = (4, 2)


def dense(learned):
    return learned.covariance.dense().matrix


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("s", [0.0, 0.6, 1.0])
def test_one_level_is_the_formula(a, s):
    learned = Learned.of(EVIDENCE, DEVIATIONS, a, share=s, isotropic=0.2)
    torch.testing.assert_close(learned.mean, s * Z.mean(0))
    torch.testing.assert_close(dense(learned), a * C + 0.2 * torch.eye(D))
    expected = torch.distributions.MultivariateNormal(s * Z.mean(0), a * C + 0.2 * torch.eye(D)).log_prob(Z)
    torch.testing.assert_close(learned.log_prob(Z), expected)


def test_levels_are_the_formula_and_stay_correlated():
    learned = Learned.of(EVIDENCE, DEVIATIONS, (0.3, 0.9), level_sizes=LEVELS, isotropic=(0.1, 0.5))
    weights = torch.tensor([0.3] * 4 + [0.9] * 2, dtype=torch.float64).sqrt()
    expected = C * torch.outer(weights, weights) + torch.diag(torch.tensor([0.1] * 4 + [0.5] * 2).double())
    torch.testing.assert_close(dense(learned), expected, atol=1e-7, rtol=1e-7)
    assert dense(learned)[:4, 4:].abs().max() > 0.01


@pytest.mark.parametrize("levels", [None, LEVELS])
@pytest.mark.parametrize("a", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("s", [0.4, 1.0])
def test_samples_are_as_long_as_the_evidence(levels, a, s):
    learned = Learned.of(EVIDENCE, DEVIATIONS, a, share=s, level_sizes=levels)
    assert learned.squared_radius() == pytest.approx(Z.square().mean().item())
    second = dense(learned).diagonal() + learned.mean.square()
    for part, own in zip(second.split(levels or (D,)), Z.square().split(levels or (D,), 1), strict=True):
        assert part.mean().item() == pytest.approx(own.mean().item())
    assert learned.note == ""


def test_samples_are_no_longer_than_the_models_own():
    z = 1.1 * torch.randn(40, 200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    learned = Learned.of(Evidence.of(z), z - z.mean(0), 0.5, radius=0.9)
    assert learned.squared_radius() == pytest.approx(0.81)
    sampled = learned.sample(400, seed=0).square().mean().sqrt().item()
    assert sampled == pytest.approx(0.9, rel=0.02)


def test_evidence_that_is_far_too_long_is_noted():
    learned = Learned.of(Evidence.of(3 * Z + 2), 3 * DEVIATIONS, 0.9)
    assert learned.isotropic == (SMALLEST,)
    assert "times as long as the model's own latents" in learned.note


def test_full_variety_leaves_the_least_isotropic_part():
    assert Learned.of(EVIDENCE, DEVIATIONS, 1.0).isotropic == (SMALLEST,)


@pytest.mark.parametrize("lam", [0.4, 2.5])
def test_no_variety_is_the_papers_posterior_and_predictive(lam):
    m = len(Z)
    s = m / (m + lam)
    posterior = Gaussian.standard(D).condition(EVIDENCE, lam)
    for gaussian, b in ((posterior, 1 - s), (posterior.predictive(lam), 1 - s + lam)):
        learned = Learned.of(EVIDENCE, DEVIATIONS, 0.0, share=s, isotropic=b)
        assert learned.covariance.is_diagonal
        torch.testing.assert_close(learned.mean, gaussian.mean)
        torch.testing.assert_close(learned.covariance.variances(), gaussian.covariance.variances())
        torch.testing.assert_close(learned.sample(3, seed=1), gaussian.sample(3, seed=1))


def test_it_is_the_expected_covariance_of_the_conjugate_posterior():
    m, n = len(Z), 3.0
    conjugate = InverseWishart.prior(D, 1e-12, n).condition(EVIDENCE, DEVIATIONS)
    learned = Learned.of(EVIDENCE, DEVIATIONS, m / (n + m), isotropic=n / (n + m))
    torch.testing.assert_close(dense(learned), conjugate.expected_covariance.dense().matrix)
    torch.testing.assert_close(learned.mean, conjugate.mean)


def test_samples_have_its_moments():
    learned = Learned.of(EVIDENCE, DEVIATIONS, (0.4, 0.9), share=0.8, level_sizes=LEVELS)
    z = learned.sample(200_000, seed=0).double()
    torch.testing.assert_close(z.mean(0), learned.mean, atol=0.01, rtol=0)
    torch.testing.assert_close(z.T.cov(), dense(learned), atol=0.01, rtol=0)
    cold = learned.sample(200_000, seed=0, temperature=0.5).double()
    torch.testing.assert_close(cold.T.cov(), dense(learned) / 4, atol=0.005, rtol=0)
    assert torch.equal(learned.sample(3, seed=4), pickle.loads(pickle.dumps(learned)).sample(3, seed=4))


def test_any_factor_of_the_scatter_will_do():
    turned = torch.linalg.qr(torch.randn(8, 5, generator=G, dtype=torch.float64)).Q @ DEVIATIONS
    torch.testing.assert_close(dense(Learned.of(EVIDENCE, turned)), dense(Learned.of(EVIDENCE, DEVIATIONS)))
    less = 0.8 * DEVIATIONS  # a sketch that has lost something: the isotropic part makes it good
    assert Learned.of(EVIDENCE, less).squared_radius() == pytest.approx(Z.square().mean().item())


def test_single_precision_deviations_do():
    found = Learned.of(Evidence.of(Z.float()), (Z.float() - Z.float().mean(0)))
    torch.testing.assert_close(dense(found), dense(Learned.of(EVIDENCE, DEVIATIONS)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (Z[:1], "at least two different pictures to learn how they differ; got 1. Learn the mean"),
        (Z[:1].expand(4, D), "at least two different pictures to learn how they differ; got 4, all alike"),
    ],
)
def test_pictures_that_do_not_differ_are_refused(z, message):
    with pytest.raises(ValueError, match=message):
        Learned.of(Evidence.of(z), z - z.mean(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variety": 1.5}, "variety of 0 to 1; got 1.5"),
        ({"variety": float("nan")}, "variety of 0 to 1; got nan"),
        ({"variety": (0.1, 0.2, 0.3), "level_sizes": LEVELS}, "one for each of 2 levels; got 3"),
        ({"share": -0.1}, "share of the mean of 0 to 1"),
        ({"radius": 0.0}, "radius above 0"),
        ({"isotropic": 0.0}, "isotropic variance above 0"),
        ({"level_sizes": (4, 3)}, "sum to D = 6"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Learned.of(EVIDENCE, DEVIATIONS, **options)


def test_latents_that_are_not_centred_are_refused():
    with pytest.raises(ValueError, match="Give the latents minus their mean"):
        Learned.of(Evidence.of(Z + 1), Z + 1)
    with pytest.raises(ValueError, match=r"deviations of shape \(r, 6\)"):
        Learned.of(EVIDENCE, DEVIATIONS[:, :5])


LARGE = """
import resource, torch
from transflow import Evidence
from transflow.gaussians.inverse_wishart import InverseWishart
from transflow.gaussians.learned import Learned
torch.set_num_threads(1)
z = torch.randn(100, {dim}, generator=torch.Generator().manual_seed(0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
evidence, deviations = Evidence.of(z), z - z.mean(0)
learned = Learned.of(evidence, deviations, (0.5, 0.9), level_sizes=({dim} // 2, {dim} // 2))
learned.sample(8, seed=0), learned.log_prob(z[:4]), learned.squared_radius()
InverseWishart.prior({dim}, 1.0, 10.0).condition(evidence, deviations).predictive.log_prob(z[:4])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / {dim})
"""


def test_memory_is_a_few_copies_of_the_latents_and_nothing_of_size_d_by_d():
    pytest.importorskip("resource")
    source = LARGE.format(dim=24_576)
    out = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    copies = float(out.stdout) / (8 * 100)
    assert copies < 9  # in double; 196,608 numbers of 100 pictures then take at most 1.4 GB beside the program itself
