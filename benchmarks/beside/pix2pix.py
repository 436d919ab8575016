"""pix2pix: pictures from pictures by a conditional adversary, which learns what is wrong with an answer.

    least over G, greatest over D:   E log D(x, y) + E log(1 - D(x, G(x))) + 100 E |y - G(x)|

G is a U-Net whose only noise is dropout, in use when it draws as well; D a PatchGAN, which says of every 16 x 16 pixels
whether they are real, beside their input. Layers, batches, rates and weights are the paper's, the U-Net's grids as many
as 32 x 32 pixels have. G steps against log D, not log(1 - D). Two things differ: half the steps' loss of D is taken
alone, as in the authors' code; and when it draws, G normalises by running averages and not by the batch that it is
given, so that each picture is answered for itself (their code's choice too, `--eval`, but for dropout).

Reference: Isola, Zhu, Zhou and Efros 2017, *Image-to-image translation with conditional adversarial networks*,
arXiv 1611.07004.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from method import Task, Trained, signed, trained, unsigned
from regression import UNet, begun, pair_batch

WIDTHS = (64, 128, 256, 512, 512)
DROPOUT = 0.5
BATCH = 4  # as the paper has it for grey to colour
RATE, BETAS = 2e-4, (0.5, 0.999)
L1 = 100.0
PASSES = 12 * BATCH  # of one picture, in a step: 3 of G, 6 of D as it learns, 3 through D to G


class PatchGAN(nn.Module):
    """Logits (B, 1, H / 2 - 2, W / 2 - 2): whether patches of 16 x 16 pixels of y are real, beside x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels + 3, 64, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 4, 1, 1),
            nn.BatchNorm2d(128),
            nn.LeakyReLU(0.2),
            nn.Conv2d(128, 1, 4, 1, 1),
        )
        self.apply(begun)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.layers(torch.cat([x, y], 1))


def fit(
    inputs: Tensor, outputs: Tensor, task: Task, *, mirrored: bool = True, steps: float = math.inf
) -> tuple[UNet, Trained]:
    """Train pix2pix on pairs.

    Args:
        inputs: uint8 (n, c, H, W).
        outputs: uint8 (n, 3, H, W).
        task: its seed, minutes and folder are used.
        mirrored: whether the mirror image of a pair is a pair.
        steps: at most.

    Raises:
        Diverged: ten losses in a row were not finite.
    """
    torch.manual_seed(task.seed)
    generator, adversary = UNet(inputs.shape[1], WIDTHS, DROPOUT), PatchGAN(inputs.shape[1])
    parts = {"generator": generator, "adversary": adversary}
    optimisers = {name: torch.optim.Adam(part.parameters(), RATE, BETAS, fused=True) for name, part in parts.items()}

    def is_real(logits: Tensor, truth: bool) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(truth)))

    def take(name: str, loss: Tensor) -> None:
        optimisers[name].zero_grad()
        loss.backward()
        optimisers[name].step()

    def step(i: int) -> float:
        x, y = pair_batch(inputs, outputs, BATCH, mirrored)
        made = generator.train()(x)
        found = (is_real(adversary(x, y), True) + is_real(adversary(x, made.detach()), False)) / 2
        take("adversary", found)
        adversary.requires_grad_(False)
        loss = is_real(adversary(x, made), True) + L1 * F.l1_loss(made, y)
        take("generator", loss)
        adversary.requires_grad_(True)
        return loss.item() + found.item()

    trainers = {f"optimiser of {name}": value for name, value in optimisers.items()}
    return generator, trained(task, "pix2pix", step, {**parts, **trainers}, steps=steps)


@torch.no_grad()
def draws(network: UNet, inputs: Tensor, n: int, seed: int) -> Tensor:
    """Return n answers to each input, one for each draw of dropout, uint8 (b, n, 3, H, W)."""
    network.eval()
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = [unsigned(network(signed(part.repeat_interleave(n, 0)))) for part in inputs.split(32)]
    return torch.cat(parts).unflatten(0, (-1, n))
