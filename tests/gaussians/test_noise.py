"""The noise lambda: its four forms, and what each promises."""

import itertools
import math

import pytest
import torch

from transflow import Evidence, Gaussian
from transflow.gaussians import noise as noises


def evidence_of(r, m=20, dim=400, seed=0):
    """Latents whose mean has squared radius r."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(m, dim, generator=g, dtype=torch.float64)
    z -= z.mean(0)
    return Evidence.of(z + math.sqrt(r) * torch.sign(torch.randn(dim, generator=g, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("spec", "value"), [("0.5m", 10.0), ("1m", 20.0), ("12.5", 12.5), (3, 3.0), (0.25, 0.25), (" 2E-1M ", 4.0)]
)
def test_numbers_are_lambda_or_units_of_m(spec, value):
    assert noises.choose_noise(spec, evidence_of(0.1), Gaussian.standard(400)).value == pytest.approx(value)


@pytest.mark.parametrize(
    "spec",
    [
        0,
        -1,
        "0",
        "0m",
        "-0.5m",
        float("nan"),
        "nan",
        float("inf"),
        "infm",
        "m",
        "",
        "half",
        "typical:2",
        "typical:0",
        "typical:",
        "0.5 m m",
        "1_0m",
        None,
        True,
        [1.0],
    ],
)
def test_anything_else_is_refused_with_the_four_forms(spec):
    with pytest.raises(ValueError, match=r'"0\.5m"'):
        noises.choose_noise(spec, evidence_of(0.1), Gaussian.standard(400))


@pytest.mark.parametrize("r", [0.0, 0.04, 0.1, 0.2])
@pytest.mark.parametrize("tau", [0.6, 0.7, 0.9])
def test_typical_gives_samples_the_squared_radius_it_promises(r, tau):
    evidence, prior = evidence_of(r), Gaussian.standard(400)
    noise = noises.choose_noise(f"typical:{tau}", evidence, prior)
    posterior = prior.condition(evidence, noise.value)
    assert posterior.squared_radius() == pytest.approx(tau**2, rel=1e-9)
    z = posterior.sample(2000, seed=0)
    assert z.square().mean().item() == pytest.approx(tau**2, rel=0.02)
    assert noise.note == ""


@pytest.mark.parametrize("r", [0.52, 0.8, 1.0, 1.4])
def test_typical_without_a_solution_is_the_shortest_there_is_with_a_note(r):
    evidence, prior = evidence_of(r), Gaussian.standard(400)
    noise = noises.choose_noise("typical", evidence, prior)
    assert "samples as short as tau" in noise.note
    assert noise.per_count >= 0.3 - 1e-12
    chosen = prior.condition(evidence, noise.value).squared_radius()
    for other in torch.linspace(0.3, 5, 50):
        assert chosen <= prior.condition(evidence, float(other) * 20).squared_radius() + 1e-9


def test_typical_changes_smoothly_with_the_evidence():
    for tau in (0.4, 0.6, 0.7, 0.9):
        shares = [noises.typical_share(i / 1000, tau)[0] for i in range(1500)]
        assert max(abs(a - b) for a, b in itertools.pairwise(shares)) < 0.06


def test_typical_never_makes_all_samples_alike():
    """Three different pictures: r is near tau^2, and the solution near lambda = 0."""
    evidence, prior = evidence_of(0.35, m=3), Gaussian.standard(400)
    noise = noises.choose_noise("typical", evidence, prior)
    assert noise.per_count == pytest.approx(0.3)
    assert "alike" in noise.note


@pytest.mark.parametrize("r", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("m", [2, 3, 20])
def test_evidence_is_where_the_marginal_likelihood_is_greatest(r, m):
    evidence, prior = evidence_of(r, m), Gaussian.standard(400)
    best = noises.choose_noise("evidence", evidence, prior).value
    top = prior.log_marginal(evidence, best)
    for factor in (0.2, 0.9, 0.99, 1.01, 1.1, 5):
        assert prior.log_marginal(evidence, best * factor) < top


def test_evidence_recovers_the_noise_that_made_the_data():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(1, 5000, generator=g) + 0.6 * torch.randn(30, 5000, generator=g)
    assert noises.greatest_marginal(Evidence.of(z)) == pytest.approx(0.36, rel=0.02)


@pytest.mark.parametrize("latents", [torch.randn(1, 50), torch.randn(1, 50).expand(4, 50)])
def test_evidence_needs_two_different_pictures(latents):
    with pytest.raises(ValueError, match="two different"):
        noises.choose_noise("evidence", Evidence.of(latents), Gaussian.standard(50))


@pytest.mark.parametrize("spec", ["typical", "evidence"])
def test_named_forms_need_a_standard_prior(spec):
    with pytest.raises(ValueError, match="N\\(0, I\\)"):
        noises.choose_noise(spec, evidence_of(0.1), Gaussian.of(torch.zeros(400), 2.0))


@pytest.mark.parametrize("spec", ["0.5m", 3])
def test_numbers_do_for_every_prior(spec):
    noise = noises.choose_noise(spec, evidence_of(0.1), Gaussian.of(torch.zeros(400), 2.0))
    assert noise.value == {"0.5m": 10.0, 3: 3.0}[spec]


def test_the_spec_is_kept_and_its_old_name_too():
    noise = noises.choose_noise(" 2E-1M ", evidence_of(0.1), Gaussian.standard(400))
    assert noise.spec == " 2E-1M "
    assert str(noise) == " 2E-1M : lambda = 4 = 0.2m"
    with pytest.warns(DeprecationWarning, match=r"Noise\.spec"):
        assert noise.said == noise.spec
