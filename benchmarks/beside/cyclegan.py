"""CycleGAN: faces to a kind and back, learnt from two heaps of pictures of which no two belong together.

    G: a -> b, F: b -> a.  Least squares:  D_b learns  (D_b(b) - 1)^2 + D_b(G(a))^2,  G learns  (D_b(G(a)) - 1)^2
    G and F learn  adversarial(G) + adversarial(F) + 10 cycle + 5 identity,
        cycle = |F(G(a)) - a|_1 + |G(F(b)) - b|_1,    identity = |G(b) - b|_1 + |F(a) - a|_1   (means over pixels)

The networks are the paper's at 32 x 32: generators with seven-by-seven convolutions at both ends, one downsampling (two
would leave 8 x 8) and four residual blocks; discriminators that judge patches of 16 x 16. A batch is four pictures of a
side: one at a time, as in the paper, a core gets through a third fewer. The paper's rate, constant for half of the
training and then linearly to zero, is taken over the minutes that there are.

Reference: J.-Y. Zhu, T. Park, P. Isola, A. A. Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent
Adversarial Networks", ICCV 2017, arXiv 1703.10593.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from method import Meter, Method, Result, Stateful, Task, batch, signed, timed, trained, unsigned

WIDTH, BLOCKS, BATCH, POOL = 24, 4, 4, 50
RATE, BETAS = 2e-4, (0.5, 0.999)
CYCLE, IDENTITY = 10.0, 5.0
PASSES = 3 * (6 + 2) + 3 * 4  # of a pair of pictures in a step: generators, judged; discriminators. Backward counts two

Network = Callable[[Tensor], Tensor]


def normed(convolution: nn.Module, width: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(width), nn.ReLU()]


class Residual(nn.Module):
    """h + convolutions of h."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect") for _ in range(2))
        self.body = nn.Sequential(*normed(first, width), *normed(second, width)[:-1])

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)


def generator(w: int = WIDTH) -> nn.Sequential:
    """Return a network from pictures in [-1, 1] to pictures."""
    return nn.Sequential(
        *normed(nn.Conv2d(3, w, 7, padding=3, padding_mode="reflect"), w),
        *normed(nn.Conv2d(w, 2 * w, 3, 2, 1), 2 * w),
        *(Residual(2 * w) for _ in range(BLOCKS)),
        *normed(nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1), w),
        *(nn.Conv2d(w, 3, 7, padding=3, padding_mode="reflect"), nn.Tanh()),
    ).apply(begin)


def discriminator(w: int = 2 * WIDTH) -> nn.Sequential:
    """Return a network from pictures to a verdict on each patch of 16 x 16: 1 for real, 0 for made."""
    return nn.Sequential(
        *(nn.Conv2d(3, w, 4, 2, 1), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(w, 2 * w, 4, 1, 1), nn.InstanceNorm2d(2 * w), nn.LeakyReLU(0.2)),
        nn.Conv2d(2 * w, 1, 4, 1, 1),
    ).apply(begin)


def begin(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02^2)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)


class Pool:
    """Up to fifty pictures made earlier; once it is full, half of those that come are exchanged for one of them."""

    def __init__(self, most: int = POOL) -> None:
        self.most, self.pictures = most, torch.empty(0, 3, 32, 32)

    def exchange(self, made: Tensor) -> Tensor:
        """Return as many pictures (n, 3, 32, 32), new or old."""
        out = made.clone()
        for i, picture in enumerate(made):
            if len(self.pictures) < self.most:
                self.pictures = torch.cat([self.pictures, picture[None]])
            elif torch.rand(()) < 0.5:
                j = int(torch.randint(self.most, ()))
                out[i] = self.pictures[j]
                self.pictures[j] = picture
        return out

    def state_dict(self) -> dict[str, Any]:
        return {"pictures": self.pictures}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.pictures = state_dict["pictures"]


class Fading:
    """The rate over the seconds of training: constant for half of them, then linearly to zero."""

    def __init__(self, optimisers: Sequence[torch.optim.Optimizer], seconds: float) -> None:
        self.optimisers, self.seconds, self.spent = optimisers, seconds, 0.0

    def spend(self, seconds: float) -> None:
        self.spent += seconds
        for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
            group["lr"] = RATE * min(1.0, max(0.0, 2 - 2 * self.spent / self.seconds))

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self.spent}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.spent = state_dict["spent"]


def cycle_and_identity(there: Network, back: Network, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the two losses, and the pictures G(a) and F(b) that they needed."""
    made_b, made_a = there(a), back(b)
    cycle = F.l1_loss(back(made_b), a) + F.l1_loss(there(made_a), b)
    return cycle, F.l1_loss(there(b), b) + F.l1_loss(back(a), a), made_b, made_a


def verdict(judge: Network, pictures: Tensor, aim: float) -> Tensor:
    """Return the mean of (D(pictures) - aim)^2."""
    return (judge(pictures) - aim).square().mean()


def run(task: Task, everything: bool) -> Result:
    meter = Meter()
    kind = torch.cat([task.evidence, task.more]) if everything else task.evidence
    makers = nn.ModuleList([generator(), generator()])
    judges = nn.ModuleList([discriminator(), discriminator()])
    (there, back), (judge_b, judge_a), (pool_b, pool_a) = makers, judges, (Pool(), Pool())
    making, judging = (
        torch.optim.Adam(networks.parameters(), RATE, BETAS, fused=True) for networks in (makers, judges)
    )
    fading = Fading([making, judging], 60 * task.minutes)

    def step(_: int) -> float:
        begun = time.perf_counter()
        a, b = batch(task.others, BATCH), batch(kind, BATCH)
        judges.requires_grad_(False)
        cycle, identity, made_b, made_a = cycle_and_identity(there, back, a, b)
        loss = verdict(judge_b, made_b, 1) + verdict(judge_a, made_a, 1) + CYCLE * cycle + IDENTITY * identity
        making.zero_grad()
        loss.backward()
        making.step()
        judges.requires_grad_(True)
        judging.zero_grad()
        for judge, real, made, pool in ((judge_b, b, made_b, pool_b), (judge_a, a, made_a, pool_a)):
            ((verdict(judge, real, 1) + verdict(judge, pool.exchange(made.detach()), 0)) / 2).backward()
        judging.step()
        fading.spend(time.perf_counter() - begun)
        return float(loss.detach())

    parts: dict[str, Stateful] = {"makers": makers, "judges": judges, "making": making, "judging": judging}
    parts |= {"pool_b": pool_b, "pool_a": pool_a, "fading": fading}
    # makers.1, kept with them, is the way back
    fit = trained(task, "cyclegan-all" if everything else "cyclegan", step, parts)
    with torch.no_grad():
        made, seconds = timed(lambda: unsigned(there(signed(task.sources))))
    each = seconds / len(made)
    return Result(made, True, fit.seconds + each, each, fit.steps * PASSES * BATCH + 1, meter.gigabytes)


REFERENCE = "Zhu et al. 2017, arXiv 1703.10593"
TUNE = "minutes, width, weights of cycle and identity; the losses do not say when to stop"
METHODS = (
    Method("CycleGAN, 24 pictures", REFERENCE, partial(run, everything=False), TUNE, frozenset()),
    Method("CycleGAN, all there are", REFERENCE, partial(run, everything=True), TUNE, frozenset()),
)
