"""Distributions over pictures, as `torch.distributions` has them: samples, gradients, densities.

With latents z = f(x), z ~ q in place of the model's own z ~ p_0, pictures have the density

    log q(x) = log q(f(x)) + log |det df/dx| = log q(f(x)) - log p_0(f(x)) + log p(x),

p(x) being the model's own. Pictures are tensors (C, H, W) in [0, 1]; the density is in those units, in nats, at the
centres of the model's bins, where `Model.encode` sees pictures.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from transflow.base_model import BaseModel
from transflow.gaussians.draws import LatentDistribution
from transflow.pictures.grids import to_uint8


class PictureDistribution(Distribution):
    """The distribution of a model's pictures whose latents have a distribution of their own.

    Args:
        model: decodes latents, and says how likely pictures are.
        latents: a `Gaussian`, or what else `Posterior.drawn` is.
        batch_shape: of a batch of the same distribution, as `expand` makes it; each draws on its own.

    >>> from transflow import Gaussian, wrap
    >>> model = wrap(encode=lambda x: 2 * x.flatten(1), decode=lambda z: z.view(-1, 1, 1, 1) / 2, shape=(1, 1, 1))
    >>> pictures = PictureDistribution(model, Gaussian.of(torch.ones(1), 0.01))
    >>> pictures.sample((3, 2)).shape
    torch.Size([3, 2, 1, 1, 1])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (torch's own annotation is that of an instance)
    support = constraints.independent(constraints.unit_interval, 3)
    has_rsample = True

    def __init__(self, model: BaseModel, latents: LatentDistribution, batch_shape: Any = ()) -> None:
        self.model, self.latents = model, latents
        super().__init__(torch.Size(batch_shape), torch.Size(model.shape), validate_args=False)

    def __repr__(self) -> str:
        return f"PictureDistribution({self.model!r}, {self.latents!r})"

    def expand(self, batch_shape: Any, _instance: Any = None) -> PictureDistribution:
        """Return a batch of the same distribution, of which each draws on its own.

        Raises:
            ValueError: the batch that it is does not expand to that shape.
        """
        shape = torch.Size(batch_shape)
        own = self.batch_shape[::-1]
        if (
            len(shape) < len(own)
            or min(shape, default=0) < 0
            or any(a not in (1, b) for a, b in zip(own, shape[::-1], strict=False))
        ):
            raise ValueError(f"Expected a shape that {tuple(self.batch_shape)} expands to; got {tuple(shape)}.")
        return type(self)(self.model, self.latents, shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return pictures, floats in [0, 1], (*sample_shape, *batch_shape, C, H, W); torch's generator seeds them."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return what `sample` does, with gradients to the parameters of a Gaussian that has them.

        Models of the house, and flows of other libraries, decode with gradients.
        """
        shape = torch.Size(sample_shape) + self.batch_shape
        seed = int(torch.randint(2**31, (), dtype=torch.int64, device="cpu").item())
        latents = self.latents.sample(shape.numel(), seed=seed)
        return self.model.decode(latents).reshape(shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of pictures in nats, shape (...), double.

        Args:
            value: pictures (..., C, H, W): floats in [0, 1], each taken for the nearest of 256 levels; or uint8.

        Raises:
            TypeError: the model has no density.
            ValueError: the latents' distribution has none, such as parents, or pictures are of another shape.
        """
        if not isinstance(value, Tensor) or value.shape[-3:] != self.event_shape:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"Expected pictures (..., {', '.join(map(str, self.event_shape))}); got {got}.")
        if value.dtype != torch.uint8 and not ((value >= 0) & (value <= 1)).all():
            raise ValueError("Expected pictures as floats in [0, 1], or uint8; got numbers beyond.")
        shape = self._shape_with(value.shape[:-3])
        if not shape.numel():
            return torch.zeros(shape, dtype=torch.double, device=self.model.device)
        pixels = (value if value.dtype == torch.uint8 else to_uint8(value)).reshape(-1, *self.event_shape)
        latents, own = self.model.score_pixels(pixels.cpu())
        found = self.latents.log_prob(latents) - self.model.prior.log_prob(latents) + own
        return found.reshape(value.shape[:-3]).expand(shape)

    def _shape_with(self, shape: torch.Size) -> torch.Size:
        """The shape of densities of pictures of a shape, under each distribution of the batch."""
        try:
            return torch.broadcast_shapes(shape, self.batch_shape)
        except RuntimeError:
            raise ValueError(
                f"Expected pictures for a batch {tuple(self.batch_shape)} of distributions; got {tuple(shape)}."
            ) from None

    @property
    def mean(self) -> Tensor:
        """The picture of the mean latent; not the mean of pictures."""
        raise NotImplementedError("Expected no mean: that of pictures has no closed form. Decode that of the latents.")
