"""Laws of the mixture of logistics: closed forms, its inverse near and far, gradients of the inverse."""

import pytest
import torch

from transflow.generative.mixture_coupling import Mixture

FAR = [0.0, 1e-8, 0.5, 3.0, 40.0, 1e3, 1e6]


def mixture(components=4, dtype=torch.float64, count=500, seed=0, spread=3.0):
    raw = torch.randn(
        count, 3 * components + 2, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return Mixture.of((spread * raw).to(dtype), components)


def test_forward_is_the_logit_of_the_distribution_function():
    m = mixture(spread=1.0)
    x = torch.randn(500, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    p = (m.log_weight.exp() * ((x[..., None] - m.mean) / m.log_scale.exp()).sigmoid()).sum(-1)
    z, slope = m.forward(x)
    torch.testing.assert_close(z, m.a.exp() * (p.logit() + m.b), rtol=1e-9, atol=1e-9)
    x.requires_grad_()
    (found,) = torch.autograd.grad(m.forward(x)[0].sum(), x)
    torch.testing.assert_close(found.log(), slope, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(m.log_weight.exp().sum(-1), torch.ones(500, 1, 1, 1, dtype=torch.float64))


def test_one_logistic_is_an_affine_map():
    m = mixture(components=1)
    x = torch.randn(500, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = m.a.exp() * ((x - m.mean[..., 0]) * (-m.log_scale[..., 0]).exp() + m.b)
    z, slope = m.forward(x)
    torch.testing.assert_close(z, expected)
    torch.testing.assert_close(slope, m.a - m.log_scale[..., 0])
    torch.testing.assert_close(m.inverse(z), x)


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_inverse_is_one_to_double_precision_near_and_far(far, sign):
    m = mixture()
    x = torch.full((500, 1, 1, 1), sign * far, dtype=torch.float64)
    z, slope = m.forward(x)
    assert z.isfinite().all()
    assert slope.isfinite().all()
    again = m.forward(m.inverse(z))[0]
    torch.testing.assert_close(again, z, rtol=1e-12, atol=1e-12)
    flat = slope > -7  # where a rounding of z is no more than a thousand of x
    torch.testing.assert_close(m.inverse(z)[flat], x[flat], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(m.inverse(x) * 0, torch.zeros_like(x))  # any latent has a preimage


def test_in_single_precision_the_inverse_is_as_exact_as_that():
    """Of a latent rounded to single precision, the preimage is that of the rounded latent, rounded: no more is lost."""
    m = mixture(dtype=torch.float32)
    z = 5 * torch.randn(500, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    found = m.inverse(z)
    assert found.dtype == torch.float32
    exact = Mixture(*(part.double() for part in m)).inverse(z.double())
    assert ((found - exact).abs() <= 6e-8 * exact.abs()).all()


def test_gradients_of_the_inverse_are_those_of_the_implicit_function():
    m = mixture(spread=1.0, count=20)
    z = torch.randn(20, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    given = [part.requires_grad_() for part in (z, *m)]
    assert torch.autograd.gradcheck(lambda z, *parts: Mixture(*parts).inverse(z), given, atol=1e-5, rtol=1e-4)


def test_each_number_is_searched_by_itself():
    m = mixture()
    z = torch.randn(500, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    alone = Mixture(*(part[7:8] for part in m)).inverse(z[7:8])
    torch.testing.assert_close(alone, m.inverse(z)[7:8], rtol=0, atol=0)
