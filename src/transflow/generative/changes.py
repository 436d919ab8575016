"""Non-leaking augmentation: training pictures that are moved, turned and scaled, beside numbers that say how.

A generator trained on changed pictures makes changed pictures. If it is given what was changed, and zeros where nothing
was, it learns from all of them, and at zeros makes pictures as they are. A picture's points x, in units of half its
height, come from A x + shift,

    A = diag(e^(-scale - stretch), e^(-scale + stretch)) R(angle),

each of angle, scale, stretch and the two shifts a normal draw, and zero in most pictures. What the generator is given
are the six numbers (sin angle, cos angle - 1, scale, stretch, shift across, shift down), of about the size 1.

Reference: Karras et al. 2022, *Elucidating the design space of diffusion-based generative models*, arXiv 2206.00364,
appendix F.2; Jun et al. 2020, *Distribution augmentation for generative modeling*.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHARE = 0.15  # of the pictures have each of the changes
ANGLE, SCALE, STRETCH, SHIFT = 0.25, 0.2, 0.15, 0.12  # standard deviations: radians, logarithms, half heights
WEIGHTS = (4.0, 16.0, 5.0, 6.0, 8.0, 8.0)  # bring the six numbers to about the size 1


def change(x: Tensor, generator: torch.Generator, share: float = SHARE) -> tuple[Tensor, Tensor]:
    """Return pictures, each changed or not, and what was changed.

    Points from outside mirror the inside; values stay in (-1/2, 1/2) where a picture was changed.

    Args:
        x: pictures in (-1/2, 1/2), (B, C, H, W).
        generator: of the random draws, on their device.
        share: of the pictures that have each of the changes.

    Returns:
        pictures, (B, C, H, W), and six numbers for each, (B, 6), zeros for those that are as they were.
    """

    def drawn(deviation: float) -> Tensor:
        size = torch.randn(len(x), generator=generator, device=x.device, dtype=torch.float32)
        evenly = torch.rand(len(x), generator=generator, device=x.device, dtype=torch.float32)
        return deviation * size * (evenly < share)

    angle, scale, stretch = drawn(ANGLE), drawn(SCALE), drawn(STRETCH)
    across, down = drawn(SHIFT), drawn(SHIFT)
    sin, cos = angle.sin(), angle.cos()
    numbers = torch.stack([sin, cos - 1, scale, stretch, across, down], 1) * x.new_tensor(WEIGHTS)
    wide, high, ratio = (-scale - stretch).exp(), (-scale + stretch).exp(), x.shape[3] / x.shape[2]
    rows = [wide * cos, -wide * sin / ratio, across / ratio, high * sin * ratio, high * cos, down]
    grid = F.affine_grid(torch.stack(rows, 1).unflatten(1, (2, 3)), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(-0.5, 0.5)
    return torch.where(numbers.any(1)[:, None, None, None], moved, x), numbers
