"""The shortest way from one Gaussian to another: optimal transport, and the Bures-Wasserstein path.

Of all maps from N(mu_a, A) to N(mu_b, B) this one moves latents least,

    T(z) = mu_b + M (z - mu_a),   M = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2,

by a mean square of |mu_b - mu_a|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2). The part t of the way, z + t (T(z) - z), leads
through

    N((1 - t) mu_a + t mu_b,  ((1 - t) I + t M) A ((1 - t) I + t M)),

of standard deviations that grow evenly where A and B vary in the same directions, and that are shorter on the way, by
sqrt(2) halfway, where those are unrelated. For diagonals plus low rank M is a small matrix in the span of both (see
`span`) and diagonal outside it, exactly, where the diagonals are constant on a few pieces, as on a model's levels; for
small D any covariances will do. Between alpha I and beta I plus low rank, the covariance on the way is s_t^2 I,
s_t = (1 - t) sqrt(alpha) + t sqrt(beta), plus a positive matrix of low rank, since the root of the least eigenvalue is
concave on the way.

References: Olkin and Pukelsheim 1982, *The distance between two random vectors with given dispersion matrices*; Bhatia,
Jain and Lim 2019, arXiv 1712.01504; Altschuler et al. 2021, arXiv 2106.08502 (the least eigenvalue).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from transflow.gaussians.covariance import Covariance, DiagonalPlusLowRank, FullCovariance
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.span import Span, SpanCovariance, root

SMALL = 2048  # D up to which any two covariances are written out


@dataclass(frozen=True, eq=False)
class Transport:
    """The optimal-transport map between two Gaussians.

    Attributes:
        source: where latents come from.
        target: where they go.
        span: Q, which both covariances leave invariant.
        outside: M outside the span, shape () or (D,).
        inside: M inside the span, shape (R, R).

    >>> a, b = Gaussian.of(torch.zeros(2), 1.0), Gaussian.of(torch.ones(2), torch.tensor([1.0, 9.0]))
    >>> Transport.between(a, b).move(torch.tensor([[0.0, 2.0]])).tolist()
    [[1.0, 7.0]]
    """

    source: Gaussian
    target: Gaussian
    span: Span
    outside: Tensor
    inside: Tensor

    @classmethod
    def between(cls, source: Gaussian, target: Gaussian) -> Self:
        """Return the map from the source to the target.

        Raises:
            ValueError: they differ in D, or are of large D and have no common small span.
        """
        if source.dim != target.dim:
            raise ValueError(f"Expected two Gaussians of the same D; got {source.dim} and {target.dim}.")
        span = common_span(source.covariance, target.covariance)
        if span is None:
            raise ValueError(
                f"Expected covariances with diagonals of a few values, or D of at most {SMALL}; got D = {source.dim}."
            )
        a, b = (span.inside(g.covariance) for g in (source, target))
        half = root(a)
        back = torch.linalg.inv(half)
        left, values, _ = torch.linalg.svd(half @ root(b))  # more exact than the root of A^1/2 B A^1/2
        inside = back @ (left * values) @ left.T @ back
        outside = (span.outside(target.covariance) / span.outside(source.covariance)).sqrt()
        return cls(source, target, span, outside, (inside + inside.T) / 2)

    def move(self, latents: Tensor, strength: float = 1.0) -> Tensor:
        """Return latents moved a part of the way, shape (n, D), in their dtype; at strength 0 they stay as they are.

        Args:
            latents: z, shape (n, D), of the source.
            strength: t; 0 to 1, and beyond to exaggerate.
        """
        if latents.ndim != 2 or latents.shape[1] != self.source.dim:
            raise ValueError(f"Expected latents of shape (n, {self.source.dim}); got {tuple(latents.shape)}.")
        if not math.isfinite(strength):
            raise ValueError(f"Expected a finite strength; got {strength}.")
        z = latents.double()
        gap = z - self.source.mean
        change = self.inside - torch.diag(self.span.columns(self.outside))
        moved = self.target.mean + self.outside * gap + self.span.out(self.span.into(gap) @ change)
        return (z + strength * (moved - z)).to(latents.dtype)

    def at(self, t: float) -> Gaussian:
        """Return the Gaussian at t of 0 to 1 of the way; its ends are the source and the target themselves."""
        if not 0 <= t <= 1:
            raise ValueError(f"Expected a part of the way of 0 to 1; got {t}.")
        if t in (0, 1):
            return self.target if t else self.source
        eye = torch.eye(len(self.inside), dtype=self.inside.dtype, device=self.inside.device)
        way = torch.lerp(eye, self.inside, t)
        matrix = way @ self.span.inside(self.source.covariance) @ way
        outside = (1 - t + t * self.outside).square() * self.span.outside(self.source.covariance)
        return Gaussian(torch.lerp(self.source.mean, self.target.mean, t), _structured(self.span, outside, matrix))

    def squared_distance(self) -> float:
        """Return the mean square by which latents are moved, the squared Wasserstein distance of the two."""
        a, b = (self.span.outside(g.covariance) for g in (self.source, self.target))
        gaps = (b.sqrt() - a.sqrt()).square()
        inside = self.span.inside(self.source.covariance)
        shift = self.inside - torch.eye(len(inside), dtype=inside.dtype, device=inside.device)
        of_mean = (self.target.mean - self.source.mean).square().sum()
        outside = gaps.expand(self.source.dim).sum() - self.span.columns(gaps).sum()
        return (of_mean + outside + (shift @ inside @ shift).trace()).item()


def common_span(a: Covariance, b: Covariance) -> Span | None:
    """Return a span that both covariances leave invariant, everything for small D; None where there is none."""
    if isinstance(a, DiagonalPlusLowRank) and isinstance(b, DiagonalPlusLowRank):
        span = Span.of([a, b])
        if span is not None:
            return span
    return Span.whole(a.dim, a.variances().device) if a.dim <= SMALL else None


def _structured(span: Span, outside: Tensor, matrix: Tensor) -> Covariance:
    """The covariance of these parts, as a diagonal plus low rank where it always is one."""
    matrix = (matrix + matrix.T) / 2
    if span.is_whole:
        full = span.out(span.out(matrix).T)
        return FullCovariance((full + full.T) / 2)
    if not span.pieces:
        return DiagonalPlusLowRank(span.dim, outside)
    if outside.ndim or len(span.pieces) > 1:
        return SpanCovariance(span, outside, matrix)
    one = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    values, vectors = torch.linalg.eigh(matrix - outside * one)
    several = values > 1e-13 * values[-1].abs()
    factor = span.out((vectors[:, several] * values[several].sqrt()).T).T
    return DiagonalPlusLowRank(span.dim, outside, factor if factor.shape[1] else None)
