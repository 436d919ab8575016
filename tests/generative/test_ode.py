"""ODE samplers: known latents, exact round trips on all kinds of pictures, and the density of what is decoded."""

import copy
import math
import pickle
from itertools import pairwise

import pytest
import torch

from transflow.generative import ode, ode_density
from transflow.generative.anderson import Solver
from velocities import GaussianVelocity, MixtureVelocity, SmallNet, digits, trained

GRIDS = [("euler", 10, 1.5), ("euler", 10, 2.0), ("euler", 20, 1.5), ("heun", 10, 1.0)]


def sampler(net, method="euler", steps=10, power=1.5, **solver):
    return ode.Sampler(ode.METHODS[method](net, ode.time_grid(steps, power)), Solver(**solver))


@pytest.fixture(scope="module")
def net():
    return trained()


@pytest.fixture(scope="module")
def gaussian():
    draw = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=draw, dtype=torch.float64) / 3
    return GaussianVelocity(torch.randn(6, generator=draw).double(), root @ root.mT + 0.2 * torch.eye(6).double())


def linear(velocity, times):
    """The map z -> A z + c that Euler's steps make of a Gaussian's velocity."""
    a, c = torch.eye(6).double(), torch.zeros(6).double()
    for t, after in pairwise(times):
        m = velocity.matrix(t)
        a, c = a + (after - t) * m @ a, c + (after - t) * (velocity.mean + m @ (c - t * velocity.mean))
    return a, c


def pictures(kind):
    """In [-1, 1], 8 x 8."""
    draw, board = torch.Generator().manual_seed(3), torch.ones(1, 1, 8, 8)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = -1
    flat = torch.tensor([-1.0, 1.0, 0.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    return {
        "digits": digits()[:12].float() / 127.5 - 1,
        "extreme": torch.cat([flat, board]),
        "noise": torch.rand(6, 1, 8, 8, generator=draw) * 2 - 1,
    }[kind]


def test_a_grid_ends_at_noise_and_at_pictures_and_is_finer_there():
    for steps, power in ((1, 1), (7, 1.5), (20, 2)):
        times = torch.tensor(ode.time_grid(steps, power))
        assert (len(times), times[0], times[-1]) == (steps + 1, 0, 1)
        assert (times.diff() > 0).all()
        assert (times.diff().diff() < 1e-6).all()
    assert ode.time_grid(4) == (0, 0.25, 0.5, 0.75, 1)
    for steps, power in ((0, 1), (2.5, 1), (5, 0.5), (5, math.nan)):
        with pytest.raises(ValueError, match=r"^Expected"):
            ode.time_grid(steps, power)


def test_a_gaussian_s_noise_is_known(gaussian):
    times = ode.time_grid(10, 1.5)
    a, c = linear(gaussian, times)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1)).double()
    noise, solved = sampler(gaussian).encode(x)
    torch.testing.assert_close(noise, torch.linalg.solve(a, (x - c).mT).mT, rtol=0, atol=1e-12)
    assert solved.residual.max() <= 1e-13


def test_heun_is_the_explicit_trapezoid_and_near_the_flow(gaussian):
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).double()
    fine = sampler(gaussian, steps=2000, power=1).decode(z)
    errors = [(sampler(gaussian, "heun", n, 1).decode(z) - fine).abs().max() for n in (10, 20)]
    assert 3 < errors[0] / errors[1] < 5  # of second order
    assert errors[1] < 0.05 * (sampler(gaussian, steps=20, power=1).decode(z) - fine).abs().max()


@pytest.mark.parametrize(("method", "steps", "power"), GRIDS)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_round_trip_of_a_mixture(method, steps, power, dtype, error):
    draw = torch.Generator().manual_seed(0)
    means = (2 * torch.randn(5, 16, generator=draw)).to(dtype)
    x = means.repeat(2, 1) + 0.3 * torch.randn(10, 16, generator=draw).to(dtype)
    made = sampler(MixtureVelocity(means, 0.3), method, steps, power)
    noise, solved = made.encode(x)
    solved.check()
    assert (made.decode(noise) - x).abs().max() <= error
    again, _ = made.encode(made.decode(noise))
    assert (again - noise).abs().max() <= 10 * error


@pytest.mark.parametrize(("method", "steps", "power"), GRIDS)
@pytest.mark.parametrize("kind", ["digits", "extreme", "noise"])
def test_round_trip_of_pictures_through_a_network(net, kind, method, steps, power):
    made, x = sampler(net, method, steps, power), pictures(kind)
    noise, solved = made.encode(x)
    solved.check()
    assert (made.decode(noise) - x).abs().max() <= 1e-5
    assert solved.residual.max() <= 2e-6
    assert solved.evaluations.double().mean() <= 150
    precise = sampler(copy.deepcopy(net).double(), method, steps, power)
    assert (precise.decode(precise.encode(x.double())[0]) - x).abs().max() <= 1e-11


