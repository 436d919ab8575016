"""What flow matching is trained by: the velocity along straight lines from noise to slightly noisy pictures.

    E |v(x_t, t, c) - (x_1 - x_0)|^2,    x_t = (1 - t) x_0 + t x_1,

x_0 ~ N(0, I), and x_1 a picture, changed in the way c (see `changes`), with normal noise of about one grey level. The
noise is what makes the sampler one that can be run backwards: without it, all that the network learns at the end of the
way is to clean pictures up, and black, white and grey ones, which are as clean as can be, have no preimage.

Held-out pictures are judged as they are, at times spread evenly.

Reference: Lipman et al. 2022, arXiv 2210.02747; the times are Esser et al.'s 2024, arXiv 2403.03206.
"""

from __future__ import annotations

import torch
from torch import Tensor

from transflow.generative.changes import change
from transflow.generative.flow_matching import CHANGES, RANGE, FlowMatching

NOISE = 0.004  # standard deviation; a picture's range is 1
LOGIT_NORMAL = 0.75  # share of times that are; the others are uniform


def prepare(flow: FlowMatching, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pictures and noise, (B, C, H, W), times, (B,), and what was changed, (B, 6).

    Args:
        flow: in training mode, pictures are changed, and everything drawn.
        x: pictures in (-1/2, 1/2), (B, C, H, W).
        generator: of the random draws, on their device.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=x.device, dtype=torch.float32)

    if not flow.training:
        evenly = (torch.arange(len(x), dtype=torch.float32, device=x.device) + 0.5) / max(1, len(x))
        return x, normal(*x.shape), evenly, x.new_zeros(len(x), CHANGES)
    pictures, changes = change(x + NOISE * normal(*x.shape), generator)
    uniform, kind = torch.rand(2, len(x), generator=generator, device=x.device, dtype=torch.float32)
    t = torch.where(kind < LOGIT_NORMAL, normal(len(x)).sigmoid(), uniform)
    return pictures, normal(*x.shape), t, changes


def loss(flow: FlowMatching, x: Tensor, noise: Tensor, t: Tensor, changes: Tensor) -> Tensor:
    """Return the mean square error of each picture's velocity, (B,); arguments as `prepare` returns them."""
    pictures = RANGE * x
    found = flow.velocity(torch.lerp(noise, pictures, t[:, None, None, None]), t, flow.changes(changes))
    return (found.to(pictures.dtype) - (pictures - noise)).square().mean((1, 2, 3))
