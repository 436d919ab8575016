"""The latent of a picture under a generator g, by search.

    eps* = argmin |g(eps) - x|^2 / P + w |eps|^2 / D,   P numbers of a picture

Starts are the same few hundred draws of N(0, I) for every picture. From those whose pictures are nearest, L-BFGS with
strong Wolfe steps goes a little way, and the best of these goes on. The prior term w would keep a picture that the
generator can make from being found exactly, so for the last iterations it is switched off, if the picture is nearly
found by then. One that the generator cannot make keeps it: without, its latent grows far beyond the prior's for next to
no gain (a drawn face under a GAN of photographs: |eps| / sqrt(D) of 3.2 for 1.4, an error of 0.118 for 0.133).

Each picture is searched for alone: its latent does not depend on its neighbours, not even by rounding.

Reference: Liu and Nocedal 1989, *On the limited memory BFGS method for large scale optimization*, Math. Program. 45.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import LBFGS

from transflow.pictures.pixels import PixelFormat

BATCH = 64  # starts decoded at a time
HISTORY = 20  # of L-BFGS
Report = Callable[[int, int], None]
Generate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Search:
    """How a latent is searched for.

    Attributes:
        starts: latents drawn; the same for every picture.
        restarts: the nearest of them, which are tried.
        scout: iterations for each of these, with the prior term.
        steps: iterations for the best, with the prior term.
        free: iterations after that, without it where a picture is nearly found.
        prior: w, in squared units of the pixel range; larger keeps latents of pictures that the generator cannot make
            shorter, and makes them fit less well.
        near: the root mean square error below which a picture is nearly found; 1 switches the prior term off for all.
        seed: of the starts.
    """

    starts: int = 512
    restarts: int = 4
    scout: int = 20
    steps: int = 100
    free: int = 200
    prior: float = 1e-3
    near: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.restarts <= self.starts:
            raise ValueError(f"Expected 1 to {self.starts} restarts of {self.starts} starts; got {self.restarts}.")
        if min(self.scout, self.steps, self.free) < 0:
            raise ValueError("Expected iterations of 0 or more; got fewer.")
        if not 0 <= self.prior < math.inf or not self.near >= 0:
            raise ValueError(
                f"Expected a weight of the prior and an error of 0 or more; got {self.prior}, {self.near}."
            )


@dataclass(frozen=True)
class Inversion:
    """What a search found.

    Attributes:
        latents: eps, (B, D).
        errors: the root mean square error of each decoded picture, (B,), double, in units of the pixel range. A picture
            of 8 bits that the generator can make ends near 0.001.
    """

    latents: Tensor
    errors: Tensor


def targets(pictures: Tensor, pixels: PixelFormat, shape: tuple[int, int, int]) -> Tensor:
    """Return pictures as floats (B, C, H, W) in units in which black is 0 and white 1.

    Args:
        pictures: uint8, or floats in these units.
        pixels: how the model sees them.
        shape: of the model, (C, H, W).

    Raises:
        ValueError: they are of another shape or kind, or not finite.
    """
    if pictures.dtype == torch.uint8:
        pictures = pixels.unit_unclamped(pixels.centre(pictures))
    if tuple(pictures.shape[1:]) != shape or not pictures.is_floating_point():
        raise ValueError(
            f"Expected pictures of shape (B, {', '.join(map(str, shape))}), uint8 or floats; got "
            f"{pictures.dtype} {tuple(pictures.shape)}."
        )
    if (bad := ~pictures.flatten(1).isfinite().all(1)).any():
        raise ValueError(f"Expected finite pictures; got NaN or infinity in picture {int(bad.nonzero()[0])}.")
    return pictures


def invert(generate: Generate, targets: Tensor, dim: int, search: Search, report: Report | None = None) -> Inversion:
    """Return the latents of pictures, and how far from each its latent's picture is.

    Args:
        generate: eps (B, D) -> pictures (B, C, H, W), differentiable; in units in which black is 0 and white 1.
        targets: pictures (B, C, H, W) in the same units, of the dtype and on the device of the generator.
        dim: D.
        search: how.
        report: called with how many pictures are done, and of how many.

    Raises:
        ValueError: the generator gives NaN; the picture is named.
    """
    generator = torch.Generator().manual_seed(search.seed)
    starts = torch.randn(search.starts, dim, generator=generator, dtype=torch.float32, device="cpu").to(targets)
    nearest = _nearest(generate, targets, starts, search.restarts)
    latents, errors = [starts[:0]], []
    for i, target in enumerate(targets):
        try:
            latent, error = _one(generate, target, [starts[k : k + 1] for k in nearest[i].tolist()], search)
        except FloatingPointError:
            raise ValueError(
                "Expected finite pictures from the generator; got NaN or infinity in the search for the latent of "
                f"picture {i} of the batch."
            ) from None
        latents.append(latent)
        errors.append(error)
        if report is not None:
            report(i + 1, len(targets))
    return Inversion(torch.cat(latents), torch.tensor(errors, dtype=torch.float64, device="cpu").sqrt())


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor, steps: int, scale: float) -> Tensor:
    """Return where L-BFGS with strong Wolfe steps ends from a start.

    Args:
        loss: of a latent (1, D), a scalar.
        start: (1, D).
        steps: iterations at most; it stops where rounding lets it go no further.
        scale: multiplies the loss, so that the optimiser's tolerances are far below its rounding.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    if not steps:
        return start
    eps = start.detach().clone().requires_grad_()
    try:
        optimiser = LBFGS(
            [eps],
            max_iter=steps,
            max_eval=2 * steps,
            history_size=HISTORY,
            tolerance_grad=1e-9,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )
    except OSError as error:  # every optimiser of torch imports its compiler
        raise OSError(
            f"Expected a folder for torch's compiler to write to; got none ({' '.join(str(error).split())}). "
            "Set TMPDIR, or TORCHINDUCTOR_CACHE_DIR, to one that can be written."
        ) from error

    def closure() -> Tensor:
        value = scale * loss(eps)
        if not value.isfinite():
            raise FloatingPointError
        (eps.grad,) = torch.autograd.grad(value, eps)  # of the latent alone: a user's weights keep their gradients
        return value

    optimiser.step(closure)
    return eps.detach()