def test_evaluations_are_counted(net):
    class Counting(SmallNet):
        calls = 0

        def forward(self, x, t):
            type(self).calls += len(x)
            return super().forward(x, t)

    counting = Counting()
    counting.load_state_dict(net.state_dict())
    for method in ("euler", "heun"):
        Counting.calls = 0
        _, solved = sampler(counting.requires_grad_(False), method).encode(pictures("digits"))
        assert solved.evaluations.sum() == Counting.calls


def test_a_solve_starts_where_the_last_steps_extrapolate_to():
    """A velocity that is linear in time is foreseen from the third step on, whatever the grid."""
    made = sampler(lambda x, t: 1 + 2 * t + 0 * x, steps=10)
    _, solved = made.encode(torch.ones(3, 4).double())
    assert solved.evaluations.tolist() == [2 + 2 + 8] * 3


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_a_picture_s_noise_is_what_it_has_alone(net, method):
    made = sampler(copy.deepcopy(net).double(), method)
    x = torch.cat([pictures("extreme")[:1], pictures("digits")[:4], pictures("noise")[:1]]).double()
    noise, solved = made.encode(x)
    for i in range(len(x)):
        alone, one = made.encode(x[i : i + 1])
        assert (alone[0] - noise[i]).abs().max() <= 1e-11
        assert abs(one.evaluations[0] - solved.evaluations[i]) <= 2 * len(made.steps)
    assert torch.equal(made.encode(x)[0], noise), "nothing is drawn at random"


def squash(x, t):
    """F(x) = x + squash(x) is tanh: 2 has no preimage."""
    return x.tanh() - x


def test_a_picture_without_a_preimage_is_named_and_spoils_no_other():
    made = ode.Sampler((ode.Step(squash, 0.0, 1.0, 1.0), ode.Step(squash, 1.0, 1.0, 1.0)), Solver(patience=5))
    x = torch.tensor([[0.3, 0.2], [2.0, 0.1], [0.1, 0.75], [-0.2, 0.0], [0.4, -3.0]]).double()
    noise, solved = made.encode(x)
    assert solved.failed.tolist() == [-1, 1, -1, -1, 1]
    assert solved.evaluations.max() <= 2 * made.solver.limit
    fine = [0, 2, 3]
    torch.testing.assert_close(noise[fine], x[fine].atanh().atanh(), rtol=0, atol=1e-9)
    assert noise[1].isnan().all()
    with pytest.raises(ValueError, match=r"got picture 11 and 1 more, for which step 2 of 2 .* \(residual") as error:
        solved.check(first=10)
    assert "\n" not in str(error.value)
    made.encode(x[fine])[1].check()


def test_what_is_no_number_is_named():
    made = ode.Sampler((ode.Step(lambda x, t: x.sqrt(), 0.0, 1.0, 0.1),))
    _, solved = made.encode(torch.tensor([[1.0], [-1.0]]))
    assert solved.failed.tolist() == [-1, 0]


def test_the_restart_solves_what_the_first_try_does_not():
    """From a start that overflows to infinity once, the second try comes home."""
    seen = []

    def function(x):
        seen.append(x)
        return torch.full_like(x, math.inf) if len(seen) == 2 else 0.5 * x

    x, residual, calls = Solver().solve(function, 1.0, torch.ones(1, 1).double(), torch.zeros(1, 1).double())
    assert residual <= 1e-13
    assert calls == len(seen)
    torch.testing.assert_close(x, torch.full((1, 1), 2.0).double())


def test_decode_is_differentiable_and_a_sampler_pickles(net):
    made = sampler(net)
    z = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    made.decode(z).sum().backward()
    assert z.grad.isfinite().all()
    copied = pickle.loads(pickle.dumps(made))
    assert torch.equal(copied.decode(z), made.decode(z))
    none, solved = made.encode(torch.zeros(0, 1, 8, 8))
    assert none.shape == (0, 1, 8, 8)
    solved.check()


def test_a_step_that_cannot_be_undone_is_refused():
    for a, b in ((0.0, 1.0), (1.0, 0.0), (math.inf, 1.0), (1.0, math.nan), (-1.0, 1.0)):
        with pytest.raises(ValueError, match=r"^Expected a step"):
            ode.Step(squash, 0.0, a, b)


