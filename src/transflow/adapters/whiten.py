"""Latents made flat and standard normal, whatever the shape and the base that a library gives them.

A flow has z = f(x) and a base density p(z). Standardising is one more bijection, eps = g(z), with eps ~ N(0, I):

    diagonal   eps = (z - m) / s             log |det deps/dz| = - sum log s
    dense      eps = L^-1 (z - m)            log |det deps/dz| = - log |det L|
    uniform    eps = ndtri((z - lo) / (hi - lo))
                                             log |det deps/dz| = - sum log (hi - lo) - log N(eps; 0, I)

and log p(x) = log N(eps; 0, I) + log |det dz/dx| + log |det deps/dz|. All of it is done in double: the normal quantile
of float32 ends at 5.3 and is infinite at the edge of the box. Bases that have no such map for single vectors, such as
mixtures, are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

EDGE = 2.0**-53  # how near to the edges of its box a uniform latent is taken: 8.2 standard deviations


class Base(Protocol):
    """The distribution of a library's flat latents z (B, D), and the bijection that makes it N(0, I)."""

    @property
    def dim(self) -> int:
        """D."""

    @property
    def note(self) -> str:
        """What a user must know of the map, in a sentence; empty for a Gaussian."""

    def standardise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return eps (B, D) and log |det deps/dz| (B,), in nats, both in double."""

    def restore(self, eps: Tensor) -> Tensor:
        """Return z (B, D) of eps (B, D), in double."""


@dataclass(frozen=True)
class Diagonal:
    """N(m, diag s^2), as every flow library has it.

    Attributes:
        mean: m, (D,), double.
        log_scale: log s, (D,), double.

    >>> eps, log_det = Diagonal.of(torch.ones(2), torch.tensor([1.0, 2.0]).log()).standardise(torch.full((1, 2), 5.0))
    >>> [round(number, 4) for number in (*eps[0].tolist(), log_det.item())]
    [4.0, 2.0, -0.6931]
    """

    mean: Tensor
    log_scale: Tensor

    note = ""

    @classmethod
    def standard(cls, dim: int, device: torch.device | str = "cpu") -> Diagonal:
        """Return N(0, I) over D = dim numbers, which changes no latent."""
        zero = torch.zeros(dim, dtype=torch.float64, device=device)
        return cls(zero, zero)

    @classmethod
    def of(cls, mean: Tensor, log_scale: Tensor) -> Diagonal:
        """Return N(m, diag s^2) of m and log s of any one shape, flattened."""
        mean, log_scale = torch.broadcast_tensors(mean.detach().double(), log_scale.detach().double())
        return cls(mean.flatten(), log_scale.flatten())

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def standardise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return (z - m) / s and - sum log s."""
        return (z.double() - self.mean) * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(z))

    def restore(self, eps: Tensor) -> Tensor:
        """Return m + s eps."""
        return self.mean + self.log_scale.exp() * eps.double()

    def variance(self, variance: Tensor) -> Tensor:
        """Return the variances (B, D) of eps, of variances (B, D) of z."""
        return variance.double() * (-2 * self.log_scale).exp()


@dataclass(frozen=True)
class Dense:
    """N(m, L L^T).

    Attributes:
        mean: m, (D,), double.
        factor: L, (D, D), lower triangular, double.
    """

    mean: Tensor
    factor: Tensor

    note = ""

    @property
    def dim(self) -> int:
        """D."""
        return len(self.mean)

    def standardise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return L^-1 (z - m) and - log |det L|."""
        eps = torch.linalg.solve_triangular(self.factor, (z.double() - self.mean).T, upper=False).T
        return eps, -self.factor.diagonal().abs().log().sum().expand(len(z))

    def restore(self, eps: Tensor) -> Tensor:
        """Return m + L eps."""
        return self.mean + eps.double() @ self.factor.T


@dataclass(frozen=True)
class Box:
    """The uniform distribution between lo and hi, made normal by the quantile function, number by number.

    That is a choice: any other bijection of the box to N(0, I) would do, and averages of latents differ.

    Attributes:
        low: lo, (D,), double.
        high: hi, (D,), double.
    """

    low: Tensor
    high: Tensor

    note = "its base is uniform: every latent was mapped to a standard normal one by the normal quantile function"

    @property
    def dim(self) -> int:
        """D."""
        return len(self.low)

    def standardise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return ndtri of the place in the box, and its log-determinant.

        Raises:
            ValueError: a latent outside the box, where the base has no density.
        """
        u = (z.double() - self.low) / (self.high - self.low)
        outside = ((u < -EDGE) | (u > 1 + EDGE)).any(1)
        if outside.any():
            raise ValueError(
                f"Expected latents inside the box of a uniform base; got picture {int(outside.nonzero()[0])} outside. "
                "Give pixels= inside the range that the flow takes."
            )
        eps = torch.special.ndtri(u.clamp(EDGE, 1 - EDGE))
        normal = eps.square().sum(1) / 2 + self.dim / 2 * math.log(2 * math.pi)
        return eps, normal - (self.high - self.low).log().sum()

    def restore(self, eps: Tensor) -> Tensor:
        """Return lo + (hi - lo) ndtr(eps)."""
        return self.low + (self.high - self.low) * torch.special.ndtr(eps.double())


