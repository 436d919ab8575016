"""Latent constraints: a critic of latents, and latents that satisfy it and stay near to where they were.

    D learns     log D(zeta) + log(1 - D(z)) + log(1 - D(G(z))),   zeta of the evidence, z ~ N(0, T^2 I)
    G learns     - log D(G(z)) + 10 mean log(1 + (G(z) - z)^2),   G(z) = (1 - g) z + g d,   (g, d) by a network of z

or, in place of G, gradient steps on that loss from each z, D having learnt without G's. The model, faces-32, stays as
it is; the mean is over the latent's 3,072 numbers. The paper weighs the penalty by 0.1 over the encoder's variance; a
flow's encoder has none, and that of a deviation of 0.1 is taken: by 0.1 alone nothing would be held. The gate begins
nearly shut, and the evidence is mirrored, too. Critic and generator are the paper's four fully connected layers, of 512
units for two cores in place of 2,048, and Adam's rate is 3e-4. T is drawn between the sources' temperature, 0.7, and
that of pictures, 1, or the critic would look at lengths alone. What is made are the sources, changed.

Reference: J. Engel, M. Hoffman, A. Roberts, "Latent Constraints: Learning to Generate Conditionally from Unconditional
Generative Models", ICLR 2018, arXiv 1711.05772.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from method import Meter, Method, Result, Stateful, Task, timed, trained
from transflow import load
from transflow.pictures import grids

WIDTH, BATCH, RATE = 512, 64, 3e-4
PENALTY = 10.0
SHUT = -2.0  # where the gate's logits begin
COOL = 0.7  # the least temperature of draws
STEPS, MINUTES = 2000, 4.0  # of training, whichever ends first
MOVES, MOVE_RATE = 200, 0.02  # gradient steps of each latent


def layers(inner: int, outer: int, width: int = WIDTH) -> nn.Sequential:
    """Return four fully connected layers."""
    sizes = (inner, width, width, width)
    parts = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts, nn.Linear(width, outer))


class Generator(nn.Module):
    """Latents (n, D) moved: each number keeps a share of itself, and takes the rest from the network."""

    def __init__(self, dim: int, width: int = WIDTH) -> None:
        super().__init__()
        self.layers = layers(dim, 2 * dim, width)
        with torch.no_grad():
            self.layers[-1].get_parameter("bias")[:dim].fill_(SHUT)

    def forward(self, z: Tensor) -> Tensor:
        gate, new = self.layers(z).chunk(2, 1)
        return torch.lerp(z, new, gate.sigmoid())


def penalty(moved: Tensor, z: Tensor) -> Tensor:
    """Return the mean of log(1 + distance^2) of each latent, (n,): the first steps cost, the last hardly."""
    return torch.log1p((moved - z).square()).mean(1)


def cost(critic: nn.Module, moved: Tensor, z: Tensor) -> Tensor:
    """Return what a moved latent costs, (n,): - log D, and the penalty."""
    return softplus(-critic(moved))[:, 0] + PENALTY * penalty(moved, z)


def critic_loss(critic: nn.Module, real: Tensor, *others: Tensor) -> Tensor:
    """Return - log D of the evidence's latents and - log(1 - D) of all others."""
    return softplus(-critic(real)).mean() + sum(softplus(critic(other)).mean() for other in others)


def moved(critic: nn.Module, z: Tensor, moves: int = MOVES, rate: float = MOVE_RATE) -> Tensor:
    """Return latents after so many of Adam's steps down `cost`, each by itself."""
    new = z.clone().requires_grad_()
    optimiser = torch.optim.Adam([new], rate)
    for _ in range(moves):
        optimiser.zero_grad()
        cost(critic, new, z).sum().backward()
        optimiser.step()
    return new.detach()


def run(task: Task, most: int, generates: bool) -> Result:
    meter = Meter()
    model = load("faces-32")
    pictures = torch.cat([task.evidence, task.more])[:most]
    zeta = model.encode_pixels(torch.cat([pictures, pictures.flip(3)])).float()
    critic, generator = layers(model.dim, 1), Generator(model.dim)
    judging, making = (torch.optim.Adam(m.parameters(), RATE, fused=True) for m in (critic, generator))
    before = meter.seconds

    def draws() -> Tensor:
        return torch.randn(BATCH, model.dim) * (COOL + (1 - COOL) * torch.rand(BATCH, 1))

    def step(_: int) -> float:
        z = draws()
        others = (z, generator(z).detach()) if generates else (z,)
        loss = critic_loss(critic, zeta[torch.randint(len(zeta), (BATCH,))], *others)
        judging.zero_grad()
        loss.backward()
        judging.step()
        if generates:
            z = draws()
            making.zero_grad()
            cost(critic, generator(z), z).mean().backward()
            making.step()
        return float(loss.detach())

    parts: dict[str, Stateful] = {"critic": critic, "generator": generator, "judging": judging, "making": making}
    fit = trained(task, "constraints", step, parts, minutes=MINUTES, steps=STEPS)

    def change(sources: Tensor) -> Tensor:
        z = model.encode_pixels(sources).float()
        with torch.set_grad_enabled(not generates):
            new = generator(z) if generates else moved(critic, z)
        return grids.to_uint8(model.decode(new))

    _, first = timed(lambda: change(task.sources[:1]))
    made, seconds = timed(lambda: change(task.sources))
    each = seconds / len(made)
    a_step = BATCH * ((3 * 3 + 1 + 2 * 3) if generates else 3 * 2)
    evaluations = len(zeta) + fit.steps * a_step + 2 + (1 if generates else 3 * MOVES)
    return Result(made, True, before + fit.seconds + first, each, evaluations, meter.gigabytes)


REFERENCE = "Engel, Hoffman and Roberts 2018, arXiv 1711.05772"
TUNE = "penalty, widths, rates, steps"
LATENTS = frozenset({"interpolation"})
METHODS = tuple(
    Method(
        f"latent constraints, {way}, {words}", REFERENCE, partial(run, most=most, generates=generates), TUNE, LATENTS
    )
    for way, generates in (("generator", True), ("gradient", False))
    for words, most in (("24 pictures", 24), ("up to 500 pictures", 500))
)
