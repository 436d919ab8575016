"""An ODE sampler over floats as a model of pictures: uint8 pictures in, flat standard-normal latents out.

The latent of a picture is the noise that the sampler's own steps take to it, so ``decode(encode(x)) = x`` up to the
residual of the solver, and the density of pictures u in [0, 1]^D is that of these steps (see `ode_density`):

    log p(u) = log N(z; 0, I) - sum_k log|det F_k'(x_k)| + log|det dx/du|.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from transflow.checks import check_latents
from transflow.devices import full_float32
from transflow.gaussians.gaussian import Gaussian
from transflow.generative import ode_density
from transflow.generative.ode import Sampler, Solved
from transflow.generative.ode_density import Density
from transflow.pictures.pixels import PixelFormat

TEMPERATURE = 0.8  # of ODE models that do not say: shorter latents decode to blurred pictures
RANGE = PixelFormat(bits=8, low=-1.0, high=1.0)  # what diffusion and flow-matching networks see, but for half a bin


@dataclass(frozen=True, eq=False)
class OdeModel:
    """A trained network, the sampler that it is used with, and a pixel format.

    Attributes:
        sampler: its steps call the network.
        network: holds the weights; in eval mode, and without gradients.
        shape: of a picture, (C, H, W).
        pixels: how the network sees pixels.
        fingerprint: of the weights and of all that changes the map, time grid and pixel format included (see
            `store.identity`); None for a network that is a plain function, whose identity is not known.
        card: what is known of the model; "notes" are sentences that a user must know.
        temperature: length of latents, over sqrt(D), at which its pictures look best: tau of the noise "typical".
        exactness: the largest error of a round trip, black to white being 1: as measured, else ten times the largest
            residual that passes for solved.
    """

    sampler: Sampler = field(repr=False)
    network: nn.Module = field(repr=False)
    shape: tuple[int, int, int]
    pixels: PixelFormat = RANGE
    fingerprint: str | None = None
    card: dict[str, Any] = field(default_factory=dict)
    temperature: float = TEMPERATURE
    exactness: float = 5e-5

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what was made of them is made again in a copy."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @property
    def dim(self) -> int:
        """D, the length of a latent."""
        return prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits a pixel and channel."""
        return self.pixels.bits

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return like(self.network).device

    @property
    def precision(self) -> str:
        """The dtype of weights and latents, such as "float32"."""
        return str(like(self.network).dtype).removeprefix("torch.")

    @property
    def prior(self) -> Gaussian:
        """N(0, I) over the D latents: what the sampler starts from."""
        return Gaussian.standard(self.dim, self.device)

    @property
    def lacks(self) -> dict[str, str]:
        """What the model has not, and why."""
        reasons = {"features": "a sampler has the activations of many evaluations, and none of them is the picture's"}
        if self.fingerprint is None:
            reasons["fingerprint"] = "its network is a plain function, without weights to hash"
        return reasons

    def encode(self, pictures: Tensor) -> Tensor:
        """Return latents, (B, D), of uint8 pictures (B, C, H, W).

        Raises:
            ValueError: pictures of another shape or kind; or one that the sampler cannot give, which is named.
        """
        noise, solved = self.encode_and_solved(pictures)
        solved.check()
        return noise

    def encode_and_solved(self, pictures: Tensor) -> tuple[Tensor, Solved]:
        """Return latents, NaN for pictures that the sampler cannot give, and how well each picture was encoded."""
        return self.to_noise(self.pixels.centre(checked(pictures, self.shape).to(self.device)))

    def evaluations(self, pictures: Tensor) -> tuple[float, float]:
        """Return the mean number of evaluations of the network a picture, to encode and to decode."""
        _, solved = self.encode_and_solved(pictures)
        return solved.evaluations.double().mean().item(), float(self.sampler.evaluations)

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures, floats in [0, 1], (B, C, H, W), of latents (B, D)."""
        return self.decode_unclamped(latents).clamp(0, 1)

    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Return pictures with black at 0 and white at 1; broken samples go beyond."""
        return self.pixels.unit_unclamped(self.to_floats(latents))

    def encode_and_log_prob(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `encode` gives, and the log density of pictures in [0, 1]^D, (B,), double, in nats."""
        noise, density = self.encode_and_density(pictures)
        return noise, density.log_prob

    def encode_and_density(self, pictures: Tensor, *, probes: int = 8, order: int = 4) -> tuple[Tensor, Density]:
        """Return what `encode` gives, and the density of pictures in [0, 1]^D under the sampler's own steps.

        It is exact, in double, up to 256 dimensions, else Hutchinson's estimate with its standard error.

        Args:
            pictures: uint8 (B, C, H, W).
            probes: of the estimate, for each picture.
            order: terms of its series (see `ode_density`).
        """
        latents = self.encode(pictures)
        noise = latents.view(-1, *self.shape)
        with full_float32(self.device):
            if self.dim <= ode_density.EXACT:
                sampler, network = self._doubled
                found = ode_density.exact(sampler, noise.to(like(network).dtype))
            else:
                found = ode_density.estimate(self.sampler, noise, probes=probes, order=order)
        scale = self.pixels.log_det(self.pixels.centre(pictures.to(self.device)))
        return latents, Density(found.log_prob + scale, found.error, found.truncation)

    def to_noise(self, x: Tensor) -> tuple[Tensor, Solved]:
        """Return latents (B, D) of the network's floats (B, C, H, W), and how well each was found."""
        with full_float32(self.device):
            noise, solved = self.sampler.encode(x.to(like(self.network)))
        return noise.flatten(1), solved

    def to_floats(self, latents: Tensor) -> Tensor:
        """Return the network's floats (B, C, H, W) of latents (B, D).

        Raises:
            ValueError: latents of another shape, or not finite.
        """
        check_latents(latents, self.dim)
        with full_float32(self.device), torch.set_grad_enabled(latents.requires_grad):
            return self.sampler.decode(latents.to(like(self.network)).view(-1, *self.shape))

    @cached_property
    def _doubled(self) -> tuple[Sampler, nn.Module]:
        sampler, network = copy.deepcopy((self.sampler, self.network))
        return sampler, network.double()


def checked(pictures: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return pictures if they are uint8 (B, C, H, W) of a model's shape.

    Raises:
        ValueError: they are not.
    """
    right = isinstance(pictures, Tensor) and pictures.dtype == torch.uint8 and pictures.shape[1:] == shape
    if not right or pictures.ndim != 4:
        raise ValueError(f"Expected uint8 pictures of shape (B, {', '.join(map(str, shape))}); got {_kind(pictures)}.")
    return pictures


def like(network: nn.Module) -> Tensor:
    """Return a tensor of a network's dtype and device; float32 on the processor for one without weights."""
    tensors = (t for part in (network.parameters(), network.buffers()) for t in part if t.is_floating_point())
    return next(tensors, torch.zeros((), dtype=torch.float32, device="cpu"))


def _kind(value: Any) -> str:
    return f"{tuple(value.shape)}, {str(value.dtype)[6:]}" if isinstance(value, Tensor) else type(value).__name__
