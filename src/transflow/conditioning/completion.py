"""Pictures of which only a part is known: samples of p(z | A f(z) = y + noise).

Randomise, then optimise. Each sample has its own draw z_0 of the prior and its own noise e on the observation, and is

    argmin_z  |A f(z) - y - e|^2 / (2 sigma^2) + |z - z_0|^2_prior / 2,   e ~ N(0, sigma^2 I),

an exact sample of the posterior where A f is linear, else one nearby, which trajectories of Hamiltonian Monte Carlo
(`hmc`) bring to it. All samples are one batch (`minimise`), in numbers in which the prior is N(0, I) (`whitened`) and
each is divided by its curvature (`energy`). Three stages, because the decoder is steep in a few directions and flat in
thousands: at a larger noise until the coarse agrees; then the unknown is kept, what is known is put into the picture
itself, and the picture is encoded, which an invertible model does in one step; then at the noise itself.

References: Oliver, He and Reynolds 1996, *Conditioning permeability fields to pressure data*; Bardsley, Solonen, Haario
and Laine 2014, *Randomize-then-optimize*, SIAM J. Sci. Comput. 36(4).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.conditioning.energy import Energy
from transflow.conditioning.hmc import LEAPFROGS, run_chains
from transflow.conditioning.minimise import minimise
from transflow.conditioning.operators import Operator, apply, as_operator, observe
from transflow.conditioning.whitened import Whitened
from transflow.devices import fresh_seed
from transflow.gaussians.gaussian import Gaussian
from transflow.pictures.grids import to_uint8
from transflow.pictures.preprocess import BATCH

NOISE = 0.02  # of the range of pixels
TEMPERATURE = 0.9
NUMBERS = 2**17  # of the latents of a batch, where these are more than `BATCH` samples
COARSE = 0.15  # the noise of the first stage, at least
COARSE_STEPS, STEPS = 20, 40
TOLERANCE = 2e-3  # nats for each observed number, below which a step does not count
FREE = 0.25  # how far a pixel may go when what is known is put into a picture, as a standard deviation


class HasGaussian(Protocol):
    """A way of drawing latents that has a mean and a covariance: a `Posterior`."""

    @property
    def gaussian(self) -> Gaussian:
        """The Gaussian of the same mean and covariance."""


@dataclass(frozen=True, eq=False)
class Completion:
    """Pictures that agree with what is known of one.

    Attributes:
        latents: (n, D).
        pictures: floats in [0, 1], (n, C, H, W).
        observed: what was known, y, (1, ...).
        errors: root mean square difference of each sample's part from y, (n,), double, of the range of pixels.
        evaluations: of the decoder with its gradient, how many each sample took, (n,).
        accepted: share of the steps of `refine` that were accepted, (n,); None without.
    """

    latents: Tensor
    pictures: Tensor
    observed: Tensor
    errors: Tensor
    evaluations: Tensor
    accepted: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """The mean of the pictures, (C, H, W): the best guess of each pixel, and no picture of the model's."""
        return self.pictures.mean(0)

    def interval(self, rate: float) -> tuple[Tensor, Tensor]:
        """Return between which values each number of the picture lies with a probability of ``rate``, (C, H, W) each.

        A further sample lies between the k-th smallest and the k-th largest of n with probability 1 - 2k / (n + 1);
        between whole k the values are interpolated.

        Raises:
            ValueError: there are too few samples for the rate.
        """
        n = len(self.pictures)
        place = round((n + 1) * (1 - rate) / 2 - 1, 9)
        if not 0 < rate < 1 or place < 0:
            least = math.ceil(round(2 / (1 - rate) - 1, 9)) if 0 < rate < 1 else n
            raise ValueError(
                f"Expected a rate between 0 and 1, and samples enough for it, {least}; got {rate}, of {n} samples."
            )
        ordered = self.pictures.sort(0).values
        k, part = int(place), place - int(place)
        low, high = ordered[k : k + 2], ordered[n - 2 - k : n - k]
        return low[0].lerp(low[-1], part), high[-1].lerp(high[0], part)


