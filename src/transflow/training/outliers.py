"""Outlier exposure: synthetic pictures far from the training data, penalised where the flow finds them too unlikely.

Maximum likelihood does not constrain a flow where there are no data: the longer it is trained, the further it may
throw the latents of such pictures, or shrink space around them, until no floating-point number decodes to them any
more. So training may show it some, and add to the loss (`training.losses.penalty`)

    weight * mean log(1 + max(0, n)),    n = -log p(x) / D in nats,

which bounds both how far out a latent is and how much the flow shrinks space there. Outliers are far from photographs,
so the model of photographs hardly changes; and the logarithm leaves them unlikely.

Reference: Hendrycks, Mazeika and Dietterich 2019, *Deep Anomaly Detection with Outlier Exposure*, arXiv 1812.04606.
There outliers are photographs of another kind, and the penalty is a margin; here they are drawn, and it is a logarithm.
"""

from __future__ import annotations

import torch
from torch import Tensor


def outlier_pictures(photos: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return outliers, shape (count, C, H, W), in turn of four kinds.

    Uniform noise; a photograph with a band of noise; a board or stripes of two colours; a photograph with
    normal noise of any strength.

    Args:
        photos: floats in (-1/2, 1/2), (B, C, H, W), B of ``count`` or more.
        count: how many.
        generator: of the random draws, on the device of the photographs.
    """
    _, channels, height, width = photos.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, device=photos.device, generator=generator, dtype=torch.float32)

    down, right = (torch.arange(n, device=photos.device) for n in (height, width))
    made = []
    for i, photo in enumerate(photos[:count]):
        noise = draw(channels, height, width) - 0.5
        u = draw(4)
        if i % 4 == 1:
            rows, top = height // 8 + u[0] * height * 3 / 8, u[1] * height
            noise = torch.where(((down - top).abs() < rows / 2)[:, None], noise, photo)
        elif i % 4 == 2:
            period = 1 + (u[0] * 4).floor()
            lines, columns = (down / period).floor()[:, None], (right / period).floor()[None]
            kind = (u[1] * 3).floor()  # a board, stripes, or columns
            board = lines * (kind != 2) + columns * (kind != 1)
            colours = torch.where(u[2] < 0.5, draw(2, channels, 1, 1), draw(2, channels, 1, 1).round()) * 0.98 - 0.49
            noise = torch.where(board % 2 == 0, colours[0], colours[1])
        elif i % 4 == 3:
            normal = torch.randn(photo.shape, device=photos.device, generator=generator, dtype=torch.float32)
            noise = (photo + u[0] / 2 * normal).clamp(-0.5, 0.5)
        made.append(noise)
    return torch.stack(made)
