"""Figures of merit: calibration, p-values, and the Fréchet distance against its closed form."""

import pytest
import torch

from transflow.metrics import calibration_error, frechet_distance, p_values


def normal(mean, covariance, n=50, seed=0):
    """Features with exactly these moments."""
    x = torch.randn(n, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def moments(dim, seed):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    return torch.randn(dim, generator=generator, dtype=torch.float64), root @ root.T + torch.eye(dim)


def test_it_is_the_closed_form_of_normals():
    (m, s), (k, t) = moments(6, 1), moments(6, 2)
    root = torch.linalg.eigvals(s @ t).real.sqrt().sum()
    expected = (m - k).square().sum() + s.trace() + t.trace() - 2 * root
    assert frechet_distance(normal(m, s), normal(k, t, 80, 3)) == pytest.approx(expected.item(), rel=1e-9)


def test_of_diagonal_covariances_it_is_that_of_the_deviations():
    a, b = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    zero = torch.zeros(3, dtype=torch.float64)
    assert frechet_distance(normal(zero, a.diag()), normal(zero, b.diag(), seed=5)) == pytest.approx(1 + 0 + 4)


def test_it_is_a_distance_that_turning_does_not_change():
    a, b = normal(*moments(4, 1)), normal(*moments(4, 2), seed=7)
    turn = torch.linalg.qr(moments(4, 9)[1])[0]
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b))


def test_fewer_pictures_than_features_are_enough():
    a, b = (torch.randn(5, 12, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in (0, 1))
    root = torch.linalg.eigvals(torch.cov(a.T) @ torch.cov(b.T)).real.clamp(min=0).sqrt().sum()
    expected = (a.mean(0) - b.mean(0)).square().sum() + torch.cov(a.T).trace() + torch.cov(b.T).trace() - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("shapes", [((4, 2), (4, 3)), ((1, 2), (4, 2)), ((4,), (4,))])
def test_sets_that_have_no_covariance_are_refused(shapes):
    with pytest.raises(ValueError, match="Expected features"):
        frechet_distance(*map(torch.zeros, shapes))


def test_p_values_count_references_as_small():
    generator = torch.Generator().manual_seed(0)
    values, reference = (torch.randint(0, 9, (n,), generator=generator).double() for n in (40, 30))
    expected = (1 + (reference <= values[:, None]).sum(1)) / 31
    assert torch.equal(p_values(values, reference), expected)
    odd = torch.tensor([float("nan"), -float("inf"), float("inf")])
    assert p_values(odd, reference).tolist() == pytest.approx([1 / 31, 1 / 31, 1])
    with pytest.raises(ValueError, match="NaN"):
        p_values(values, odd)


def test_calibration_error_and_p_values():
    p = torch.tensor([[0.9, 0.1]] * 10)
    assert calibration_error(p, torch.zeros(10, dtype=torch.long)) == pytest.approx(0.1)
    reference = torch.arange(99.0)
    assert p_values(torch.tensor([-1.0, 49.0, 1000.0]), reference).tolist() == pytest.approx([0.01, 0.51, 1.0])
    two = p_values(torch.tensor([-1.0, 49.0, 1000.0]), reference, two_sided=True)
    assert two.tolist() == pytest.approx([0.01, 1.0, 0.01])
    uniform = p_values(torch.randn(4000), torch.randn(4000))
    assert (uniform < 0.1).double().mean().item() == pytest.approx(0.1, abs=0.03)