def _one(generate: Generate, target: Tensor, starts: list[Tensor], search: Search) -> tuple[Tensor, float]:
    """The latent (1, D) of a picture (C, H, W), and its mean squared error."""

    def error(eps: Tensor) -> Tensor:
        return (generate(eps) - target).square().mean()

    def penalised(eps: Tensor) -> Tensor:
        return error(eps) + search.prior * eps.square().mean()

    tried = starts
    if len(starts) > 1:
        tried = [minimise(penalised, start, search.scout, target.numel()) for start in starts]
    best = min(tried, key=lambda eps: _value(penalised, eps))
    best = minimise(penalised, best, search.steps, target.numel())
    nearly = _value(error, best) <= search.near**2
    best = minimise(error if nearly else penalised, best, search.free, target.numel())
    return best, _value(error, best)


@torch.no_grad()
def _nearest(generate: Generate, targets: Tensor, starts: Tensor, count: int) -> Tensor:
    """The places of the starts whose pictures are nearest, (B, count)."""
    distances = starts.new_empty(len(targets), len(starts))
    for begin in range(0, len(starts), BATCH):
        made = generate(starts[begin : begin + BATCH])
        for i, target in enumerate(targets):
            distances[i, begin : begin + BATCH] = (made - target).square().flatten(1).mean(1)
    return torch.sort(distances, dim=1, stable=True).indices[:, :count]


@torch.no_grad()
def _value(loss: Callable[[Tensor], Tensor], eps: Tensor) -> float:
    return loss(eps).item()
