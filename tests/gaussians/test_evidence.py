"""Evidence adds, subtracts and streams."""

import numpy as np
import pytest
import torch

from transflow import Evidence
from transflow.gaussians import covariance


def latents(m, dim=5, seed=0):
    return torch.randn(m, dim, generator=torch.Generator().manual_seed(seed)) * 2 + 1


def close(a, b):
    assert a.count == b.count
    torch.testing.assert_close(a.total, b.total, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(a.scatter, b.scatter, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("full", [False, True])
def test_evidence_is_the_textbook_statistics(full):
    z = latents(9)
    evidence = Evidence.of(z, full=full)
    cov = torch.cov(z.double().T, correction=0) * 9
    torch.testing.assert_close(evidence.mean, z.double().mean(0))
    torch.testing.assert_close(evidence.scatter, cov if full else cov.diagonal())


@pytest.mark.parametrize("full", [False, True])
def test_one_by_one_equals_all_at_once(full):
    z = latents(7)
    close(Evidence.stream((row[None] for row in z), full=full), Evidence.of(z, full=full))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kept", [0, 1, 4])
def test_removing_equals_never_having_added(full, kept):
    z = latents(7)
    rest = Evidence.of(z, full=full) - Evidence.of(z[kept:], full=full)
    close(rest, Evidence.of(z[:kept], full=full))


def test_totals_of_single_precision_latents_are_restored_to_the_bit():
    a, b = latents(30, seed=1), latents(20, seed=2)
    assert torch.equal((Evidence.of(a) + Evidence.of(b) - Evidence.of(b)).total, Evidence.of(a).total)


def test_nothing_is_the_neutral_element():
    evidence = Evidence.of(latents(3))
    close(evidence + Evidence.none(5), evidence)
    close(Evidence.none(5) + evidence, evidence)
    close(evidence - Evidence.none(5), evidence)


def test_latents_that_are_not_in_cannot_be_removed():
    evidence = Evidence.of(latents(4))
    with pytest.raises(ValueError, match="at most 4"):
        evidence - Evidence.of(latents(5))
    with pytest.raises(ValueError, match="some that are not"):
        evidence - Evidence.of(latents(3, seed=9))
    with pytest.raises(ValueError, match="some that are not"):
        evidence - Evidence.of(latents(4, seed=9))


def test_inputs_are_left_as_they_were():
    z = latents(4)
    before = z.clone()
    a = Evidence.of(z)
    total = a.total.clone()
    _ = a + a - a
    assert torch.equal(z, before)
    assert torch.equal(a.total, total)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(5), r"Expected latents of shape \(m, D\); got \(5,\)"),
        (torch.tensor([[float("nan"), 0.0]]), "finite"),
        (torch.tensor([[float("inf"), 0.0]]), "finite"),
    ],
)
def test_bad_latents_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        Evidence.of(bad)


def test_evidence_of_another_size_is_refused():
    with pytest.raises(ValueError, match="D = 5"):
        Evidence.of(latents(2)) + Evidence.of(latents(2, dim=6))
    with pytest.raises(ValueError, match="full"):
        Evidence.of(latents(2)) + Evidence.of(latents(2), full=True)


@pytest.mark.parametrize("full", [False, True])
def test_one_constructor_and_one_tensor_for_both_structures(full):
    evidence = Evidence.of(latents(6), full=full)
    again = Evidence(evidence.count, evidence.total, evidence.scatter)
    assert again.full is full
    close(again + Evidence.none(5, full=full), evidence)
    torch.testing.assert_close(again.scatter_diagonal, Evidence.of(latents(6)).scatter)


@pytest.mark.parametrize("full", [False, True])
def test_the_trace_with_an_inverse_covariance(full):
    z = latents(6).double()
    spread = (z - z.mean(0)).T @ (z - z.mean(0))
    scatter = Evidence.of(z, full=full).structured_scatter
    diagonal = torch.rand(5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.2
    found = scatter.solved_trace(covariance.as_covariance(diagonal, 5))
    torch.testing.assert_close(found, (spread.diagonal() / diagonal).sum())
    factor = torch.randn(5, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    low_rank = covariance.as_covariance(diagonal, 5, factor)
    if full:
        expected = torch.linalg.solve(low_rank.dense().matrix, spread).trace()
        torch.testing.assert_close(scatter.solved_trace(low_rank), expected)
    else:
        with pytest.raises(ValueError, match="full scatter"):
            scatter.solved_trace(low_rank)


VECTOR, NAN = torch.ones(3, dtype=torch.float64), torch.tensor([1.0, torch.nan, 1.0])


@pytest.mark.parametrize(
    ("count", "total", "scatter"),
    [
        (24.9, VECTOR, VECTOR),
        (-1, VECTOR, VECTOR),
        (True, VECTOR, VECTOR),
        (2, NAN, VECTOR),
        (2, VECTOR, NAN),
        (2, VECTOR, -VECTOR),
        (2, VECTOR * torch.inf, VECTOR),
        (2, VECTOR.long(), VECTOR),
        (2, VECTOR.tolist(), VECTOR),
        (2, VECTOR, VECTOR[:2]),
        (2, VECTOR[None], VECTOR),
        (2, VECTOR, -torch.eye(3)),
    ],
)
def test_what_is_no_evidence_is_refused(count, total, scatter):
    with pytest.raises(ValueError, match="Expected"):
        Evidence(count, total, scatter)


def test_sums_are_kept_in_double():
    evidence = Evidence(np.int64(2), VECTOR.float(), VECTOR.float())
    assert (type(evidence.count), evidence.total.dtype, evidence.scatter.dtype) == (int, torch.float64, torch.float64)


def test_taking_away_what_rounding_moved_leaves_no_negative_scatter_in_either_form():
    both, one = torch.tensor([[1.0], [3.0]]).double(), torch.tensor([[3.00001]]).double()
    for full in (False, True):
        left = Evidence.of(both, full=full) - Evidence.of(one, full=full)
        assert left.count == 1
        assert left.scatter.min() >= 0
        assert left.mean.item() == pytest.approx(1, abs=1e-4)
