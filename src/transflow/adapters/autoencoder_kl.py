"""AutoencoderKL of diffusers, alone and as the first stage of a latent diffusion.

The latent of a picture is the mean of its encoder, standardised as the model's own pipelines do, though its class does
not: z = (mean - shift) scaling, or with latent statistics z = (mean - m) scaling / s. Behind it a diffusion in that
space may follow, pixels -> z -> noise. The first stage gives pictures back with an error, the second is exact.

Reference: Rombach et al. 2022, *High-resolution image synthesis with latent diffusion models*, arXiv 2112.10752.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from transflow.adapters import measure
from transflow.adapters.diffusers_steps import changed
from transflow.checks import check_latents
from transflow.devices import full_float32
from transflow.gaussians.gaussian import Gaussian
from transflow.generative.ode import Solved
from transflow.generative.ode_model import RANGE, TEMPERATURE, OdeModel, checked, like
from transflow.pictures.pixels import PixelFormat
from transflow.store import identity

NO_SCORE = "an autoencoder gives pictures no density"


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """An AutoencoderKL as a model of pictures; its latents are taken for N(0, I), which they are not.

    Attributes:
        vae: in eval mode, without gradients.
        shape: of a picture, (C, H, W).
        latent_shape: of its latent, (c, h, w).
        pixels: how it sees pixels.
        card: what is known of the model.
        temperature: at which its samples are best left.
    """

    vae: nn.Module = field(repr=False)
    shape: tuple[int, int, int]
    latent_shape: tuple[int, int, int]
    pixels: PixelFormat = RANGE
    card: dict[str, Any] = field(default_factory=dict)
    temperature: float = TEMPERATURE

    lacks: Mapping[str, str] = field(default_factory=lambda: {"score": NO_SCORE})

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what was made of them is made again in a copy."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @property
    def dim(self) -> int:
        """D, the length of a latent."""
        return prod(self.latent_shape)

    @property
    def bits(self) -> int:
        """Bits a pixel and channel."""
        return self.pixels.bits

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return like(self.vae).device

    @property
    def precision(self) -> str:
        """The dtype of weights and latents, such as "float32"."""
        return str(like(self.vae).dtype).removeprefix("torch.")

    @property
    def prior(self) -> Gaussian:
        """N(0, I) over the D latents, by assumption."""
        return Gaussian.standard(self.dim, self.device)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of weights, options and pixel format, 64 hexadecimal digits."""
        configuration = {"config": changed(self.vae), "shape": self.shape, "pixels": self.pixels}
        return identity.fingerprint("diffusers autoencoder", configuration, self.vae.state_dict())

    @cached_property
    def exactness(self) -> float:
        """The largest error of a round trip of the test pictures (see `measure`), black to white being 1."""
        return measure.exactness(self.encode, self.decode_unclamped, self.shape, self.pixels)

    def encode(self, pictures: Tensor) -> Tensor:
        """Return latents, (B, D), of uint8 pictures (B, C, H, W): the means of its encoder."""
        return self.mean_and_variance(pictures)[0].flatten(1)

    def encode_variance(self, pictures: Tensor) -> Tensor:
        """Return the encoder's own variance of each latent, (B, D)."""
        return self.mean_and_variance(pictures)[1].flatten(1)

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures, floats in [0, 1], (B, C, H, W), of latents (B, D)."""
        return self.decode_unclamped(latents).clamp(0, 1)

    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Return pictures with black at 0 and white at 1; broken samples go beyond."""
        check_latents(latents, self.dim)
        scale, shift = self._affine
        with full_float32(self.device), torch.set_grad_enabled(latents.requires_grad):
            z = latents.to(like(self.vae)).view(-1, *self.latent_shape) / scale + shift
            return self.pixels.unit_unclamped(self.vae.decode(z).sample)  # type: ignore[operator]

    @torch.no_grad()
    def mean_and_variance(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the latents of uint8 pictures, (B, c, h, w) each."""
        if not len(checked(pictures, self.shape)):
            none = like(self.vae).new_zeros(0, *self.latent_shape)
            return none, none
        x = self.pixels.centre(pictures.to(self.device)).to(like(self.vae))
        scale, shift = self._affine
        with full_float32(self.device):
            found = self.vae.encode(x).latent_dist  # type: ignore[operator]
        return (found.mean - shift) * scale, found.var * scale**2

    @cached_property
    def _affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of z = (mean - shift) scale, each of a shape that broadcasts."""
        one = like(self.vae).new_ones(1, 1, 1, 1)
        config: Any = self.vae.config
        shift, scale = one * (config.get("shift_factor") or 0.0), one * config.scaling_factor
        if config.get("latents_mean") is not None:
            shift = one.new_tensor(config.latents_mean).view(1, -1, 1, 1)
        if config.get("latents_std") is not None:
            scale = scale / one.new_tensor(config.latents_std).view(1, -1, 1, 1)
        return scale, shift


@dataclass(frozen=True, eq=False)
class LatentDiffusion:
    """A diffusion in the latents of an autoencoder, as a model of pictures: exact but for its first stage.

    Attributes:
        first: pictures to latents, and back with an error.
        second: latents to noise, exactly.
        card: what is known of the model.
    """

    first: Autoencoder
    second: OdeModel
    card: dict[str, Any] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=lambda: {"score": NO_SCORE})

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.first.shape

    @property
    def dim(self) -> int:
        """D, the length of a latent."""
        return self.second.dim

    @property
    def pixels(self) -> PixelFormat:
        """How the autoencoder sees pixels."""
        return self.first.pixels

    @property
    def bits(self) -> int:
        """Bits a pixel and channel."""
        return self.first.bits

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.first.device

    @property
    def precision(self) -> str:
        """The dtype of the diffusion's weights and of the latents."""
        return self.second.precision

    @property
    def prior(self) -> Gaussian:
        """N(0, I) over the D latents: what the sampler starts from."""
        return self.second.prior

    @property
    def temperature(self) -> float:
        """At which its samples are best left."""
        return self.second.temperature

    @property
    def fingerprint(self) -> str:
        """Identity of both stages, 64 hexadecimal digits."""
        stages = {"first": self.first.fingerprint, "second": self.second.fingerprint}
        return identity.fingerprint("latent diffusion", stages, {})

    @property
    def exactness(self) -> float:
        """The largest error of a round trip, that of both stages, black to white being 1."""
        return self.first.exactness + self.second.exactness

    def encode(self, pictures: Tensor) -> Tensor:
        """Return latents, (B, D), of uint8 pictures (B, C, H, W)."""
        noise, solved = self.encode_and_solved(pictures)
        solved.check()
        return noise

    def encode_and_solved(self, pictures: Tensor) -> tuple[Tensor, Solved]:
        """Return latents, NaN for pictures that the sampler cannot give, and how well each picture was encoded."""
        return self.second.to_noise(self.first.mean_and_variance(pictures)[0])

    def evaluations(self, pictures: Tensor) -> tuple[float, float]:
        """Return the mean number of evaluations of the diffusion's network a picture, to encode and to decode."""
        _, solved = self.encode_and_solved(pictures)
        return solved.evaluations.double().mean().item(), float(self.second.sampler.evaluations)

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures, floats in [0, 1], (B, C, H, W), of latents (B, D)."""
        return self.decode_unclamped(latents).clamp(0, 1)

    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Return pictures with black at 0 and white at 1; broken samples go beyond."""
        return self.first.decode_unclamped(self.second.to_floats(latents).flatten(1))
