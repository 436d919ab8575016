"""The scatter in a stated number of rows: its error bound, merging in any order, exactness below the limit."""

import pickle

import pytest
import torch

from transflow import Evidence
from transflow.gaussians.factor import limited
from transflow.gaussians.learned import Learned
from transflow.gaussians.sketch import Sketch

D = 30


def latents(m, seed=0, fall=1.0):
    g = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, D + 1, dtype=torch.float64) ** -fall
    turn = torch.linalg.qr(torch.randn(D, D, generator=g, dtype=torch.float64)).Q
    return (torch.randn(m, D, generator=g, dtype=torch.float64) * scale) @ turn + 0.5


def scatter(z):
    return (z - z.mean(0)).T @ (z - z.mean(0))


WAYS = {
    "at once": lambda z, k: Sketch.of(z, k),
    "one by one": lambda z, k: Sketch.stream(z.split(1), k),
    "in batches": lambda z, k: Sketch.stream(z.split(17), k),
    "backwards": lambda z, k: Sketch.stream(z.flip(0).split(17), k),
    "as a tree": lambda z, k: sum((Sketch.stream(p.split(9), k) for p in z.chunk(4)), Sketch.none(D, k)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", [1, 5, 12])
@pytest.mark.parametrize("fall", [0.0, 1.0])
def test_the_error_is_within_its_bound(way, rows, fall):
    z = latents(200, fall=fall)
    sketch, whole = WAYS[way](z, rows), scatter(z)
    assert sketch.factor.shape == (rows, D)
    gap = torch.linalg.eigvalsh(whole - sketch.factor.T @ sketch.factor)
    scale = whole.trace().item()
    assert gap[0] > -1e-10 * scale
    assert gap[-1] <= sketch.lost + 1e-10 * scale
    values = torch.linalg.eigvalsh(whole).flip(0)
    for j in range(rows + 1):
        assert sketch.lost <= values[j:].sum() / (rows + 1 - j) + 1e-10 * scale
    assert sketch.missing == pytest.approx(gap.sum().item() / scale, abs=1e-9)
    assert sketch.lost > 0


@pytest.mark.parametrize("way", WAYS)
def test_count_mean_and_variances_are_exact(way):
    z = latents(60)
    sketch, whole = WAYS[way](z, 4), Evidence.of(z)
    assert sketch.evidence.count == 60
    torch.testing.assert_close(sketch.evidence.mean, whole.mean)
    torch.testing.assert_close(sketch.evidence.scatter, whole.scatter)


@pytest.mark.parametrize("way", WAYS)
def test_few_latents_are_kept_wholly(way):
    z = latents(20)
    sketch = WAYS[way](z, 20)
    torch.testing.assert_close(sketch.factor.T @ sketch.factor, scatter(z))
    assert sketch.lost == 0
    assert sketch.missing == pytest.approx(0, abs=1e-12)


def test_latents_are_taken_out_where_nothing_was_lost():
    z = latents(20)
    left = torch.cat([z[:5], z[12:]])
    for rows in (20, 30):
        rest = Sketch.stream(z.split(3), rows) - Sketch.stream(z[5:12].split(2), rows)
        torch.testing.assert_close(rest.factor.T @ rest.factor, scatter(left), atol=1e-8, rtol=1e-6)
        torch.testing.assert_close(rest.evidence.mean, left.mean(0))
    assert (Sketch.of(z, 30) - Sketch.of(z, 30)).evidence.count == 0
    with pytest.raises(ValueError, match="that are in this evidence"):
        Sketch.of(z, 30) - Sketch.of(latents(3, seed=1), 30)
    with pytest.raises(ValueError, match="at most 8 pictures, from which pictures can be taken out exactly; got 20"):
        Sketch.of(z, 8) - Sketch.of(z[:2], 8)


def test_a_learned_gaussian_of_a_sketch_has_the_leading_directions_and_all_the_variance():
    z = latents(300, fall=1.5)
    exact = Learned.of(Evidence.of(z), z - z.mean(0))
    sketch = Sketch.stream(z.split(32), 20)
    found = Learned.of(sketch.evidence, sketch.factor)
    a, b = found.covariance.dense().matrix, exact.covariance.dense().matrix
    assert torch.linalg.matrix_norm(a - b, 2) < 0.02 * torch.linalg.matrix_norm(b, 2)
    assert a.trace().item() == pytest.approx(b.trace().item())


def test_sketches_pickle_and_do_not_change():
    z = latents(50)
    a, b = Sketch.of(z[:30], 6), Sketch.of(z[30:], 6)
    before = a.factor.clone()
    both = pickle.loads(pickle.dumps(a)) + b
    assert torch.equal(both.factor, (a + b).factor)
    assert torch.equal(a.factor, before)


def test_equal_latents_have_no_scatter():
    sketch = Sketch.stream([latents(1).expand(9, D)] * 3, 4)
    assert (sketch.missing, sketch.lost) == (0.0, pytest.approx(0, abs=1e-20))
    assert limited(torch.zeros(5, D, dtype=torch.float64), 3)[1] == 0.0


def test_bad_numbers_of_rows_are_refused():
    with pytest.raises(ValueError, match="1 row or more; got 0"):
        Sketch.of(latents(3), 0)
    with pytest.raises(ValueError, match="as many rows; got 3 and 4"):
        Sketch.of(latents(3), 3) + Sketch.of(latents(3), 4)
    with pytest.raises(ValueError, match="at least one batch"):
        Sketch.stream([])