@dataclass(frozen=True)
class Levels:
    """Independent bases of parts of a latent, in the order in which the parts are flattened."""

    bases: tuple[Base, ...]

    @property
    def dim(self) -> int:
        """D, of all parts."""
        return sum(base.dim for base in self.bases)

    @property
    def note(self) -> str:
        """What there is to know of any part."""
        return next((base.note for base in self.bases if base.note), "")

    def standardise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return every part standardised, and the sum of the log-determinants."""
        parts = z.split([base.dim for base in self.bases], 1)
        done = [base.standardise(part) for base, part in zip(self.bases, parts, strict=True)]
        return torch.cat([eps for eps, _ in done], 1), torch.stack([log_det for _, log_det in done]).sum(0)

    def restore(self, eps: Tensor) -> Tensor:
        """Return every part restored."""
        parts = eps.split([base.dim for base in self.bases], 1)
        return torch.cat([base.restore(part) for base, part in zip(self.bases, parts, strict=True)], 1)


def flatten(parts: Tensor | Sequence[Tensor]) -> Tensor:
    """Return one tensor (B, D) of a latent or of a list or tuple of latents, each (B, ...), in their order."""
    if isinstance(parts, Tensor):
        parts = (parts,)
    return torch.cat([part.flatten(1) for part in parts], 1)


def shapes(parts: Tensor | Sequence[Tensor]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of latents without the batch, as `split` takes them."""
    if isinstance(parts, Tensor):
        parts = (parts,)
    return tuple(tuple(part.shape[1:]) for part in parts)


def split(flat: Tensor, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return a flat latent (B, D) as the list that `flatten` took, of the given shapes without the batch.

    >>> [tuple(part.shape) for part in split(torch.zeros(2, 14), [(2, 2, 2), (6,)])]
    [(2, 2, 2, 2), (2, 6)]
    """
    parts = flat.split([math.prod(shape) for shape in shapes], 1)
    return [part.reshape(len(flat), *shape) for part, shape in zip(parts, shapes, strict=True)]


def base_of(distribution: Any) -> Base:
    """Return the base of a `torch.distributions` distribution over one latent; its batch counts as of the latent.

    Args:
        distribution: Normal, MultivariateNormal, LowRankMultivariateNormal or Uniform, or `Independent` of one;
            zuko's DiagNormal and BoxUniform are such.

    Raises:
        ValueError: it is of another family, which is named.
    """
    inner, families = distribution, _families(distribution)
    while "Independent" in families:
        inner = inner.base_dist
        families = _families(inner)
    if "Normal" in families:
        return Diagonal.of(inner.loc, inner.scale.double().log())
    if "Uniform" in families:
        low, high = torch.broadcast_tensors(inner.low.detach().double(), inner.high.detach().double())
        return Box(low.flatten(), high.flatten())
    if families & {"MultivariateNormal", "LowRankMultivariateNormal"}:
        factors = inner.scale_tril.detach().double()
        blocks = factors.reshape(-1, *factors.shape[-2:])
        mean = inner.loc.detach().double().expand(*factors.shape[:-1])
        return Dense(mean.flatten(), torch.block_diag(*blocks))
    raise refusal(inner)


def refusal(base: Any) -> ValueError:
    """Return the error that a base cannot be made N(0, I), with the base's class."""
    return ValueError(
        f"Expected a flow with a Gaussian or uniform base; got {type(base).__name__}, whose latents no bijection "
        "of single numbers makes standard normal. Train the flow with a Gaussian base."
    )


def _families(distribution: Any) -> set[str]:
    """The names of its torch.distributions classes; none where a class of others gives it another density."""
    kinds = type(distribution).__mro__
    density = next((kind for kind in kinds if "log_prob" in vars(kind)), object)
    own = density.__module__.startswith("torch.")
    return {kind.__name__ for kind in kinds if own and kind.__module__.startswith("torch.")}
