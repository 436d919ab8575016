"""A regression from pictures to pictures: of all that may be, the average.

    least E |f(x) - y|^2  over f   gives   f(x) = E[y | x]

f is a U-Net, pix2pix's generator with half its channels. One answer to each input: where a picture may have been red or
blue it is between them, and pale. The weights that did best on the last 512 pairs, which it does not learn from, are
kept.

Reference: Ronneberger, Fischer and Brox 2015, *U-Net*, arXiv 1505.04597; the layers are those of Isola et al. 2017,
arXiv 1611.07004, section 6.1.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from method import Task, Trained, signed, trained, unsigned

WIDTHS = (32, 64, 128, 256, 256)  # channels of each grid, finest first, each half as fine as the one before
BATCH = 32
RATE = 1e-3
CHECKED_EVERY = 250  # steps
KEPT_APART = 512  # pairs, at most a fifth of them
PASSES = 3 * BATCH  # of one picture, in a step: forward, and backward, which counts two


class UNet(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] of inputs (B, channels, H, W); H and W are multiples of 2^len(widths).

    Args:
        channels: of the inputs.
        widths: channels of each grid, finest first.
        dropout: share of activations set to zero in the three coarsest layers of the way up.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, (wide, next_wide) in enumerate(pairwise((channels, *widths))):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if i else []
            layers.append(nn.Conv2d(wide, next_wide, 4, 2, 1))
            if 0 < i < len(widths) - 1:  # neither of the first grid nor of the last, which may be one pixel
                layers.append(nn.BatchNorm2d(next_wide))
            self.down.append(nn.Sequential(*layers))
        for i, (wide, next_wide) in enumerate(pairwise((*widths[::-1], 3))):
            joined = 2 * wide if i else wide
            layers = [nn.ReLU(), nn.ConvTranspose2d(joined, next_wide, 4, 2, 1)]
            if i < len(widths) - 1:
                layers.append(nn.BatchNorm2d(next_wide))
                layers += [nn.Dropout(dropout)] if dropout and i < 3 else []
            self.up.append(nn.Sequential(*layers))
        self.apply(begun)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for layer in self.down:
            x = layer(x)
            kept.append(x)
        kept.pop()
        for layer in self.up:
            x = layer(x)
            x = torch.cat([x, kept.pop()], 1) if kept else x
        return x.tanh()


def begun(module: nn.Module) -> None:
    """Draw the weights of a layer as pix2pix has them: N(0, 0.02^2), of normalisations N(1, 0.02^2)."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
        nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def pair_batch(inputs: Tensor, outputs: Tensor, size: int, mirrored: bool) -> tuple[Tensor, Tensor]:
    """Draw pairs at random, both of a pair mirrored or neither; floats in [-1, 1]."""
    rows = torch.randint(len(inputs), (size,))
    x, y = signed(inputs[rows]), signed(outputs[rows])
    if mirrored:
        turned = torch.rand(size, 1, 1, 1) < 0.5
        x, y = torch.where(turned, x.flip(3), x), torch.where(turned, y.flip(3), y)
    return x, y


def fit(
    inputs: Tensor, outputs: Tensor, task: Task, *, mirrored: bool = True, steps: float = math.inf
) -> tuple[UNet, Trained]:
    """Train a regression on pairs.

    Args:
        inputs: uint8 (n, c, H, W).
        outputs: uint8 (n, 3, H, W).
        task: its seed, minutes and folder are used.
        mirrored: whether the mirror image of a pair is a pair.
        steps: at most.
    """
    torch.manual_seed(task.seed)
    apart = max(1, min(KEPT_APART, len(inputs) // 5))
    network, best = (UNet(inputs.shape[1], WIDTHS) for _ in range(2))
    best.register_buffer("error", torch.tensor(math.inf))
    optimiser = torch.optim.Adam(network.parameters(), RATE, fused=True)

    def check() -> None:
        made = answers(network, inputs[-apart:])
        error = (made.float() - outputs[-apart:].float()).square().mean()
        if error < best.get_buffer("error"):
            best.load_state_dict({**network.state_dict(), "error": error})

    def step(i: int) -> float:
        if i % CHECKED_EVERY == 0:
            check()
        x, y = pair_batch(inputs[:-apart], outputs[:-apart], BATCH, mirrored)
        loss = F.mse_loss(network.train()(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    done = trained(task, "regression", step, {"network": network, "best": best, "optimiser": optimiser}, steps=steps)
    check()
    return best, done


@torch.no_grad()
def answers(network: UNet, inputs: Tensor) -> Tensor:
    """Return the one answer to each input, uint8 (n, 3, H, W)."""
    network.eval()
    return torch.cat([unsigned(network(signed(part))) for part in inputs.split(256)])