# Densities


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_density_of_a_gaussian_is_that_of_the_linear_map(gaussian, power):
    a, c = linear(gaussian, ode.time_grid(10, power))
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(2)).double()
    made = sampler(gaussian, power=power)
    expected = torch.distributions.MultivariateNormal(c, a @ a.mT).log_prob(made.decode(z))
    found = ode_density.exact(made, z)
    torch.testing.assert_close(found.log_prob, expected, rtol=0, atol=1e-11)
    assert not found.error.any()


def test_the_density_of_affine_steps_and_of_heun_is_that_of_brute_force(net):
    double = copy.deepcopy(net).double()
    z = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    steps = tuple(ode.Step(double, t, 1.0 + t / 5, 0.1) for t in (0.2, 0.5, 0.8))
    for made in (sampler(double, "heun", 4), ode.Sampler(steps)):
        flat = torch.func.jacrev(lambda v, s=made: s.decode(v.view(1, 1, 8, 8)).flatten())(z.flatten())
        expected = torch.distributions.Normal(0, 1).log_prob(z).sum() - torch.linalg.slogdet(flat)[1]
        assert abs(ode_density.exact(made, z).log_prob.item() - expected) < 1e-9
        found = ode_density.estimate(made, z, probes=64, order=12)
        assert abs(found.log_prob.item() - expected) < 4 * found.error.item()
        assert found.truncation.item() < 0.01


def test_the_density_integrates_to_one():
    made = sampler(MixtureVelocity(torch.tensor([[-1.0], [1.5]]).double(), 0.3), steps=20, power=1.5)
    grid = torch.linspace(-5, 5, 251).double()[:, None]
    noise, solved = made.encode(grid)
    solved.check()
    density = ode_density.exact(made, noise).log_prob.exp()
    assert abs(torch.trapezoid(density, grid[:, 0]) - 1) < 1e-3


def test_the_standard_error_is_that_of_the_estimates(gaussian):
    made = sampler(gaussian, steps=8, power=2)
    z = torch.randn(1, 6, generator=torch.Generator().manual_seed(2)).double()
    exact = ode_density.exact(made, z).log_prob
    runs = [ode_density.estimate(made, z, probes=8, order=12, seed=seed) for seed in range(200)]
    values, errors = torch.cat([r.log_prob for r in runs]), torch.cat([r.error for r in runs])
    assert (values.mean() - exact).abs() < 4 * values.std() / math.sqrt(200)
    assert 0.85 < errors.square().mean().sqrt() / values.std() < 1.15
    assert (values - exact).abs().gt(2 * errors).double().mean() < 0.15


def test_one_term_is_the_trace_formula_and_its_error_that_of_fresh_signs(gaussian):
    times = ode.time_grid(8, 2)
    made, z = sampler(gaussian, steps=8, power=2), torch.zeros(1, 6).double()
    maps = [(after - t) * gaussian.matrix(t) for t, after in pairwise(times)]
    expected = -3 * math.log(2 * math.pi) - sum(m.trace() for m in maps)
    symmetric = [(m + m.mT) / 2 for m in maps]
    error = sum(2 * (s - s.diag().diag()).square().sum() for s in symmetric).sqrt()
    found = ode_density.estimate(made, z, probes=4000, order=1)
    assert (found.log_prob - expected).abs() < 4 * found.error
    assert 0.9 < found.error * math.sqrt(4000) / error < 1.1
    assert expected < ode_density.exact(made, z).log_prob - 0.1, "it is another density"


def test_an_estimate_does_not_depend_on_its_batch_and_repeats(net):
    z = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    made = sampler(net, steps=4)
    found = ode_density.estimate(made, z, probes=4)
    assert torch.equal(ode_density.estimate(made, z, probes=4).log_prob, found.log_prob)
    torch.testing.assert_close(ode_density.estimate(made, z[2:], probes=4).log_prob, found.log_prob[2:])
    assert not torch.equal(ode_density.estimate(made, z, probes=4, seed=1).log_prob, found.log_prob)
    with pytest.raises(ValueError, match=r"^Expected 2 probes"):
        ode_density.estimate(made, z, probes=1)


def test_a_step_that_folds_has_no_density():
    made = ode.Sampler((ode.Step(lambda x, t: -x * torch.tensor([0.5, 1.5]).double(), 0.0, 1.0, 1.0),))
    with pytest.raises(ValueError, match=r"step 1 of 1 with a determinant of sign -1 at picture 0"):
        ode_density.exact(made, torch.ones(1, 2).double())
