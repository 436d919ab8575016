"""Samples at the temperatures of a model's levels.

A level of details that was trained by its likelihood draws at full length more grain than pictures have. A model may
say by which factor t_l the deviations of each level l look best (`HasLevelTemperatures`), and samples are

    z_l  ->  mean_l + t_l^c (z_l - mean_l),    c = min(1, 2 novelty),

wherever they are drawn: of the prior and of learned Gaussians wholly, of a few pictures by how new they are, and the
evidence itself (novelty 0) not at all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transflow.base_model import BaseModel


def tempered(model: BaseModel, latents: Tensor, mean: Tensor, novelty: float = 1.0) -> Tensor:
    """Return samples with each level's deviation from their mean at the model's temperature.

    Args:
        model: whose latents these are; one that says nothing of its levels leaves them as they are.
        latents: (..., D).
        mean: of their distribution, (D,).
        novelty: of the samples, 0 to 1.
    """
    factors, sizes = model.level_temperatures, model.level_sizes
    if factors is None or sizes is None or all(factor == 1 for factor in factors):
        return latents
    share = min(1.0, 2 * novelty)
    each = torch.cat([latents.new_full((size,), factor**share) for size, factor in zip(sizes, factors, strict=True)])
    return torch.lerp(mean.to(latents), latents, each)
