"""Flow matching: a network learns the velocity at which noise becomes pictures, along straight lines.

With x_0 ~ N(0, I), x_1 a picture and ``x_t = (1 - t) x_0 + t x_1``, the network is trained by

    E |v(x_t, t) - (x_1 - x_0)|^2,   t logit-normal three times of four, else uniform,

and a sample is K Euler steps from noise at t = 0 to a picture at t = 1: a fixed map, whose exact inverse is `ode`'s.
The time grid is part of the model: latents of one grid belong to that grid. The network sees pictures in (-1, 1).

Reference: Lipman et al. 2022, *Flow matching for generative modeling*, arXiv 2210.02747; Liu, Gong and Liu 2022,
arXiv 2209.03003; the times are Esser et al.'s 2024, arXiv 2403.03206.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log, pi, prod

from torch import Tensor, nn

from transflow.generative import ode_density
from transflow.generative.ode import Sampler, euler, time_grid
from transflow.generative.unet import HEAD, UNet, heads_of
from transflow.plain_values import make_plain

MOST_STEPS = 1000


@dataclass(frozen=True)
class FlowMatchingConfig:
    """The architecture of a flow-matching model, and the steps that it is sampled by.

    Attributes:
        shape: of a picture, (C, H, W).
        patch: height and width of a patch in pixels.
        widths: channels of each grid, finest first, each half as fine as the one before; multiples of 16, such
            as multiples of 32 where there is attention.
        depth: blocks of a grid, on the way down and on the way up.
        attention: whether the blocks of each grid have attention, finest first.
        embedding: numbers that stand for a time.
        dropout: share of activations set to zero in training.
        steps: Euler steps from noise to a picture.
        power: how much finer steps are near the pictures (see `ode.time_grid`).
    """

    shape: tuple[int, int, int] = (3, 32, 32)
    patch: int = 2
    widths: tuple[int, ...] = (80, 192, 288)
    depth: int = 2
    attention: tuple[bool, ...] = (False, True, True)
    embedding: int = 256
    dropout: float = 0.1
    steps: int = 20
    power: float = 1.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "attention", tuple(bool(there) for there in self.attention))
        make_plain(self)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"Expected a shape (C, H, W); got {self.shape}.")
        if not self.widths or len(self.widths) != len(self.attention) or any(w < 1 or w % 16 for w in self.widths):
            raise ValueError(
                "Expected widths that are multiples of 16, and as many of attention; "
                f"got {self.widths} and {self.attention}."
            )
        odd = [w for w, there in zip(self.widths, self.attention, strict=True) if there and w % heads_of(w)]
        if odd:
            raise ValueError(f"Expected widths that heads of about {HEAD} channels divide; got {odd[0]}.")
        if min(self.patch, self.depth, self.embedding) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                "Expected patch, depth and embedding of 1 or more, and a dropout of 0 to below 1; "
                f"got {self.patch}, {self.depth}, {self.embedding} and {self.dropout}."
            )
        multiple = self.patch * 2 ** (len(self.widths) - 1)
        if self.shape[1] % multiple or self.shape[2] % multiple:
            raise ValueError(f"Expected height and width that are multiples of {multiple}; got {self.shape}.")
        if self.steps > MOST_STEPS:
            raise ValueError(f"Expected at most {MOST_STEPS} steps; got {self.steps}.")
        time_grid(self.steps, self.power)

    @property
    def fewest_weights(self) -> int:
        """A number of weights that its model has at least: those of the blocks' convolutions."""
        return sum(2 * self.depth * 18 * width * width for width in self.widths)


RANGE = 2.0  # pictures in (-1/2, 1/2) are seen this much larger
CHANGES = 6  # numbers that say how a picture was moved, turned and scaled in training


class FlowMatching(nn.Module):
    """A velocity network with its sampler, as a flow: pictures of floats (B, C, H, W) to flat latents (B, D).

    >>> import torch
    >>> flow = FlowMatching(FlowMatchingConfig((1, 8, 8), widths=(16, 32), attention=(False, True), depth=1, steps=4))
    >>> z = flow.eval().latents(torch.zeros(2, 1, 8, 8))
    >>> z.shape, flow.inverse(z).shape
    (torch.Size([2, 64]), torch.Size([2, 1, 8, 8]))
    """

    def __init__(self, config: FlowMatchingConfig) -> None:
        super().__init__()
        self.config = config
        self.velocity = UNet(config)
        self.changes = nn.Linear(CHANGES, config.embedding, bias=False)  # a picture that was not changed has zeros
        nn.init.zeros_(self.changes.weight)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.config.shape

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """One level, of all D numbers."""
        return (prod(self.shape),)

    @cached_property
    def sampler(self) -> Sampler:
        """The steps from noise to pictures."""
        return Sampler(euler(self.velocity, time_grid(self.config.steps, self.config.power)))

    def latents(self, x: Tensor) -> Tensor:
        """Return latents, (B, D), of pictures (B, C, H, W) in (-1/2, 1/2).

        Raises:
            ValueError: the sampler cannot give one of them; it is named.
        """
        noise, solved = self.sampler.encode(RANGE * x)
        solved.check()
        return noise.flatten(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents, (B, D), and ``log |det dz/dx|``, (B,), in nats.

        It is exact, in the weights' precision, up to 256 numbers, else Hutchinson's estimate of `ode_density` with
        fixed signs: a thousand evaluations of the network for a picture, where `latents` needs some hundred.
        """
        z = self.latents(x)
        noise = z.unflatten(1, self.shape)
        small = z.shape[1] <= ode_density.EXACT
        found = ode_density.exact(self.sampler, noise) if small else ode_density.estimate(self.sampler, noise)
        normal = -0.5 * (z.double().square().sum(1) + z.shape[1] * log(2 * pi))
        return z, (found.log_prob - normal + z.shape[1] * log(RANGE)).to(z)

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures, (B, C, H, W), of latents (B, D)."""
        return self.sampler.decode(z.unflatten(1, self.shape)) / RANGE