@torch.inference_mode(False)  # it searches by gradients, wherever it is called
def complete(
    model: BaseModel,
    picture: Any,
    known: Any,
    noise: float = NOISE,
    n: int = 8,
    *,
    seed: int | None = None,
    prior: Gaussian | HasGaussian | None = None,
    temperature: float = TEMPERATURE,
    refine: int = 0,
) -> Completion:
    """Return samples of what a picture may be, given the part of it that is known.

    Args:
        model: whose decode has gradients.
        picture: one, as `Model.encode` takes them; what is not known of it is not looked at.
        known: a mask (H, W), true where pixels are known; or an operator (see `operators`).
        noise: sigma, the standard deviation of what is observed, the range of pixels being 1.
        n: how many samples.
        seed: of the draws; samples of the same seed are the same.
        prior: a posterior, or a Gaussian over latents, in place of the model's prior.
        temperature: T, multiplies the standard deviation of the prior.
        refine: trajectories of Hamiltonian Monte Carlo after the search, each of ten evaluations.

    Raises:
        ValueError: one of these does not fit; the model's decode, or the operator, has no gradient.
    """
    if not 0 < noise < math.inf or not 0 < temperature < math.inf:
        raise ValueError(f"Expected a noise and a temperature above 0; got {noise} and {temperature}.")
    if n < 1 or refine < 0:
        raise ValueError(f"Expected 1 sample or more, refined 0 times or more; got {n} and {refine}.")
    operator = as_operator(known, model)
    y = observe(picture, operator, model).to(model.device, copy=True)
    gaussian = copy.deepcopy(_gaussian(prior, model))  # of inference mode, it would let no gradient pass
    generator = torch.Generator().manual_seed(fresh_seed() if seed is None else seed)
    parts = []
    most = max(BATCH, NUMBERS // model.dim)
    for begin in range(0, n, most):
        count = min(most, n - begin)
        parts.append(draw(model, operator, y, noise, count, Whitened(gaussian, temperature), generator, refine))
    joined = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in ("latents", "pictures", "errors", "evaluations")
    }
    accepted = [part.accepted for part in parts if part.accepted is not None]
    return Completion(observed=y, accepted=torch.cat(accepted) if accepted else None, **joined)


def draw(
    model: BaseModel,
    operator: Operator,
    y: Tensor,
    noise: float,
    n: int,
    prior: Whitened,
    generator: torch.Generator,
    refine: int = 0,
) -> Completion:
    """Return n samples for each observation y (b, ...), those of the first observation first, as one batch."""
    target = y.flatten(1).repeat_interleave(n, 0)
    start, error = (
        torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
        for shape in ((len(target), prior.size), target.shape)
    )
    start, perturbed = start.to(model.device), target + noise * error.to(target)
    energy = Energy(model, operator, prior, perturbed, start, noise)
    xi, evaluations = _search(replace(energy, sigma=max(noise, COARSE)), start, COARSE_STEPS, generator)
    if model.can("score"):  # it is invertible exactly
        xi = _put_in(energy, xi)
    xi, more = _search(energy, xi, STEPS, generator)
    accepted = None
    if refine:
        posterior = replace(energy, target=target, centre=torch.zeros_like(start))
        chains = run_chains(posterior, xi, posterior.widths(xi, generator), refine, generator)
        xi, accepted = chains.points, chains.accepted
        more = more + refine * LEAPFROGS + 1
    with torch.no_grad():
        latents = prior.latents(xi)
        pictures = model.decode(latents)
    return Completion(latents, pictures, y, energy.errors(xi, target), evaluations + more, accepted)


def _search(energy: Energy, xi: Tensor, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Where the rows end from xi, and how many evaluations each took; in units of the curvatures."""
    widths = energy.widths(xi, generator)

    def scaled(u: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = energy(u * widths, rows)
        return value, gradient * widths

    found = minimise(scaled, xi / widths, steps, TOLERANCE * energy.target.shape[1])
    return found.points * widths, found.evaluations


def _put_in(energy: Energy, xi: Tensor) -> Tensor:
    """The latents of the rows' pictures with what is known put into them, where that lowers the energy."""
    model, every = energy.model, torch.arange(len(xi), device=xi.device)
    with torch.no_grad():
        before = model.decode(energy.prior.latents(xi))

    def apart(flat: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            flat = flat.detach().requires_grad_()
            seen = apply(energy.operator, flat.view(-1, *before.shape[1:])).flatten(1)
            residual = (seen - energy.target[rows]) / energy.sigma
            moved = (flat - before.flatten(1)[rows]) / FREE
            value = (residual.double().square().sum(1) + moved.double().square().sum(1)) / 2
            (gradient,) = torch.autograd.grad(value.sum(), flat)
        return value.detach(), gradient

    after = minimise(apart, before.flatten(1), STEPS, TOLERANCE * energy.target.shape[1]).points
    latents = model.encode_pixels(to_uint8(after.view_as(before))).to(xi)
    moved = energy.prior.nearest(latents, xi)
    better = energy(moved, every)[0] < energy(xi, every)[0]
    return torch.where(better[:, None], moved, xi)


def _gaussian(prior: Gaussian | HasGaussian | None, model: BaseModel) -> Gaussian:
    """The Gaussian that completes: of the model, or of evidence."""
    if prior is None:
        return model.prior
    gaussian = prior if isinstance(prior, Gaussian) else prior.gaussian
    if gaussian.dim != model.dim:
        raise ValueError(f"Expected a prior over latents of D = {model.dim}; got D = {gaussian.dim}.")
    return gaussian
